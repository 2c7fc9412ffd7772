//! One topic and its subscribers.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

use super::{
    Broadcast, Close, Note, Outbox, SlotKey,
    outbox::{ConnectionId, Delivery},
    registry::Shard,
    subscribers::Subscribers,
};

/// What becomes of a broadcast that reaches a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The channel's own topic: written to the client, save events the channel intercepts.
    Own,
    /// Another topic that the channel lets through: written to the client under the channel's
    /// topic, unless the client has joined the broadcast's own topic on the same connection.
    Forward,
    /// Another topic, handed to the channel's `handle_out` whatever the event; an entry of its
    /// log not if the client has joined the broadcast's own topic on the same connection.
    Intercept,
}

#[derive(Debug)]
pub(super) struct Subscriber {
    outbox: Arc<Outbox>,
    slot: SlotKey,
    lane: Lane,
}

/// A topic with at least one subscriber, or about to be dropped.
#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    shard: Arc<Shard>,
    subscribers: Mutex<Subscribers<Subscriber>>,
}

impl Topic {
    pub(super) fn new(name: Arc<str>, shard: Arc<Shard>) -> Self {
        Self {
            name,
            shard,
            subscribers: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        *self.name == *name
    }

    pub(super) fn len(&self) -> usize {
        self.subscribers.lock().len()
    }

    pub(super) fn add(
        self: Arc<Self>,
        outbox: Arc<Outbox>,
        slot: SlotKey,
        lane: Lane,
    ) -> Subscription {
        let key = self
            .subscribers
            .lock()
            .insert(Subscriber { outbox, slot, lane });
        Subscription { topic: self, key }
    }

    /// Hands a broadcast to everyone but `except`, and says to how many. Holding the topic's lock
    /// makes the order of broadcasts the same for every subscriber.
    pub(super) fn deliver(
        &self,
        broadcast: &Arc<Broadcast>,
        except: Option<(ConnectionId, SlotKey)>,
    ) -> usize {
        let mut delivered = 0;
        self.subscribers.lock().for_each(|to| {
            if !to.is(except) {
                to.outbox.push(to.delivery(broadcast));
                delivered += 1;
            }
        });
        delivered
    }

    /// Hands broadcasts to everyone, all of them at once: a subscriber that is idle wakes once and
    /// writes them together. Says to how many.
    pub(super) fn deliver_all(&self, broadcasts: &[Arc<Broadcast>]) -> usize {
        let subscribers = self.subscribers.lock();
        subscribers.for_each(|to| {
            to.outbox
                .push_all(broadcasts.iter().map(|it| to.delivery(it)));
        });
        subscribers.len()
    }

    pub(super) fn note(&self, note: &Note) -> usize {
        let subscribers = self.subscribers.lock();
        subscribers.for_each(|to| {
            to.outbox.push(Delivery::Note {
                slot: to.slot,
                note: note.clone(),
            });
        });
        subscribers.len()
    }

    pub(super) fn close(&self, close: &Close) -> usize {
        let subscribers = self.subscribers.lock();
        subscribers.for_each(|to| to.outbox.close(close.clone()));
        subscribers.len()
    }
}

impl Subscriber {
    fn delivery(&self, broadcast: &Arc<Broadcast>) -> Delivery {
        Delivery::Broadcast {
            slot: self.slot,
            lane: self.lane,
            broadcast: Arc::clone(broadcast),
        }
    }

    fn is(&self, other: Option<(ConnectionId, SlotKey)>) -> bool {
        other == Some((self.outbox.id(), self.slot))
    }
}

/// A place on a topic. Dropping it unsubscribes, at a cost that does not depend on how many
/// others listen.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    topic: Arc<Topic>,
    key: usize,
}

impl Subscription {
    /// What is subscribed to.
    pub fn topic(&self) -> &Arc<str> {
        self.topic.name()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (removed, is_last) = {
            let mut subscribers = self.topic.subscribers.lock();
            let removed = subscribers.remove(self.key);
            (removed, subscribers.len() == 0)
        };
        // The outbox goes outside the lock: it may be the last reference to a full queue.
        drop(removed);
        if is_last {
            self.topic.shard.remove_if_empty(&self.topic);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription")
            .field(&self.topic.name)
            .finish()
    }
}
