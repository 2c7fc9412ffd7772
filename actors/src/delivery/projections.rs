//! What is derived from the log: the store-and-forward queue, counts per thread, the timers of
//! messages that do not stay, and what people are told in their own conversations.

mod notices;
mod queue;
mod threads;
mod timers;

use quikapp_storage::{Entry, EntryKind, MessageId, Timestamp, UserId};
use serde::Deserialize;

use crate::conversation::MessageClass;

pub(super) use notices::Notices;
pub(super) use queue::Queue;
pub(super) use threads::Threads;
pub(super) use timers::Timers;

/// What projections look at in a message's payload.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MessageSeen {
    #[serde(rename = "type")]
    kind: String,
    thread_root: Option<MessageId>,
    mentions: Vec<UserId>,
    class: MessageClass,
    expires_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
}

/// Whether an entry's conversation is to be replayed first: a call, or word from the system.
pub fn is_urgent(entry: &Entry) -> bool {
    message_with(entry, &[r#""call""#, r#""system""#])
        .is_some_and(|it| it.kind == "call" || it.kind == "system")
}

/// The payload of a message entry in which one of these texts stands, as the log writes it; `None`
/// of other entries, and of what does not decode. A projection names what concerns it: nearly no
/// message does, which shows without reading it.
fn message_with(entry: &Entry, texts: &[&str]) -> Option<MessageSeen> {
    let payload = entry.payload.as_bytes();
    let stands = |text: &&str| memchr::memmem::find(payload, text.as_bytes()).is_some();
    if entry.kind != EntryKind::Message || !texts.iter().any(stands) {
        return None;
    }
    serde_json::from_str(&entry.payload).ok()
}
