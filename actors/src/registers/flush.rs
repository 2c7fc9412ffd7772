//! Writing merged changes, then broadcasting them, then answering.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quikapp_protocol::{Json, Payload};
use quikapp_storage::{
    ConversationId, DeviceCursor, Person, RegisterChange, RegisterWrite, Registers as Stored, Seq,
    SharedStore, StoreError, StreamCursor, Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::Instant};

use super::{
    coalesce::Merged,
    handle::{Change, Mark},
    payload::{DraftPayload, MutePayload, ReceiptPayload, UnreadPayload},
};
use crate::{
    Clock,
    conversation::{CommandError, alias_topic, chat_topic, person_topic, refusal_of},
    fanout::{Broadcast, Fanout},
    users::Changes,
};

/// For how long it is remembered whether a conversation is large.
const SIZE_FOR: Duration = Duration::from_secs(10);
/// Conversations whose size is remembered.
const SIZES: usize = 10_000;

type Waiter = oneshot::Sender<Result<(), CommandError>>;

/// Where changes end.
#[derive(Debug)]
pub(super) struct Flush {
    store: Store,
    fanout: Fanout,
    clock: Arc<dyn Clock>,
    changes: Changes,
    receipts_up_to_members: usize,
    sizes: Mutex<HashMap<ConversationId, (bool, Instant)>>,
}

/// Gives the shared store a name in debug output.
struct Store(SharedStore);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.store_id())
    }
}

/// Receipts of a large conversation: the furthest place and how many people moved.
#[derive(Debug, Default)]
struct Crowd {
    delivered: (Seq, u32),
    read: (Seq, u32),
}

impl Flush {
    pub(super) fn new(
        store: SharedStore,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
        changes: Changes,
        receipts_up_to_members: usize,
    ) -> Self {
        Self {
            store: Store(store),
            fanout,
            clock,
            changes,
            receipts_up_to_members,
            sizes: Mutex::default(),
        }
    }

    /// Where a stream cursor stands among its kind; `None` if the store did not issue it.
    pub(super) fn rank(&self, cursor: &StreamCursor) -> Option<u64> {
        self.store.0.cursor_rank(cursor)
    }

    /// Writes everything, each kind in one go, and answers everybody.
    pub(super) async fn write(&self, merged: Vec<Merged<Waiter>>) {
        let mut marks = Vec::new();
        let mut cursors = Vec::new();
        for Merged { change, waiters } in merged {
            match change {
                Change::Mark(mark) => marks.push((mark, waiters)),
                Change::Cursor(cursor) => cursors.push((cursor, waiters)),
                Change::Stream {
                    person,
                    device,
                    cursor,
                } => {
                    let store = &self.store.0;
                    let written = store.write_stream_cursor(&person, &device, &cursor).await;
                    self.changes.of_person(&person);
                    answer(waiters, written.as_ref().err());
                }
            }
        }
        self.write_cursors(cursors).await;
        self.write_marks(marks).await;
    }

    async fn write_cursors(&self, cursors: Vec<(DeviceCursor, Vec<Waiter>)>) {
        if cursors.is_empty() {
            return;
        }
        let (mut cursors, waiters): (Vec<_>, Vec<_>) = cursors.into_iter().unzip();
        let people: Vec<_> = cursors.iter().map(|it| it.person.clone()).collect();
        let written = async {
            let ids = cursors.iter().map(|cursor| cursor.conversation.clone());
            let tails = self.tails(ids.collect()).await?;
            for cursor in &mut cursors {
                cursor.seq = cursor.seq.min(tail_of(&tails, &cursor.conversation));
            }
            self.store.0.write_cursors(cursors).await
        };
        let written = written.await;
        for person in &people {
            self.changes.of_person(person);
        }
        answer(waiters.into_iter().flatten(), written.as_ref().err());
    }

    async fn write_marks(&self, marks: Vec<(Mark, Vec<Waiter>)>) {
        if marks.is_empty() {
            return;
        }
        let (mut marks, waiters): (Vec<_>, Vec<_>) = marks.into_iter().unzip();
        let written = self.persist(&mut marks).await;
        // Also when nobody knows whether it was written.
        for mark in marks.iter().filter(|mark| mark.counts()) {
            self.changes.in_conversation(&mark.conversation);
        }
        if let Ok(stored) = &written {
            self.publish(&marks, stored).await;
        }
        answer(waiters.into_iter().flatten(), written.as_ref().err());
    }

    /// Nobody has read what is not there yet: marks beyond the tail end at the tail.
    async fn persist(&self, marks: &mut [Mark]) -> Result<Vec<Stored>, StoreError> {
        let ids = marks.iter().map(|mark| mark.conversation.clone());
        let tails = self.tails(ids.collect()).await?;
        let mut writes = Vec::with_capacity(marks.len());
        for mark in marks {
            let tail = tail_of(&tails, &mark.conversation);
            match &mut mark.change {
                RegisterChange::Delivered(seq)
                | RegisterChange::Read(seq)
                | RegisterChange::UnreadFrom(seq) => *seq = tail.min(*seq),
                RegisterChange::Draft(_) | RegisterChange::Mute(_) => {}
            }
            writes.push(RegisterWrite {
                conversation: mark.conversation.clone(),
                user: mark.person.user.clone(),
                change: mark.change.clone(),
            });
        }
        self.store.0.write_registers(writes).await
    }

    async fn tails(
        &self,
        mut ids: Vec<ConversationId>,
    ) -> Result<HashMap<ConversationId, Seq>, StoreError> {
        ids.sort();
        ids.dedup();
        Ok(self.store.0.tails(&ids).await?.into_iter().collect())
    }

    async fn publish(&self, marks: &[Mark], stored: &[Stored]) {
        let now = self.clock.now();
        let mut crowds: HashMap<&ConversationId, Crowd> = HashMap::new();
        for (mark, stored) in marks.iter().zip(stored) {
            match &mark.change {
                // A mark behind the one that stands changes nothing.
                RegisterChange::Delivered(seq) if *seq < stored.marks.delivered => {}
                RegisterChange::Read(seq) if *seq < stored.marks.read => {}
                RegisterChange::Delivered(seq) | RegisterChange::Read(seq) => {
                    if self.is_large(&mark.conversation).await {
                        crowds
                            .entry(&mark.conversation)
                            .or_default()
                            .add(mark, *seq);
                    } else {
                        self.publish_receipt(mark, *seq, now);
                    }
                }
                RegisterChange::UnreadFrom(_) => {}
                RegisterChange::Draft(draft) => self.publish_draft(mark, draft.as_deref()),
                RegisterChange::Mute(mute) => {
                    let payload = MutePayload {
                        conversation_id: mark.conversation.clone(),
                        mute: *mute,
                    };
                    self.tell(&mark.person, "mute:changed", &payload);
                }
            }
            self.publish_unread(mark, stored).await;
        }
        for (id, crowd) in crowds {
            self.publish_crowd(id, &crowd, now);
        }
    }

    fn publish_receipt(&self, mark: &Mark, seq: Seq, now: Timestamp) {
        let is_read = matches!(mark.change, RegisterChange::Read(_));
        let payload = ReceiptPayload {
            message_id: mark.message,
            seq,
            user_id: Some(mark.person.user.clone()),
            device_id: mark.device.clone(),
            count: None,
            conversation_id: mark.conversation.clone(),
            delivered_at: (!is_read).then_some(now),
            read_at: is_read.then_some(now),
        };
        self.say(&mark.conversation, receipt_event(is_read), &payload);
    }

    fn publish_crowd(&self, id: &ConversationId, crowd: &Crowd, now: Timestamp) {
        for (is_read, (seq, count)) in [(false, crowd.delivered), (true, crowd.read)] {
            if count == 0 {
                continue;
            }
            let payload = ReceiptPayload {
                message_id: None,
                seq,
                user_id: None,
                device_id: None,
                count: Some(count),
                conversation_id: id.clone(),
                delivered_at: (!is_read).then_some(now),
                read_at: is_read.then_some(now),
            };
            self.say(id, receipt_event(is_read), &payload);
        }
    }

    fn publish_draft(&self, mark: &Mark, draft: Option<&str>) {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let payload = DraftPayload {
            conversation_id: mark.conversation.clone(),
            draft: draft.and_then(raw),
        };
        self.tell(&mark.person, "draft:changed", &payload);
    }

    /// Reading on and marking unread change what is unread on all of the person's devices.
    async fn publish_unread(&self, mark: &Mark, stored: &Stored) {
        let changes = matches!(
            mark.change,
            RegisterChange::Read(_) | RegisterChange::UnreadFrom(_)
        );
        if !changes || self.fanout.subscribers(&person_topic(&mark.person)) == 0 {
            return;
        }
        let unread = self.store.0.unread(&mark.conversation, &mark.person.user);
        match unread.await {
            Ok(unread) => {
                let payload = UnreadPayload {
                    conversation_id: mark.conversation.clone(),
                    unread,
                    read: stored.marks.read,
                    unread_from: stored.marks.unread_from,
                    thread: None,
                };
                self.tell(&mark.person, "unread:changed", &payload);
            }
            Err(error) => tracing::warn!(%error, "unread count not readable"),
        }
    }

    /// Whether a conversation has so many members that receipts are only counted. When the store
    /// cannot say, it is taken for large: counts are the lesser flood.
    async fn is_large(&self, id: &ConversationId) -> bool {
        if let Some((is_large, at)) = self.sizes.lock().get(id).copied()
            && at.elapsed() < SIZE_FOR
        {
            return is_large;
        }
        let most = self.receipts_up_to_members;
        let Ok(members) = self.store.0.members(id, None, most + 1).await else {
            return true;
        };
        let is_large = members.len() > most;
        let mut sizes = self.sizes.lock();
        if sizes.len() >= SIZES {
            sizes.clear();
        }
        sizes.insert(id.clone(), (is_large, Instant::now()));
        is_large
    }

    /// To everyone in a conversation.
    fn say(&self, id: &ConversationId, event: &str, payload: &impl Serialize) {
        if let Some(broadcast) = broadcast(chat_topic(id), event, payload) {
            self.fanout.publish(broadcast.with_alias(alias_topic(id)));
        }
    }

    /// To all devices of one person.
    fn tell(&self, person: &Person, event: &str, payload: &impl Serialize) {
        if let Some(broadcast) = broadcast(person_topic(person), event, payload) {
            self.fanout.publish(broadcast);
        }
    }
}

impl Mark {
    /// Whether it changes what is unread, or who hears of it.
    fn counts(&self) -> bool {
        match self.change {
            RegisterChange::Read(_) | RegisterChange::UnreadFrom(_) | RegisterChange::Mute(_) => {
                true
            }
            RegisterChange::Delivered(_) | RegisterChange::Draft(_) => false,
        }
    }
}

impl Crowd {
    fn add(&mut self, mark: &Mark, seq: Seq) {
        let (furthest, count) = match mark.change {
            RegisterChange::Read(_) => &mut self.read,
            _ => &mut self.delivered,
        };
        *furthest = seq.max(*furthest);
        *count += 1;
    }
}

fn receipt_event(is_read: bool) -> &'static str {
    if is_read {
        "message:read"
    } else {
        "message:delivered"
    }
}

fn broadcast(topic: String, event: &str, payload: &impl Serialize) -> Option<Broadcast> {
    let json = Json::from_serialize(payload).ok()?;
    Some(Broadcast::new(topic, event, Payload::Json(json)))
}

fn tail_of(tails: &HashMap<ConversationId, Seq>, id: &ConversationId) -> Seq {
    tails.get(id).copied().unwrap_or_default()
}

fn answer(waiters: impl IntoIterator<Item = Waiter>, error: Option<&StoreError>) {
    for waiter in waiters {
        // Whether the caller still waits does not matter.
        let _ = waiter.send(match error {
            Some(error) => Err(refusal_of(error)),
            None => Ok(()),
        });
    }
}
