//! The actors of a node and the pure cores inside them.
//!
//! Every actor is a shell around a state machine `handle(input, now) -> effects` that knows no
//! clock, socket, database or ractor type. Other crates get small cloneable handles.

pub mod clock;
pub mod conversation;
pub mod delivery;
pub mod documents;
pub mod entities;
pub mod fanout;
#[cfg(test)]
mod gossip_kit;
#[cfg(test)]
mod metrics_kit;
pub mod notify;
pub mod people;
pub mod preferences;
pub mod presence;
pub mod registered;
pub mod registers;
pub mod spread;
pub mod supervision;
pub mod typing;
pub mod users;

pub use clock::{Clock, SystemClock};
