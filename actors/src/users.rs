//! A person as an entity: what waits for them, over all of their conversations.
//!
//! [`Users`] is the handle. A person's entity is brought up when somebody asks about them, counts
//! what is unread from the store, and is let go when nobody has asked for a while. Being
//! connected is no reason for it to be there: sockets, statuses and devices that are connected
//! live with [`People`](crate::people::People), and sockets are served without it.
//!
//! What happens meanwhile is not sent to it. Whoever writes raises a count in [`Changes`], which
//! is there only for what some active entity watches; an entity that is asked compares, and reads
//! again what has moved. So a message costs at most one look-up, however many members a
//! conversation has and however many of them are active; nothing is queued, nothing can overflow,
//! and an answer includes all that was acknowledged in this process before the question. What
//! another process on the same store wrote is included once what is known is [`FRESH`] old.

mod changes;
mod core;
mod handle;
mod kind;
mod overview;
mod read;
#[cfg(test)]
mod tests;

pub use changes::{Changes, Watch};
pub use core::FRESH;
pub use handle::{Parts, Users};
pub use kind::{Ask, NotKnown};
pub use overview::{DeviceBehind, InConversation, InThread, Overview, Pending};
