//! Conversations: one sequencer each, held by a few shard actors.
//!
//! [`Conversations`] is the handle. A command is authorized and given its place by the
//! conversation's sequencer, made durable, acknowledged, and only then fanned out.

mod batch;
mod command;
mod config;
mod core;
mod creation;
mod handle;
mod key;
mod live;
mod notices;
pub mod payload;
mod reply;
mod shard;
mod supervisor;
#[cfg(test)]
pub(crate) mod tests;
mod topic;
pub mod wire;

pub(crate) use batch::refusal_of;
pub use command::{Command, CommandError, DeleteScope, Gone, MessageClass, Outcome, SendMessage};
pub use config::{Config, Limits};
pub(crate) use core::{
    refold::Refold,
    validate::{client_id as check_client_id, message as check_message},
};
pub(crate) use creation::Creation;
pub use handle::{Conversations, StartError};
pub(crate) use key::{
    content_hash, hex_key, of_document as document_key, of_message as entry_keys,
};
pub use live::{MemberLeft, broadcast_of};
pub(crate) use notices::concerns_somebody;
pub(crate) use payload::NoticePayload;
pub use topic::{alias_topic, chat_topic, members_topic, person_topic, topic_of};
