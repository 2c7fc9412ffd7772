//! Who may have to be told of an entry that they are not looking at.
//!
//! The decision is a pure function over an entry and a snapshot of one recipient. A projection of
//! the log runs it in batches over snapshots of the members: no actor is woken, whether a group
//! has two members or ten thousand. What comes out is [`MayNotify`], with everything that whoever
//! pushes needs to choose whether, when and to which devices; it goes to [`Sink`]s.

mod config;
mod decide;
mod notifier;
mod sink;
#[cfg(test)]
mod tests;

pub use config::Config;
pub(crate) use decide::is_in_force;
pub use decide::{EntrySeen, MayNotify, Reason, Recipient, decide};
pub use notifier::Notifier;
pub use sink::{NotTaken, Sink};
