//! The way to the subscribers on other nodes.

use std::{fmt, sync::Arc};

use super::Broadcast;

/// A process of the product, anew at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

/// Carries broadcasts to the other nodes of the cluster.
pub trait Relay: Send + Sync + fmt::Debug {
    /// This node.
    fn node(&self) -> NodeId;

    /// Carries a broadcast to one other node, or to all others. Called once per published broadcast,
    /// after the local subscribers have it. Must not block.
    fn relay(&self, broadcast: &Arc<Broadcast>, to: Option<NodeId>);
}
