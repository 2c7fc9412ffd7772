//! The sharded map from topics to subscribers.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::{
    Broadcast, Close, Lane, NodeId, Note, Outbox, Relay, SlotKey, Subscription,
    outbox::ConnectionId, topic::Topic,
};

/// Enough that publishers of different topics rarely meet.
const SHARDS: usize = 64;

/// One publication in so many is timed on its way to the clients, the first one included.
const TIMED: u64 = 32;

/// The handle of the topic registry. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Fanout(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    shards: Box<[Arc<Shard>]>,
    hasher: RandomState,
    relay: OnceLock<Arc<dyn Relay>>,
    publications: AtomicU64,
    metrics: Metrics,
}

struct Metrics {
    broadcasts: metrics::Counter,
    deliveries: metrics::Counter,
}

/// Some of the topics. A look at a name hashes it once, for its shard and its place there. The hash
/// is std's, whose key nobody outside can learn: clients choose the names of some topics.
#[derive(Debug)]
pub(super) struct Shard {
    topics: RwLock<HashTable<Arc<Topic>>>,
    hasher: RandomState,
}

impl Fanout {
    /// An empty registry. Install the metrics recorder first: its counters are taken here.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends what is published from now on to the other nodes too. The first relay stays.
    pub fn set_relay(&self, relay: Arc<dyn Relay>) {
        if self.0.relay.set(relay).is_err() {
            tracing::warn!("a relay is already set");
        }
    }

    /// Puts a channel of a connection on a topic. From the return on, every broadcast reaches its
    /// outbox.
    pub fn subscribe(
        &self,
        topic: &str,
        outbox: &Arc<Outbox>,
        slot: SlotKey,
        lane: Lane,
    ) -> Subscription {
        let outbox = Arc::clone(outbox);
        let (shard, hash) = self.0.shard(topic);
        let topics = shard.topics.read();
        if let Some(found) = topics.find(hash, |it| it.is_called(topic)) {
            // Added under the shard's lock, so that the topic is not dropped as empty meanwhile.
            return Arc::clone(found).add(outbox, slot, lane);
        }
        drop(topics);
        let mut topics = shard.topics.write();
        let entry = topics.entry(hash, |it| it.is_called(topic), |it| shard.hash_of(it));
        let new = || Arc::new(Topic::new(topic.into(), Arc::clone(shard)));
        let found = entry.or_insert_with(new).into_mut();
        Arc::clone(found).add(outbox, slot, lane)
    }

    /// Hands a broadcast to every subscriber of its topic, on every node. Returns how many there
    /// were on this one.
    pub fn publish(&self, broadcast: impl Into<Arc<Broadcast>>) -> usize {
        self.publish_except(&broadcast.into(), None)
    }

    /// Hands entries of a log that follow one another, all of one topic, to the subscribers on this
    /// node, each of whom gets them at once. The other nodes read the log themselves.
    pub fn publish_entries(&self, broadcasts: &[Arc<Broadcast>]) {
        let Some(first) = broadcasts.first() else {
            return;
        };
        let topic = first.topic();
        debug_assert!(broadcasts.iter().all(|it| it.topic() == topic));
        let found = self.0.topic(topic);
        let reached = found.map_or(0, |topic| {
            self.0.time(first);
            topic.deliver_all(broadcasts)
        });
        let count = broadcasts.len() as u64;
        self.0.metrics.broadcasts.increment(count);
        self.0.metrics.deliveries.increment(count * reached as u64);
    }

    /// Like [`publish`](Self::publish), but not to the channel that sends it.
    pub fn publish_from(
        &self,
        connection: ConnectionId,
        slot: SlotKey,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> usize {
        self.publish_except(&broadcast.into(), Some((connection, slot)))
    }

    /// Hands a broadcast to the subscribers on this node only.
    pub fn publish_local(&self, broadcast: impl Into<Arc<Broadcast>>) -> usize {
        self.deliver(&broadcast.into(), None)
    }

    /// Like [`publish_local`](Self::publish_local), but not to the channel that sends it.
    pub fn publish_local_from(
        &self,
        connection: ConnectionId,
        slot: SlotKey,
        broadcast: impl Into<Arc<Broadcast>>,
    ) -> usize {
        self.deliver(&broadcast.into(), Some((connection, slot)))
    }

    /// Hands a broadcast to the subscribers on one node: this one, or another that the relay leads
    /// to. It is lost if that node is gone.
    pub fn publish_direct(&self, node: NodeId, broadcast: impl Into<Arc<Broadcast>>) {
        let broadcast = broadcast.into();
        match self.0.relay.get() {
            Some(relay) if relay.node() == node => drop(self.deliver(&broadcast, None)),
            Some(relay) => relay.relay(&broadcast, Some(node)),
            None => {}
        }
    }

    /// This node, as others name it to [`publish_direct`](Self::publish_direct); none where nodes
    /// share nothing.
    pub fn node(&self) -> Option<NodeId> {
        self.0.relay.get().map(|relay| relay.node())
    }

    /// Sends a note to the `handle_info` of every channel subscribed to `topic` on this node,
    /// within the bound of their outboxes. Returns how many there were.
    pub fn note(&self, topic: &str, note: &Note) -> usize {
        self.0.topic(topic).map_or(0, |topic| topic.note(note))
    }

    /// Closes every connection of this node that is known under a socket id, after what is
    /// already queued for it. Returns how many there were.
    pub fn disconnect(&self, socket_id: &str, close: &Close) -> usize {
        self.0
            .topic(socket_id)
            .map_or(0, |topic| topic.close(close))
    }

    /// How many channels are subscribed to a topic on this node.
    pub fn subscribers(&self, topic: &str) -> usize {
        self.0.topic(topic).map_or(0, |topic| topic.len())
    }

    /// How many topics have subscribers on this node.
    pub fn topics(&self) -> usize {
        self.0.shards.iter().map(|it| it.topics.read().len()).sum()
    }

    fn publish_except(
        &self,
        broadcast: &Arc<Broadcast>,
        except: Option<(ConnectionId, SlotKey)>,
    ) -> usize {
        let delivered = self.deliver(broadcast, except);
        if let Some(relay) = self.0.relay.get() {
            relay.relay(broadcast, None);
        }
        delivered
    }

    fn deliver(
        &self,
        broadcast: &Arc<Broadcast>,
        except: Option<(ConnectionId, SlotKey)>,
    ) -> usize {
        let topic = self.0.topic(broadcast.topic());
        let delivered = topic.map_or(0, |topic| {
            self.0.time(broadcast);
            topic.deliver(broadcast, except)
        });
        self.0.metrics.broadcasts.increment(1);
        self.0.metrics.deliveries.increment(delivered as u64);
        delivered
    }
}

impl Registry {
    /// Times one publication in many. Of broadcasts that are published together, the first.
    fn time(&self, broadcast: &Broadcast) {
        if self
            .publications
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(TIMED)
        {
            broadcast.time();
        }
    }

    /// Where a topic is, and the hash of its name. Bits from the middle choose the shard: its table
    /// looks at the lowest and at the highest.
    fn shard(&self, name: &str) -> (&Arc<Shard>, u64) {
        let hash = self.hasher.hash_one(name);
        let shard = &self.shards[(hash >> 32) as usize % self.shards.len()];
        (shard, hash)
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        let (shard, hash) = self.shard(name);
        let topics = shard.topics.read();
        topics.find(hash, |it| it.is_called(name)).map(Arc::clone)
    }
}

impl Default for Registry {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = || {
            Arc::new(Shard {
                topics: RwLock::default(),
                hasher: hasher.clone(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher,
            relay: OnceLock::new(),
            publications: AtomicU64::new(0),
            metrics: Metrics {
                broadcasts: metrics::counter!("quikapp_broadcasts_total"),
                deliveries: metrics::counter!("quikapp_broadcast_deliveries_total"),
            },
        }
    }
}

impl Shard {
    fn hash_of(&self, topic: &Topic) -> u64 {
        let name: &str = topic.name();
        self.hasher.hash_one(name)
    }

    /// Forgets a topic whose last subscriber left, unless another came meanwhile.
    pub(super) fn remove_if_empty(&self, topic: &Arc<Topic>) {
        let hash = self.hash_of(topic);
        let mut topics = self.topics.write();
        let found = topics.find_entry(hash, |it| Arc::ptr_eq(it, topic));
        if let Ok(found) = found
            && topic.len() == 0
        {
            found.remove();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
