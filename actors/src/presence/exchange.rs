//! Nodes show each other who is present, through what they share ([`Gossip`], [`Snapshots`]).
//!
//! A node beats every two seconds, with the clocks up to which its shards are kept. Once it has
//! heard of another node it keeps, per shard, a record of each of its entries, and every 250 ms
//! moves that on by its operations, which the others are told in the same step. Who finds a hole
//! (a lost frame, a start, an outage) reads what is kept: so nothing has to be asked of a node, and
//! a lost frame costs at most a beat. What is kept goes by itself 10 s after the last beat; a node
//! that was not heard for 7 s is taken to be gone, and its people leave. While nothing can be
//! shared, each node shows its own people.

mod listener;
mod peers;
mod records;
mod speaker;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use quikapp_storage::{Gossip, Shared, Snapshots};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use self::{listener::Listener, peers::Peers, speaker::Speaker};
use super::{Delta, Presence, ReplicaId, handle::node_of};
use crate::supervision::{ChildSpec, Supervisor};

/// How often news is told.
const PERIOD: Duration = Duration::from_millis(250);
/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(2);
/// A node that was not heard for so long is gone. With what else may take time, within 10 s.
const SILENCE: Duration = Duration::from_secs(7);

/// What nodes tell each other.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// A node is there, and its shards are kept up to these clocks.
    Beat {
        node: ReplicaId,
        clocks: Vec<(ReplicaId, u64)>,
    },
    /// News of one shard.
    News(Delta),
    /// A node ends.
    Gone(ReplicaId),
}

/// What the two tasks share.
struct Exchange {
    presence: Presence,
    node: ReplicaId,
    gossip: Arc<dyn Gossip>,
    snapshots: Arc<dyn Snapshots>,
    peers: Mutex<Peers>,
    /// Somebody has come, who does not know this node.
    greet: Notify,
}

pub(super) fn start(supervisor: &Supervisor, presence: &Presence, shared: &Shared) {
    let Some(first) = presence.replicas().first().copied() else {
        return;
    };
    let exchange = Arc::new(Exchange {
        presence: presence.clone(),
        node: node_of(first),
        gossip: Arc::clone(&shared.gossip),
        snapshots: Arc::clone(&shared.snapshots),
        peers: Mutex::default(),
        greet: Notify::new(),
    });
    let heard = Arc::clone(&exchange);
    supervisor.launch(ChildSpec::task(
        "presence-listener",
        "gossip",
        move |stop| Listener::new(Arc::clone(&heard)).run(stop),
    ));
    supervisor.launch(ChildSpec::task("presence-speaker", "gossip", move |stop| {
        Speaker::new(Arc::clone(&exchange)).run(stop)
    }));
}
