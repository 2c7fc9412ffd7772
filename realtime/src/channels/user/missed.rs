//! What a client missed over all of its conversations, in batches.
//!
//! Conversations with something urgent come first: within a batch always, and before all others
//! where there is more than a batch. Order within a conversation is never broken, and none is
//! promised between them. While the urgent ones are replayed the client's cursor stays at the place
//! where it was, since that is one in the order of all; it carries the number of the batch, so that
//! an acknowledgement says of which.

use std::collections::BTreeMap;

use quikapp_actors::{
    delivery::{self, Places, Reach, is_urgent},
    registers::Change,
};
use quikapp_storage::{ConversationId, DeviceCursor, Entry, Seq, StreamCursor};
use serde::{Deserialize, Serialize};

use super::{BATCH, State, UserChannel, params::UserAcked, streamed};
use crate::{auth::Principal, channel::Context, channels::chat::params::GapEntry, errors::Refusal};

/// Conversations of a queue that are looked at for something urgent.
const QUEUED: usize = 1_000;

/// Between a cursor's place and the number of a batch that was replayed out of turn.
const NUMBER: char = '~';

/// A batch of the stream, as the client is shown it.
pub(super) struct Batch {
    pub(super) entries: Vec<GapEntry>,
    pub(super) next: StreamCursor,
    pub(super) more: bool,
    read: Read,
}

/// How a batch was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Read {
    /// So many entries behind a place.
    InOrder { after: StreamCursor, count: usize },
    /// Out of turn, from there on; up to where is not acknowledged yet.
    First { scanned: StreamCursor },
}

/// A batch that an acknowledgement has brought. A client that gave up waiting for the reply does
/// not have it: it sends the same acknowledgement again, and is sent the same batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Brought {
    pub(super) by: StreamCursor,
    next: StreamCursor,
    more: bool,
    read: Read,
}

impl Batch {
    pub(super) fn brought_by(&self, by: StreamCursor) -> Brought {
        Brought {
            by,
            next: self.next.clone(),
            more: self.more,
            read: self.read.clone(),
        }
    }

    pub(super) fn acked(self) -> UserAcked {
        UserAcked {
            cursor: self.next,
            gap: Some(self.entries),
            more: self.more,
        }
    }
}

/// The place of a cursor, without the number of a batch.
pub(super) fn place_in(cursor: &StreamCursor) -> StreamCursor {
    let place = cursor.0.split_once(NUMBER);
    StreamCursor(
        place
            .map_or(cursor.0.as_str(), |(place, _)| place)
            .to_owned(),
    )
}

/// Conversations that are replayed before the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Urgent {
    ids: Vec<ConversationId>,
    /// Up to where the stream was looked through for them.
    scanned: StreamCursor,
    /// Batches of them so far.
    batches: u64,
}

/// What was replayed out of turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct First {
    /// Up to where, by conversation.
    shown: BTreeMap<ConversationId, Seq>,
    /// The same of what was not acknowledged yet.
    unacknowledged: BTreeMap<ConversationId, Seq>,
}

impl UserChannel {
    /// The first batch behind a cursor; `None` if that cannot be replayed from: it was not issued
    /// here, or too much lies behind it, or something too old.
    pub(super) async fn first_batch(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Option<Batch>, Refusal> {
        let (store, principal) = (&self.backend.store, cx.assigns());
        let (config, device) = (self.backend.delivery.config(), state.device.as_ref());
        let reach = delivery::reach(store, config, cx.now(), &principal.person, device, from);
        let Reach::Within(backlog) = reach.await? else {
            return Ok(None);
        };
        if backlog.count > BATCH as u64 {
            self.begin_with_urgent(cx, state, from).await?;
        }
        self.batch(cx, state, from).await.map(Some)
    }

    /// Finds out which conversations are to be replayed first.
    async fn begin_with_urgent(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<(), Refusal> {
        let store = &self.backend.store;
        let queue = store.queue(&cx.assigns().person, QUEUED).await?;
        let urgent = queue.conversations.into_iter().filter(|it| it.urgent);
        let ids: Vec<_> = urgent.map(|it| it.conversation).collect();
        let scanned = from.clone();
        let urgent = Urgent {
            ids,
            scanned,
            batches: 0,
        };
        state.urgent = (!urgent.ids.is_empty()).then(|| Box::new(urgent));
        Ok(())
    }

    /// The next batch behind a cursor.
    pub(super) async fn batch(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Batch, Refusal> {
        if let Some(mut urgent) = state.urgent.take() {
            urgent.batches += 1;
            let number = urgent.batches;
            let scanned = urgent.scanned.clone();
            let entries = self.urgent_entries(cx, state, urgent).await?;
            if !entries.is_empty() {
                let next = StreamCursor(format!("{}{NUMBER}{number}", from.0));
                state.cursor = next.clone();
                state.catching_up = true;
                return Ok(Batch {
                    entries,
                    next,
                    more: true,
                    read: Read::First { scanned },
                });
            }
        }
        self.next_in_order(cx, state, from).await
    }

    /// The batch that was brought last, as it was: what has come since is live, or comes next.
    pub(super) async fn batch_again(
        &self,
        cx: &Context<Principal>,
        state: &State,
        brought: &Brought,
    ) -> Result<Batch, Refusal> {
        let entries = match &brought.read {
            Read::First { scanned } => self.urgent_again(cx, state, scanned).await?,
            Read::InOrder { after, count } => {
                let (store, person) = (&self.backend.store, &cx.assigns().person);
                let missed = match count {
                    0 => Vec::new(),
                    count => store.missed(person, after, *count).await?.entries,
                };
                self.in_order(cx, state, &missed).await?
            }
        };
        Ok(Batch {
            entries,
            next: brought.next.clone(),
            more: brought.more,
            read: brought.read.clone(),
        })
    }

    /// Of the urgent conversations, what was sent and not acknowledged.
    async fn urgent_again(
        &self,
        cx: &Context<Principal>,
        state: &State,
        scanned: &StreamCursor,
    ) -> Result<Vec<GapEntry>, Refusal> {
        let (store, person) = (&self.backend.store, &cx.assigns().person);
        let mut places = Places::of(store, person, state.device.as_ref());
        let first = state.first.as_deref();
        let mut missing = first.map_or_else(BTreeMap::new, |it| it.unacknowledged.clone());
        let mut entries = Vec::new();
        let mut after = scanned.clone();
        while !missing.is_empty() {
            let missed = store.missed(person, &after, BATCH).await?;
            for (id, entry) in &missed.entries {
                let Some(last) = missing.get(id).copied() else {
                    continue;
                };
                if entry.seq <= last && entry.seq > places.get(id).await? {
                    entries.push(streamed(cx, id, entry));
                }
                if entry.seq >= last {
                    missing.remove(id);
                }
            }
            if !missed.more {
                break;
            }
            after = missed.next;
        }
        Ok(entries)
    }

    /// Entries of the urgent conversations, at most a batch.
    async fn urgent_entries(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        mut urgent: Box<Urgent>,
    ) -> Result<Vec<GapEntry>, Refusal> {
        let (store, principal) = (&self.backend.store, cx.assigns());
        let person = &principal.person;
        let device = state.device.clone();
        let mut places = Places::of(store, person, device.as_ref());
        let mut entries = Vec::new();
        loop {
            let missed = store.missed(person, &urgent.scanned, BATCH);
            let missed = missed.await?;
            let mut found = Vec::new();
            for (id, entry) in &missed.entries {
                let is_meant = urgent.ids.contains(id);
                if is_meant && entry.seq > places.get(id).await? {
                    found.push((id, entry));
                }
            }
            if entries.len() + found.len() > BATCH {
                state.urgent = Some(urgent);
                return Ok(entries);
            }
            for (id, entry) in found {
                entries.push(streamed(cx, id, entry));
                let first = state.first.get_or_insert_default();
                first.shown.insert(id.clone(), entry.seq);
                first.unacknowledged.insert(id.clone(), entry.seq);
            }
            if !missed.more {
                return Ok(entries);
            }
            urgent.scanned = missed.next;
        }
    }

    /// What follows a cursor.
    async fn next_in_order(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
        from: &StreamCursor,
    ) -> Result<Batch, Refusal> {
        let (store, person) = (&self.backend.store, &cx.assigns().person);
        let missed = store.missed(person, from, BATCH).await?;
        let entries = self.in_order(cx, state, &missed.entries).await?;
        for (id, entry) in &missed.entries {
            state.has_shown(id, entry.seq);
        }
        state.cursor = missed.next.clone();
        state.catching_up = missed.more;
        Ok(Batch {
            entries,
            next: missed.next,
            more: missed.more,
            read: Read::InOrder {
                after: from.clone(),
                count: missed.entries.len(),
            },
        })
    }

    /// What was missed, less what was replayed out of turn and what the device has acknowledged
    /// conversation by conversation.
    async fn in_order(
        &self,
        cx: &Context<Principal>,
        state: &State,
        missed: &[(ConversationId, Entry)],
    ) -> Result<Vec<GapEntry>, Refusal> {
        let (store, person) = (&self.backend.store, &cx.assigns().person);
        let mut places = Places::of(store, person, state.device.as_ref());
        let mut shown: Vec<&(ConversationId, Entry)> = Vec::new();
        for missed in missed {
            let (id, entry) = missed;
            let first = state.first.as_ref().and_then(|it| it.shown.get(id));
            let first = first.copied().unwrap_or_default();
            let on_device = places.get(id).await?;
            if entry.seq > on_device.max(first) {
                shown.push(missed);
            }
        }
        let urgent: Vec<_> = shown.iter().filter(|(_, entry)| is_urgent(entry)).collect();
        let urgent: Vec<_> = urgent.into_iter().map(|(id, _)| id.clone()).collect();
        // Stable, so that the order within each conversation stays.
        shown.sort_by_key(|(id, _)| !urgent.contains(id));
        let entries = shown.into_iter();
        Ok(entries.map(|(id, entry)| streamed(cx, id, entry)).collect())
    }

    /// The client has what it was sent out of turn: its cursor over all does not say so, so the
    /// places in those conversations do.
    pub(super) async fn acknowledge_first(
        &self,
        cx: &Context<Principal>,
        state: &mut State,
    ) -> Result<(), Refusal> {
        let principal = cx.assigns();
        let Some(first) = &mut state.first else {
            return Ok(());
        };
        let places = std::mem::take(&mut first.unacknowledged);
        let Some(device) = &state.device else {
            return Ok(());
        };
        for (conversation, seq) in places {
            let cursor = DeviceCursor {
                person: principal.person.clone(),
                device: device.clone(),
                conversation,
                seq,
            };
            let moved = self.backend.registers.change(Change::Cursor(cursor));
            moved.await?;
        }
        Ok(())
    }
}
