//! The handle, and the task that watches the deadlines.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_protocol::Payload;
use quikapp_storage::{ConversationId, Shared, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};
use ts_rs::TS;

use super::{
    Config, Core, Full, Source, TypingEvent,
    share::{Said, Telling},
};
use crate::{
    Clock,
    fanout::{Broadcast, Fanout},
    presence::{ReplicaId, Tracker},
    supervision::{ChildSpec, Supervisor, SupervisorSpec},
};

const SHARDS: u64 = 16;

/// `typing:start` and `typing:stop`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct TypingPayload {
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// When.
    #[ts(type = "string")]
    pub timestamp: Timestamp,
}

/// Who is typing. Cloning shares it. Events are published on `chat:<conversation>`.
#[derive(Debug, Clone)]
pub struct Typing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fanout: Fanout,
    clock: Arc<dyn Clock>,
    began: Instant,
    shards: Box<[Mutex<Core>]>,
    hasher: RandomState,
    /// Wakes the task when there may be an earlier deadline than the one it waits for.
    earlier: Arc<Notify>,
    /// How other nodes are told, where nodes share it.
    telling: OnceLock<Telling>,
}

impl Typing {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub fn start(fanout: Fanout, clock: Arc<dyn Clock>, config: &Config) -> Self {
        let alone = Supervisor::start(SupervisorSpec::new("alone"));
        Self::start_under(&alone, fanout, clock, config)
    }

    /// Nobody types. Starts the task that ends what is not refreshed; it ends with the last
    /// handle.
    pub fn start_under(
        supervisor: &Supervisor,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
        config: &Config,
    ) -> Self {
        let shard = |_| Mutex::new(Core::new(config.clone()));
        let inner = Arc::new(Inner {
            fanout,
            clock,
            began: Instant::now(),
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            earlier: Arc::new(Notify::new()),
            telling: OnceLock::new(),
        });
        let (watched, earlier) = (Arc::downgrade(&inner), inner.earlier.clone());
        supervisor.launch(ChildSpec::task("typing", "typing", move |stop| {
            let (watched, earlier) = (watched.clone(), earlier.clone());
            async move {
                stop.run_until_cancelled(watch(watched, earlier)).await;
            }
        }));
        Self(inner)
    }

    /// Tells the other nodes who types here, and hears of them who types there; `node` is this one.
    /// Nothing of it is kept: what is lost is told again while it lasts, and ends by itself.
    pub fn share_under(&self, supervisor: &Supervisor, shared: &Shared, node: ReplicaId) {
        let telling = Telling::start(supervisor, self, shared, node);
        // Who was told to share before goes on as before.
        let _ = self.0.telling.set(telling);
    }

    /// A channel says that its person types. The caller has checked that they may write here.
    pub fn started(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        tracker: Tracker,
    ) -> Result<(), Full> {
        self.begin(conversation, user, tracker.into())
    }

    fn begin(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        source: Source,
    ) -> Result<(), Full> {
        let now = self.0.now();
        let mut core = self.0.shard(conversation).lock();
        let was_idle = core.is_empty();
        let event = core.start(conversation, user, source, now)?;
        self.0.publish(event);
        drop(core);
        if was_idle {
            self.0.earlier.notify_one();
        }
        Ok(())
    }

    /// A channel says that its person no longer types, or ends. Harmless when they did not.
    pub fn stopped(&self, conversation: &ConversationId, tracker: Tracker) {
        self.end(conversation, tracker.into());
    }

    fn end(&self, conversation: &ConversationId, source: Source) {
        let mut core = self.0.shard(conversation).lock();
        let event = core.stop(conversation, source);
        self.0.publish(event);
    }

    /// Another node has said who types there.
    pub(super) fn heard(&self, node: ReplicaId, said: &Said) -> Result<(), Full> {
        let user = said.user.clone();
        let source = Source::There { node, user };
        match said.typing {
            true => self.begin(&said.conversation, &said.user, source),
            false => {
                self.end(&said.conversation, source);
                Ok(())
            }
        }
    }

    /// A guard for one channel in one conversation.
    pub fn guard(&self, conversation: &ConversationId, tracker: Tracker) -> TypingGuard {
        TypingGuard {
            typing: self.clone(),
            conversation: conversation.clone(),
            tracker,
        }
    }

    /// Who types in a conversation, ordered by user id.
    pub fn list(&self, conversation: &ConversationId) -> Vec<UserId> {
        self.0.shard(conversation).lock().list(conversation)
    }

    /// How many channels type on this node.
    pub fn count(&self) -> usize {
        self.0.shards.iter().map(|core| core.lock().len()).sum()
    }
}

/// Ends the typing of one channel in one conversation when it is dropped: attach it to the
/// channel that starts.
#[derive(Debug)]
#[must_use = "dropping it ends the typing"]
pub struct TypingGuard {
    typing: Typing,
    conversation: ConversationId,
    tracker: Tracker,
}

impl Drop for TypingGuard {
    fn drop(&mut self) {
        self.typing.stopped(&self.conversation, self.tracker);
    }
}

impl Inner {
    fn shard(&self, conversation: &ConversationId) -> &Mutex<Core> {
        let number = self.hasher.hash_one(conversation) % SHARDS;
        &self.shards[number as usize]
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends what is due; returns when to look again.
    fn expire(&self) -> Option<Instant> {
        let now = self.now();
        for core in &self.shards {
            let mut core = core.lock();
            let events = core.expire(now);
            self.publish(events);
        }
        let deadlines = self
            .shards
            .iter()
            .filter_map(|core| core.lock().next_deadline());
        deadlines.min().map(|deadline| self.began + deadline)
    }

    /// Under the shard's lock, so that starts and stops go out in the order in which they happened.
    fn publish(&self, events: impl IntoIterator<Item = TypingEvent>) {
        for event in events {
            let broadcast = broadcast(&event, self.clock.now());
            match (&event.from, self.telling.get()) {
                (Source::There { .. }, _) => self.fanout.publish_local(broadcast),
                (Source::Here(it), telling) => {
                    // The others publish their own, and know that it ends.
                    if let Some(telling) = telling {
                        telling.tell(&event);
                    }
                    self.fanout
                        .publish_local_from(it.connection, it.slot, broadcast)
                }
            };
        }
    }
}

async fn watch(inner: Weak<Inner>, earlier: Arc<Notify>) {
    loop {
        let Some(due) = inner.upgrade().map(|inner| inner.expire()) else {
            return;
        };
        match due {
            Some(due) => {
                let _ = tokio::time::timeout_at(due, earlier.notified()).await;
            }
            None => earlier.notified().await,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

fn broadcast(event: &TypingEvent, now: Timestamp) -> Broadcast {
    let id = &event.conversation;
    let name = match event.typing {
        true => "typing:start",
        false => "typing:stop",
    };
    let payload = TypingPayload {
        conversation_id: id.clone(),
        user_id: event.user.clone(),
        timestamp: now,
    };
    // The payload has no keys that JSON could not hold.
    let payload = Payload::from_serialize(&payload).unwrap_or_else(|_| Payload::empty_object());
    Broadcast::new(format!("chat:{id}"), name, payload).with_alias(format!("conversation:{id}"))
}
