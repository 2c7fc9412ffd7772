//! What replicas tell each other. The transport may lose, repeat and reorder messages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Meta, ReplicaId};

/// One operation of a replica on its own entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its number.
    pub clock: u64,
    /// On which topic.
    pub topic: Arc<str>,
    /// Under which key.
    pub key: Arc<str>,
    /// The operation that made the entry which goes; 0 for none.
    pub removes: u64,
    /// The meta that comes, named by this operation's number.
    pub adds: Option<Meta>,
}

/// The operations `from + 1 ..= to` of one replica, without holes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Whose.
    pub replica: ReplicaId,
    /// What one must know already to apply it.
    pub from: u64,
    /// What one knows afterwards.
    pub to: u64,
    /// The operations, ascending. A receiver that knows some of them skips those.
    pub ops: Vec<Op>,
}

/// All entries of one replica as of a clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Whose.
    pub replica: ReplicaId,
    /// As of which of its operations.
    pub clock: u64,
    /// Topic, key and entry.
    pub entries: Vec<(Arc<str>, Arc<str>, Entry)>,
}

/// A message between replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// News, sent to everyone once per period.
    Delta(Delta),
    /// The clocks that the sender knows, its own included: the heartbeat.
    Digest(Vec<(ReplicaId, u64)>),
    /// Asks for what the sender of the request lacks of a replica.
    Want {
        /// Of which.
        replica: ReplicaId,
        /// What it knows.
        since: u64,
    },
    /// Answers a request when a delta would not reach back far enough.
    Snapshot(Snapshot),
}
