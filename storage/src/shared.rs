//! What the nodes of one store share besides it. All of it is ephemeral: who cannot share it goes
//! on alone, and nothing that must last is here.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// How nodes share it, where something for it is configured.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Rates that count over all nodes.
    pub counters: Arc<dyn SharedCounters>,
    /// What nodes tell each other.
    pub gossip: Arc<dyn Gossip>,
    /// What nodes keep for those that have not heard all of it.
    pub snapshots: Arc<dyn Snapshots>,
    /// Where nodes can be reached.
    pub addresses: Arc<dyn Addresses>,
}

/// At most `burst` at once, and as many again over `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once; more than zero.
    pub burst: u32,
    /// In how long a whole burst is earned back.
    pub period: Duration,
}

/// Counts over all nodes.
#[async_trait]
pub trait SharedCounters: Debug + Send + Sync {
    /// Takes one of `rate` under a key, or says how long to wait for the next. `None`: it cannot
    /// be asked now, and the node's own count decides. Answers within 200 ms.
    async fn admit(&self, key: &str, rate: Rate) -> Option<Result<(), Duration>>;
}

/// What is told; who listens hears only this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Who is present.
    Presence,
    /// Who types.
    Typing,
    /// What is published for subscribers on every node.
    Broadcast,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Presence, Self::Typing, Self::Broadcast];

    /// Its name, for keys and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Typing => "typing",
            Self::Broadcast => "broadcast",
        }
    }

    /// How many frames wait for who hears them, and how many bytes; above either new ones are lost.
    /// A frame of broadcasts is small while little is said, and up to 1.25 MiB.
    pub fn queue(self) -> (usize, usize) {
        match self {
            Self::Presence | Self::Typing => (1024, 64 << 20),
            Self::Broadcast => (4096, 32 << 20),
        }
    }

    /// Counts what was lost: a frame that did not fit, or could not be sent or read.
    pub fn count_dropped(self) {
        metrics::counter!("quikapp_gossip_dropped_total", "channel" => self.name()).increment(1);
    }
}

/// Nobody can be told, or asked, at the moment. It may have happened all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not shared: {0}")]
pub struct NotShared(pub String);

/// Carries frames between nodes. It may lose, repeat and reorder them, and a node may hear its own.
#[async_trait]
pub trait Gossip: Debug + Send + Sync {
    /// Tells every node that listens now.
    async fn tell(&self, channel: Channel, frame: Bytes) -> Result<(), NotShared>;

    /// What is told from now on. The queue is bounded ([`Channel::queue`]; bytes count until they
    /// are freed); above that new ones are lost and counted. A later listener of the same channel
    /// on this node takes the place of this one.
    fn hear(&self, channel: Channel) -> mpsc::Receiver<Bytes>;
}

/// Knows where each node can be reached, for 10 s after it last said so.
#[async_trait]
pub trait Addresses: Debug + Send + Sync {
    /// Keeps what a node says of itself.
    async fn put(&self, node: u64, address: &str) -> Result<(), NotShared>;

    /// What a node has said, if it is kept. Answers within 200 ms.
    async fn find(&self, node: u64) -> Result<Option<String>, NotShared>;
}

/// What one replica shows, as of a clock that only grows: records, each named by the clock at which
/// it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// As of when.
    pub clock: u64,
    /// All that is shown.
    pub records: Vec<(u64, Bytes)>,
}

/// How what a replica shows has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Whose.
    pub replica: u64,
    /// The clock before.
    pub from: u64,
    /// The clock after.
    pub to: u64,
    /// Records that are gone.
    pub removed: Vec<u64>,
    /// Records that came.
    pub added: Vec<(u64, Bytes)>,
    /// What the others are told, once they can read it.
    pub frame: Bytes,
}

/// Keeps what each replica shows for 10 s after it last said so, for those that come later or did
/// not hear all.
#[async_trait]
pub trait Snapshots: Debug + Send + Sync {
    /// Applies each step, and tells it on [`Channel::Presence`], if what is kept is at its `from`.
    /// Says of each whether it was; what was not must be replaced.
    async fn advance(&self, steps: Vec<Advance>) -> Result<Vec<bool>, NotShared>;

    /// Makes this all that is kept of a replica.
    async fn replace(&self, replica: u64, all: Kept) -> Result<(), NotShared>;

    /// What is kept of a replica, if anything.
    async fn read(&self, replica: u64) -> Result<Option<Kept>, NotShared>;

    /// Keeps what is kept of these for another 10 s. Says of each whether anything was.
    async fn renew(&self, replicas: &[u64]) -> Result<Vec<bool>, NotShared>;
}
