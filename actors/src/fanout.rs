//! Topic fan-out: who listens to which topic, and how a broadcast reaches them.
//!
//! [`Fanout`] is the handle. A [`Broadcast`] is shared by everyone it goes to and encoded at most
//! once per serializer and topic name. What a connection is owed waits, in order, in its one
//! bounded [`Outbox`]; a connection that does not keep up is marked for closing and never slows
//! the publisher.

mod broadcast;
mod close;
mod deliveries;
mod outbox;
mod registry;
mod relay;
mod subscribers;
mod topic;

pub use broadcast::Broadcast;
pub use close::Close;
pub use deliveries::Deliveries;
pub use outbox::{ConnectionId, Delivery, Drained, Note, Outbox, OutboxLimits, SlotKey};
pub use registry::Fanout;
pub use relay::{NodeId, Relay};
pub use topic::{Lane, Subscription};

#[cfg(test)]
mod tests;
