//! What is derived from the log: the store-and-forward queue, counts per thread, the timers of
//! messages that do not stay, and what people are told in their own conversations.

mod notices;
mod queue;
mod threads;
mod timers;

use std::sync::LazyLock;

use memchr::memmem::Finder;
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

/// A text that is looked for in every message, prepared once.
type Needle = LazyLock<Finder<'static>>;

static CALL: Needle = LazyLock::new(|| Finder::new(r#""call""#));
static SYSTEM: Needle = LazyLock::new(|| Finder::new(r#""system""#));
/// What stays has no such member.
static EXPIRES_AT: Needle = LazyLock::new(|| Finder::new(r#""expires_at""#));
/// A message that hangs on none says `null`.
static THREAD_ROOT: Needle = LazyLock::new(|| Finder::new(r#""thread_root":""#));

/// Whether an entry's conversation is to be replayed first: a call, or word from the system.
pub fn is_urgent(entry: &Entry) -> bool {
    message_with(entry, &[&CALL, &SYSTEM])
        .is_some_and(|it| it.kind == "call" || it.kind == "system")
}

/// The payload of a message entry in which one of these texts stands, as the log writes it; `None`
/// of other entries, and of what does not decode. A projection names what concerns it: nearly no
/// message does, which shows without reading it.
fn message_with(entry: &Entry, needles: &[&Needle]) -> Option<MessageSeen> {
    let payload = entry.payload.as_bytes();
    let stands = |needle: &&Needle| needle.find(payload).is_some();
    if entry.kind != EntryKind::Message || !needles.iter().any(stands) {
        return None;
    }
    serde_json::from_str(&entry.payload).ok()
}
