//! The handle: replicas sharded by topic, and the publishing of what changes in them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_storage::{Person, Shared};

use super::{
    AlreadyTracked, Counts, Diff, Message, Meta, Metas, NotTracked, Outlet, Replica, ReplicaId,
    Tracker, exchange, outlets, roll::Roll,
};
use crate::{
    fanout::{ConnectionId, Fanout},
    supervision::{ChildSpec, Supervisor, SupervisorSpec},
};

/// Enough that topics rarely meet; the shard's number is the low byte of its replica's id. The
/// shards of the roll follow.
const SHARDS: u64 = 16;

/// How many operations a shard remembers for peers that lag.
const LOG_LIMIT: usize = 4096;

/// Who is present on topics. Cloning shares it.
///
/// Diffs are published as `presence_diff` on the topic (see [`workspace_room`](super::workspace_room)
/// and [`room_of`](super::room_of) for those that are rooms of a workspace), on this node only (other nodes publish
/// their own once they have the delta), in the order of the changes. A channel subscribes to the
/// topic, reads [`Presence::list`] for its `presence_state`, and then tracks: so it misses nothing,
/// and what it sees twice is the same entry twice.
#[derive(Debug, Clone)]
pub struct Presence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fanout: Fanout,
    shards: Box<[Mutex<Shard>]>,
    roll: Roll,
    counting: AtomicBool,
}

#[derive(Debug)]
struct Shard {
    replica: Replica,
    /// Topics whose counts changed since they were last published.
    recount: HashSet<Arc<str>>,
}

impl Presence {
    /// Nobody is present. `node` is fresh at every start; its low byte is not used.
    pub fn new(fanout: Fanout, node: ReplicaId) -> Self {
        let shard = |number| {
            Mutex::new(Shard {
                replica: Replica::new(shard_of(node, number), LOG_LIMIT),
                recount: HashSet::new(),
            })
        };
        Self(Arc::new(Inner {
            fanout,
            shards: (0..SHARDS).map(shard).collect(),
            roll: Roll::new(|number| shard_of(node, SHARDS + number)),
            counting: AtomicBool::new(false),
        }))
    }

    /// Like [`count_under`](Self::count_under), with a supervisor of its own.
    pub fn start_counting(&self, period: Duration) {
        self.count_under(&Supervisor::start(SupervisorSpec::new("alone")), period);
    }

    /// Publishes counts once per `period`, until the last handle is gone.
    pub fn count_under(&self, supervisor: &Supervisor, period: Duration) {
        self.0.counting.store(true, Ordering::Relaxed);
        let inner = Arc::downgrade(&self.0);
        supervisor.launch(ChildSpec::task("presence", "presence", move |stop| {
            let inner = inner.clone();
            async move {
                let mut ticks = tokio::time::interval(period);
                while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                    match inner.upgrade() {
                        Some(inner) => Self(inner).publish_counts(),
                        None => return,
                    }
                }
            }
        }));
    }

    /// Starts to show a channel under a key.
    pub fn track(
        &self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
        meta: Meta,
    ) -> Result<(), AlreadyTracked> {
        let mut shard = self.shard(topic).lock();
        let diff = shard.replica.track(tracker, topic, key, meta)?;
        self.publish(&mut shard, [diff]);
        Ok(())
    }

    /// Replaces a channel's meta by what `change` makes of it.
    pub fn update(
        &self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
        change: impl FnOnce(&Meta) -> Meta,
    ) -> Result<(), NotTracked> {
        let mut shard = self.shard(topic).lock();
        let diff = shard.replica.update(tracker, topic, key, change)?;
        self.publish(&mut shard, [diff]);
        Ok(())
    }

    /// Stops showing a channel under a key.
    pub fn untrack(
        &self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
    ) -> Result<(), NotTracked> {
        let mut shard = self.shard(topic).lock();
        let diff = shard.replica.untrack(tracker, topic, key)?;
        self.publish(&mut shard, [diff]);
        Ok(())
    }

    /// Stops showing everything that a channel tracks, under whatever topic and key.
    pub fn untrack_channel(&self, tracker: Tracker) {
        self.everywhere(|replica| replica.untrack_channel(tracker));
    }

    /// Stops showing everything of a connection that is gone.
    pub fn untrack_connection(&self, connection: ConnectionId) {
        self.everywhere(|replica| replica.untrack_connection(connection));
    }

    /// Everyone on a topic: the payload of `presence_state` is [`Metas::to_payload`] of it.
    pub fn list(&self, topic: &str) -> Metas {
        self.shard(topic).lock().replica.list(topic)
    }

    /// The metas of one key, the oldest first; empty if it is not there.
    pub fn get(&self, topic: &str, key: &str) -> Metas {
        let shard = self.shard(topic).lock();
        let mut metas = Metas::default();
        for entry in shard.replica.get(topic, key) {
            metas.push(key.into(), entry.clone());
        }
        metas
    }

    /// How many are on a topic.
    pub fn counts(&self, topic: &str) -> Counts {
        self.shard(topic).lock().replica.counts(topic)
    }

    /// Publishes the counts of topics that changed since the last call and have listeners.
    pub fn publish_counts(&self) {
        for shard in &self.0.shards {
            let mut shard = shard.lock();
            for topic in std::mem::take(&mut shard.recount) {
                self.publish_count(&topic, shard.replica.counts(&topic));
            }
        }
    }

    /// What the other nodes are to be told now, in any order. Call it once per broadcast period.
    pub fn take_deltas(&self) -> Vec<Message> {
        let deltas = self
            .0
            .shards
            .iter()
            .map(|shard| shard.lock().replica.take_delta());
        deltas.flatten().map(Message::Delta).collect()
    }

    /// The clocks that this node knows, shard by shard: the heartbeat to the other nodes.
    pub fn digests(&self) -> Vec<Message> {
        let digests = self
            .0
            .shards
            .iter()
            .map(|shard| shard.lock().replica.digest());
        digests.collect()
    }

    /// What this node says of a person who is connected to it, to the other nodes only; `None` once
    /// they are not. Nothing happens before it is shared.
    pub fn say_connected(&self, person: &Person, record: Option<&str>) {
        self.0.roll.put(person, record);
    }

    /// What each other node says of a person who is connected to it: at most 250 ms old while
    /// nodes hear each other, and forgotten within 10 s of the end of a node that was killed.
    pub fn connected_elsewhere(&self, person: &Person) -> Vec<Box<str>> {
        self.0.roll.elsewhere(person)
    }

    /// What is kept of a person has changed while it may not show in what this node says of them:
    /// whichever nodes they are connected to, this one included, doubt what they know.
    pub fn unsettle(&self, person: &Person) {
        self.0.roll.unsettle(person);
    }

    /// Those of the people connected here of whom other nodes may know better since this last
    /// returned: something else is said of them than here, or nothing any more, or something may
    /// have been missed. Waits until there are some; for one caller. Cancelling it loses nothing.
    pub async fn doubtful(&self) -> Vec<Person> {
        self.0.roll.doubtful().await
    }

    /// Whether other nodes are told of anything.
    pub fn is_shared(&self) -> bool {
        self.0.roll.is_shared()
    }

    /// Takes in a message of another node, and returns what to answer it.
    pub fn receive(&self, message: Message) -> Vec<Message> {
        let Some(number) = addressed(&message) else {
            return Vec::new();
        };
        let Some(shard) = self.0.shards.get(number) else {
            let of_roll = number - self.0.shards.len();
            return self.0.roll.receive(of_roll, message).into_iter().collect();
        };
        let mut shard = shard.lock();
        let reaction = shard.replica.receive(message);
        self.publish(&mut shard, reaction.diffs);
        reaction.replies
    }

    /// What is new of each shard of this node since the clock up to which it is known elsewhere,
    /// in the order of the shards: see [`Replica::own_since`].
    pub(super) fn own_since(&self, known: &[Option<u64>]) -> Vec<Option<Message>> {
        let (of_topics, of_roll) = known.split_at(self.0.shards.len().min(known.len()));
        let shards = self.0.shards.iter().zip(of_topics);
        let shards = shards.map(|(shard, since)| shard.lock().replica.own_since(*since));
        let parts = self.0.roll.parts().iter().zip(of_roll);
        let parts = parts.map(|(part, since)| part.lock().own_since(*since));
        shards.chain(parts).collect()
    }

    /// The replicas of this node, shard by shard.
    pub(super) fn replicas(&self) -> Vec<ReplicaId> {
        let shards = self.0.shards.iter();
        let shards = shards.map(|shard| shard.lock().replica.id());
        let parts = self.0.roll.parts().iter();
        shards.chain(parts.map(|part| part.lock().id())).collect()
    }

    /// Shares with the other nodes who is present: see the module `exchange`.
    pub fn share_under(&self, supervisor: &Supervisor, shared: &Shared) {
        self.0.roll.share();
        exchange::start(supervisor, self, shared);
    }

    /// Another node has been seen alive.
    pub fn node_up(&self, node: ReplicaId) {
        for (number, shard) in (0..).zip(&self.0.shards) {
            shard.lock().replica.replica_up(shard_of(node, number));
        }
        for (number, part) in (SHARDS..).zip(self.0.roll.parts()) {
            part.lock().up(shard_of(node, number));
        }
    }

    /// Another node is gone, or cut off: who is present there leaves here.
    pub fn node_down(&self, node: ReplicaId) {
        for (number, shard) in (0..).zip(&self.0.shards) {
            let mut shard = shard.lock();
            let diffs = shard.replica.replica_down(shard_of(node, number));
            self.publish(&mut shard, diffs);
        }
        for (shard, number) in (SHARDS..).take(self.0.roll.parts().len()).enumerate() {
            self.0.roll.down(shard, shard_of(node, number));
        }
    }

    fn everywhere(&self, change: impl Fn(&mut Replica) -> Vec<Diff>) {
        for shard in &self.0.shards {
            let mut shard = shard.lock();
            let diffs = change(&mut shard.replica);
            self.publish(&mut shard, diffs);
        }
    }

    /// Under the shard's lock, so that diffs of a topic go out in the order of their changes.
    fn publish(&self, shard: &mut Shard, diffs: impl IntoIterator<Item = Diff>) {
        for diff in diffs {
            if self.0.counting.load(Ordering::Relaxed) {
                shard.recount.insert(diff.topic.clone());
            }
            let payload = diff.to_payload();
            for outlet in outlets(&diff.topic) {
                let broadcast = outlet.broadcast("presence_diff", payload.clone());
                self.0.fanout.publish_local(broadcast);
            }
        }
    }

    fn publish_count(&self, topic: &str, counts: Counts) {
        for outlet in outlets(topic).into_iter().map(Outlet::for_counts) {
            if self.0.fanout.subscribers(&outlet.topic) > 0 {
                let broadcast = outlet.broadcast("presence_count", counts.to_payload());
                self.0.fanout.publish_local(broadcast);
            }
        }
    }

    fn shard(&self, topic: &str) -> &Mutex<Shard> {
        let number = fnv1a(topic) % SHARDS;
        &self.0.shards[number as usize]
    }
}

/// The number of the shard that a message is about.
fn addressed(message: &Message) -> Option<usize> {
    let replica = match message {
        Message::Delta(delta) => delta.replica,
        Message::Snapshot(snapshot) => snapshot.replica,
        Message::Want { replica, .. } => *replica,
        Message::Digest(clocks) => clocks.first()?.0,
    };
    usize::try_from(replica.0 & 0xff).ok()
}

fn shard_of(node: ReplicaId, number: u64) -> ReplicaId {
    ReplicaId(node_of(node).0 | number)
}

/// A topic's shard must be the same on every node, of whatever build: so not a hash of the standard
/// library (FNV-1a, 64 bits).
fn fnv1a(topic: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    topic.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The node whose shard a replica is.
pub(super) fn node_of(replica: ReplicaId) -> ReplicaId {
    ReplicaId(replica.0 & !0xff)
}
