//! Conversations: one sequencer each, held by a few shard actors.
//!
//! [`Conversations`] is the handle. A command is authorized and given its place by the
//! conversation's sequencer, made durable, acknowledged, and only then fanned out.

mod command;

pub use command::{Command, CommandError, DeleteScope, Outcome, SendMessage};
