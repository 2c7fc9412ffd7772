//! Who is present on a topic, with what metadata: `Phoenix.Presence`.
//!
//! [`Presence`] is the handle. A topic holds keys, a key holds one meta per tracker, and a tracker
//! is a channel of a connection, so that one person on three devices is three metas. A change is
//! one `presence_diff {joins, leaves}`, published before the call returns; an update is one diff
//! with the old meta leaving and the new one joining. What a connection tracked goes when the
//! connection goes.
//!
//! The core ([`Replica`]) is a delta CRDT. Every replica writes only its own entries, numbers its
//! operations from 1 without holes, and hears of the others' in contiguous [`Delta`]s; a hole is
//! noticed by the clocks in a [`Message::Digest`] and repaired by a [`Snapshot`]. An entry that is
//! missing from a view whose clock has passed it was removed. So replicas that exchange messages
//! in any order, with losses and repetitions, agree once they have heard each other's clocks.
//!
//! Beside it nodes tell each other, and nobody else, who is connected to them at all, invisible
//! people included: [`Presence::connected_elsewhere`].

mod core;
mod diff;
mod entry;
mod exchange;
mod handle;
mod message;
mod roll;
mod rooms;
mod view;

#[cfg(test)]
mod tests;

pub use core::{AlreadyTracked, NotTracked, Reaction, Replica};
pub use diff::{Counts, Diff, Metas, PresenceCount};
pub use entry::{Entry, Meta, PhxRef, ReplicaId, Tracker};
pub use handle::Presence;
pub use message::{Delta, Message, Op, Snapshot};
pub use rooms::{count_outlet, room_of, workspace_room};

pub(crate) use roll::SEPARATOR;
#[cfg(test)]
pub(crate) use roll::says_alike;
pub(crate) use rooms::{Outlet, outlets};
