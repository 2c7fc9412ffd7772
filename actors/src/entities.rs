//! Virtual actors: entities that are addressed by kind and id, and are there when one writes to
//! them.
//!
//! [`Entities`] is the handle to all entities of a [`Kind`]. The host brings an entity up at its
//! first message, from the store and only once however many write at the same time; lets it
//! handle one message after the other; writes it away and forgets it when it has been idle (what
//! arrives meanwhile waits, and brings it up again); starts it again from the store when it
//! panics; and puts one that keeps panicking into quarantine, where it is left alone until its
//! time is over or somebody releases it.
//!
//! Messages and replies are plain data and nobody sees a reference to an actor, so that a caller
//! cannot tell an entity of this node from one of another. Queues are bounded per entity and per
//! host: beyond, callers hear [`EntityError::Overloaded`]. An entity costs a map entry while it is
//! active, and nothing while it is not: a few shard actors hold them all, and what an entity does
//! runs as a task beside its shard.

mod config;
mod core;
mod error;
mod host;
mod kind;
mod life;
mod shard;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use error::{ActivateError, EntityError};
pub use host::Entities;
pub use kind::Kind;
pub use view::Quarantined;
