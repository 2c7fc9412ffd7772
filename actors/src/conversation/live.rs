//! From the log to the topics: every entry once, in the order of its conversation, whoever wrote
//! it.
//!
//! What was published last is remembered for conversations that are sequenced or listened to
//! here. An entry that another process wrote is found by its place: because the next entry does
//! not follow the last one published, or by reading the tails every few seconds.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use parking_lot::Mutex;
use quikapp_protocol::{Json, Payload};
use quikapp_storage::{
    ConversationId, Entry, EntryKind, Seq, ServerMutant, SharedStore, StoreError, UserId,
};

use super::{
    payload::UpdatePayload,
    topic::{alias_topic, is_personal, members_topic, topic_of},
    wire,
};
use crate::fanout::{Broadcast, Fanout, Note};

const SHARDS: usize = 16;
/// Entries read at once to close a hole.
const PAGE: usize = 256;
/// Conversations whose tails are asked for at once.
const TAILS: usize = 256;

/// A note to everyone on a conversation's topic and on its [`members_topic`]: somebody is no longer a member. Their channels
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLeft {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// The last place that they see.
    pub seq: Seq,
}

/// Publishes entries.
#[derive(Debug)]
pub(crate) struct Live {
    fanout: Fanout,
    tracks: Box<[Mutex<HashMap<ConversationId, Track>>]>,
    hasher: RandomState,
}

/// How far a conversation was published.
#[derive(Debug, Clone, Copy)]
struct Track {
    published: Seq,
    /// Whether it is sequenced here.
    sequenced: bool,
}

impl Live {
    pub(crate) fn new(fanout: Fanout) -> Self {
        Self {
            fanout,
            tracks: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// A conversation is sequenced here from now on; publishes what others wrote meanwhile.
    pub(crate) async fn begin(&self, store: &SharedStore, id: &ConversationId, tail: Seq) {
        self.with(id, |track| {
            track
                .get_or_insert(Track {
                    published: tail,
                    sequenced: true,
                })
                .sequenced = true;
        });
        self.catch_up(store, id, tail).await;
    }

    /// Whether a conversation is sequenced here.
    pub(crate) fn is_sequenced(&self, id: &ConversationId) -> bool {
        self.with(id, |track| track.is_some_and(|track| track.sequenced))
    }

    /// Publishes what is in no log, on every node.
    pub(crate) fn say(&self, id: &ConversationId, event: &str, payload: &str) {
        let payload = Payload::Json(Json::assume_valid(payload.to_owned()));
        let broadcast = Broadcast::new(topic_of(id), event, payload);
        self.fanout.publish(broadcast.with_alias(alias_topic(id)));
    }

    /// A conversation is no longer sequenced here.
    pub(crate) fn end(&self, id: &ConversationId) {
        let has_listeners = self.fanout.subscribers(&topic_of(id)) > 0;
        self.with(id, |track| match track {
            Some(held) if has_listeners => held.sequenced = false,
            _ => *track = None,
        });
    }

    /// Watches a conversation that somebody here has just subscribed to. `tail` is as read after
    /// the subscription: what is above it will be published.
    pub(crate) fn observe(&self, id: &ConversationId, tail: Seq) {
        self.with(id, |track| {
            track.get_or_insert(Track {
                published: tail,
                sequenced: false,
            });
        });
    }

    /// Up to where a conversation was published, if it is watched.
    pub(crate) fn published(&self, id: &ConversationId) -> Option<Seq> {
        self.with(id, |track| track.map(|track| track.published))
    }

    /// Publishes entries that follow one another; first what is missing before them.
    pub(crate) async fn publish(
        &self,
        store: &SharedStore,
        id: &ConversationId,
        entries: &[Entry],
    ) {
        if let Some(first) = entries.first() {
            self.catch_up(store, id, Seq(first.seq.0 - 1)).await;
            self.emit(id, entries);
        }
    }

    /// Publishes what is not published yet, up to a place. When the store cannot be read now,
    /// those who follow the log notice the hole themselves.
    async fn catch_up(&self, store: &SharedStore, id: &ConversationId, up_to: Seq) {
        loop {
            let Some(from) = self.published(id).filter(|published| *published < up_to) else {
                return;
            };
            match store.entries(id, from, PAGE).await {
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => self.emit(id, &entries),
                Err(error) => {
                    tracing::warn!(conversation = %id, %error, "entries to publish not readable");
                    return;
                }
            }
        }
    }

    /// Publishes what is above the last place published. The lock makes that one order for
    /// everybody; fan-out only queues, so it is held for long by nobody.
    fn emit(&self, id: &ConversationId, entries: &[Entry]) {
        let topic: Arc<str> = topic_of(id).into();
        let alias: Option<Arc<str>> = (!is_personal(id)).then(|| alias_topic(id).into());
        // What was published since can only be more, so what is made here in vain is little.
        let published = self.published(id).unwrap_or_default();
        let new: Vec<_> = entries.iter().filter(|it| it.seq > published).collect();
        let broadcasts = new.iter().map(|it| broadcast(&topic, alias.as_ref(), it));
        let broadcasts: Vec<_> = broadcasts.map(Arc::new).collect();
        self.with(id, |track| {
            let published = track.map_or(Seq(0), |track| track.published);
            let from = new.partition_point(|entry| entry.seq <= published);
            self.emit_in_order(id, &topic, &new[from..], &broadcasts[from..]);
            if let (Some(track), Some(newest)) = (track, new[from..].last()) {
                track.published = newest.seq;
            }
        });
    }

    /// All at once, save that whoever left hears what came before, and nothing that came after.
    fn emit_in_order(
        &self,
        id: &ConversationId,
        topic: &str,
        entries: &[&Entry],
        broadcasts: &[Arc<Broadcast>],
    ) {
        let mut from = 0;
        for (at, entry) in entries.iter().enumerate() {
            if entry.kind == EntryKind::MemberLeft {
                self.fanout.publish_entries(&broadcasts[from..=at]);
                self.tell_who_left(id, topic, entry);
                from = at + 1;
            }
        }
        self.fanout.publish_entries(&broadcasts[from..]);
    }

    fn tell_who_left(&self, id: &ConversationId, topic: &str, entry: &Entry) {
        if ServerMutant::SkipRevoke.is_active() {
            return;
        }
        let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
            return;
        };
        if let Some(left) = update.members.into_iter().next() {
            let note = MemberLeft {
                conversation: id.clone(),
                user: left.user_id,
                seq: entry.seq,
            };
            let note = Note::new(note);
            self.fanout.note(topic, &note);
            self.fanout.note(&members_topic(id), &note);
        }
    }

    /// Publishes what other processes wrote to conversations that somebody here listens to, and
    /// forgets those to which nobody does any more.
    pub(crate) async fn poll(&self, store: &SharedStore) -> Result<(), StoreError> {
        for ids in self.listened_to().chunks(TAILS) {
            for (id, tail) in store.tails(ids).await? {
                self.catch_up(store, &id, tail).await;
            }
        }
        Ok(())
    }

    fn listened_to(&self) -> Vec<ConversationId> {
        let mut ids = Vec::new();
        for tracks in &self.tracks {
            tracks.lock().retain(|id, track| {
                let has_listeners = self.fanout.subscribers(&topic_of(id)) > 0;
                if has_listeners {
                    ids.push(id.clone());
                }
                has_listeners || track.sequenced
            });
        }
        ids
    }

    fn with<R>(&self, id: &ConversationId, act: impl FnOnce(&mut Option<Track>) -> R) -> R {
        let shard = self.hasher.hash_one(id) as usize % self.tracks.len();
        let mut tracks = self.tracks[shard].lock();
        let mut track = tracks.get(id).copied();
        let result = act(&mut track);
        match (track, tracks.get_mut(id)) {
            (Some(track), Some(held)) => *held = track,
            (Some(track), None) => drop(tracks.insert(id.clone(), track)),
            (None, _) => drop(tracks.remove(id)),
        }
        result
    }
}

/// The broadcast of an entry, as it is published on the topic of its conversation.
pub fn broadcast_of(id: &ConversationId, entry: &Entry) -> Broadcast {
    let alias = (!is_personal(id)).then(|| alias_topic(id).into());
    broadcast(&topic_of(id).into(), alias.as_ref(), entry)
}

fn broadcast(topic: &Arc<str>, alias: Option<&Arc<str>>, entry: &Entry) -> Broadcast {
    let pushed = wire::pushed(entry);
    let payload = Payload::Json(Json::assume_valid(pushed.payload.to_string()));
    let broadcast =
        Broadcast::new(Arc::clone(topic), pushed.event.into_owned(), payload).with_seq(entry.seq);
    match alias {
        Some(alias) => broadcast.with_alias(Arc::clone(alias)),
        None => broadcast,
    }
}
