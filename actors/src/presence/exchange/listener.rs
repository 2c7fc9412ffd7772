//! The task that hears other nodes, reads what it has missed, and notices who is gone. After a
//! failure it starts anew; what it had heard stays.

use std::{collections::HashMap, sync::Arc, time::Duration};

use quikapp_storage::Channel;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::{Exchange, Frame, ReplicaId, node_of, records};
use crate::presence::{Delta, Message};

/// How often it is looked for who is gone.
const LOOK: Duration = Duration::from_millis(500);
/// What is kept of one replica is read for news no more often than this; beats come besides.
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Listener {
    exchange: Arc<Exchange>,
    /// When what is kept of a replica was last read because of a hole.
    read_at: HashMap<ReplicaId, Instant>,
}

impl Listener {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            read_at: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut frames = self.exchange.gossip.hear(Channel::Presence);
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => self.bury(),
                frame = frames.recv() => match frame {
                    Some(frame) => self.heard(&frame).await,
                    // Another listener has taken the channel over.
                    None => return,
                },
            }
        }
    }

    async fn heard(&mut self, frame: &[u8]) {
        match serde_json::from_slice(frame) {
            Ok(Frame::Beat { node, clocks }) if node != self.exchange.node => {
                self.beat(node, clocks).await;
            }
            Ok(Frame::News(delta)) => self.news(delta).await,
            Ok(Frame::Gone(node)) => self.gone(node),
            Ok(Frame::Beat { .. }) => {}
            Err(error) => unreadable(&error),
        }
    }

    async fn beat(&mut self, node: ReplicaId, clocks: Vec<(ReplicaId, u64)>) {
        let is_new = self.exchange.peers.lock().heard(node, Instant::now());
        if is_new {
            self.exchange.presence.node_up(node);
            self.exchange.greet.notify_one();
        }
        for (replica, clock) in clocks {
            let digest = Message::Digest(vec![(replica, clock)]);
            if node_of(replica) == node && !self.exchange.presence.receive(digest).is_empty() {
                self.read(replica).await;
            }
        }
    }

    /// News of a node that has not beaten yet is of no use, and not believed.
    async fn news(&mut self, delta: Delta) {
        let replica = delta.replica;
        if self
            .exchange
            .presence
            .receive(Message::Delta(delta))
            .is_empty()
        {
            return;
        }
        let now = Instant::now();
        let last = self.read_at.get(&replica);
        if last.is_none_or(|at| now.duration_since(*at) >= READ_AGAIN) {
            self.read_at.insert(replica, now);
            self.read(replica).await;
        }
    }

    async fn read(&self, replica: ReplicaId) {
        let kept = match self.exchange.snapshots.read(replica.0).await {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "presence is not read"),
        };
        match records::snapshot(replica, &kept) {
            Ok(snapshot) => drop(self.exchange.presence.receive(Message::Snapshot(snapshot))),
            Err(error) => unreadable(&error),
        }
    }

    fn gone(&mut self, node: ReplicaId) {
        if self.exchange.peers.lock().gone(node) {
            self.forget(node);
        }
    }

    fn bury(&mut self) {
        let silent = self.exchange.peers.lock().silent(Instant::now());
        for node in silent {
            tracing::info!(node = node.0, "a node is no longer heard: its people leave");
            self.forget(node);
        }
    }

    fn forget(&mut self, node: ReplicaId) {
        self.read_at.retain(|replica, _| node_of(*replica) != node);
        self.exchange.presence.node_down(node);
    }
}

fn unreadable(error: &serde_json::Error) {
    tracing::debug!(%error, "what another node said of presence cannot be read");
    Channel::Presence.count_dropped();
}
