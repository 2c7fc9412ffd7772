//! Which other nodes are there. Pure: moments are handed in.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{ReplicaId, SILENCE};

/// Nodes, and when each was last heard.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<ReplicaId, Instant>);

impl Peers {
    /// A node was heard; whether it is new.
    pub(super) fn heard(&mut self, node: ReplicaId, now: Instant) -> bool {
        self.0.insert(node, now).is_none()
    }

    /// A node has said that it ends; whether it was there.
    pub(super) fn gone(&mut self, node: ReplicaId) -> bool {
        self.0.remove(&node).is_some()
    }

    /// Forgets those that were silent for too long, and names them.
    pub(super) fn silent(&mut self, now: Instant) -> Vec<ReplicaId> {
        let silent = self
            .0
            .extract_if(|_, at| now.duration_since(*at) >= SILENCE);
        silent.map(|(node, _)| node).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_forgotten_once_and_may_come_again() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (a, b) = (ReplicaId(256), ReplicaId(512));
        assert!(peers.heard(a, now) && peers.heard(b, now));
        assert!(!peers.heard(b, now + SILENCE / 2));
        assert_eq!(peers.silent(now + SILENCE), [a]);
        assert!(peers.silent(now + SILENCE).is_empty());
        assert!(peers.heard(a, now + SILENCE));
        assert!(peers.gone(b) && !peers.gone(b) && !peers.is_empty());
    }
}
