//! Records of delivery: timers, the store-and-forward queue, and projections.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use super::JsonText;
use crate::{ConversationId, Epoch, MessageId, Seq, Timestamp, UserId};

/// What happens when a timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A message is sent that was written before.
    SendMessage,
    /// A message disappears.
    Expire,
    /// It is looked at whether a message has reached everybody, so that it may be forgotten.
    UntilDelivered,
    /// A person is erased.
    Erase,
    /// Those who are in a conversation from its beginning are told of it.
    Announce,
}

/// A timer to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTimer {
    /// What happens.
    pub kind: TimerKind,
    /// Its name, unique within its kind; at most 128 bytes.
    pub id: String,
    /// What it belongs to, to list it by: a conversation or a person. At most 512 bytes.
    pub group: String,
    /// Who looks for it: see [`timer_shard`].
    pub shard: u16,
    /// When.
    pub due_at: Timestamp,
    /// What it takes to do it (JSON).
    pub payload: JsonText,
}

/// A timer as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// What happens.
    pub kind: TimerKind,
    /// Its name.
    pub id: String,
    /// What it belongs to.
    pub group: String,
    /// Who looks for it.
    pub shard: u16,
    /// When.
    pub due_at: Timestamp,
    /// What it takes to do it (JSON).
    pub payload: JsonText,
    /// Counts its moves, from 1.
    pub version: u64,
}

impl Timer {
    /// This timer at this version.
    pub fn fired(&self) -> Fired {
        Fired {
            kind: self.kind,
            id: self.id.clone(),
            version: self.version,
        }
    }
}

/// One version of a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Its kind.
    pub kind: TimerKind,
    /// Its name.
    pub id: String,
    /// Which version of it.
    pub version: u64,
}

/// Over so many shards timers are spread. The number is part of what is stored.
pub const TIMER_SHARDS: u16 = 16;

/// The shard of what concerns a conversation (FNV-1a: stable, since shards are stored).
pub fn timer_shard(id: &ConversationId) -> u16 {
    let hash = id.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    u16::try_from(hash % u32::from(TIMER_SHARDS)).unwrap_or_default()
}

/// One who reads the log on their own time. The names are stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Consumer(Cow<'static, str>);

impl Consumer {
    /// The store-and-forward queue.
    pub const QUEUE: Self = Self(Cow::Borrowed("queue"));
    /// Counts per thread.
    pub const THREADS: Self = Self(Cow::Borrowed("threads"));
    /// What people are told in their own conversations.
    pub const NOTICES: Self = Self(Cow::Borrowed("notices"));
    /// Who may have to be told of a message.
    pub const NOTIFY: Self = Self(Cow::Borrowed("notify"));
    /// Timers of messages that do not stay.
    pub const TIMERS: Self = Self(Cow::Borrowed("timers"));

    /// A reader of the event feed: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub fn feed(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| is_plain(byte) || byte == b'-' || byte == b'_');
        fits.then(|| Self(format!("feed:{name}").into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A consumer has dealt with a part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionStep {
    /// Who.
    pub consumer: Consumer,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Where its cursor was: the part begins behind it.
    pub from: Seq,
    /// Where its cursor goes: the last place of the part.
    pub to: Seq,
}

/// A conversation that is not at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotConversation {
    /// Which.
    pub id: ConversationId,
    /// Under which epoch it was taken last.
    pub epoch: Epoch,
    /// Where its log ends.
    pub tail: Seq,
}

/// An entry for somebody's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// Whose.
    pub user: UserId,
    /// The entry's place.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// Whether its conversation is to be replayed first.
    pub urgent: bool,
}

/// A person's queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PendingQueue {
    /// How many entries there are in all.
    pub total: u64,
    /// Where they are.
    pub conversations: Vec<PendingConversation>,
}

/// What of a conversation is in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingConversation {
    /// Which.
    pub conversation: ConversationId,
    /// The first place.
    pub first: Seq,
    /// The last place.
    pub last: Seq,
    /// How many.
    pub count: u64,
    /// When the oldest was written.
    pub oldest: Timestamp,
    /// Whether one of them is urgent.
    pub urgent: bool,
}

/// What lies behind a cursor over all conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many entries, those of one's own conversation included; as many as were asked for, if
    /// there are more.
    pub count: u64,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
}

/// A message in a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadEntry {
    /// The message that the thread hangs on.
    pub root: MessageId,
    /// The message's place.
    pub seq: Seq,
    /// Who sent it; becomes a follower, and has read up to it.
    pub sender: UserId,
    /// Who else follows the thread from now on: who sent the root, who is mentioned.
    pub followers: Vec<UserId>,
}

/// Where a person stands in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadUnread {
    /// The message that the thread hangs on.
    pub root: MessageId,
    /// Messages in it behind `read`.
    pub unread: u64,
    /// Up to where the person has read it: their mark, or the place before their membership if that
    /// is behind it.
    pub read: Seq,
    /// The newest message's place.
    pub last: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_timers_never_change() {
        let shards = [
            "a",
            "0197c2a0-0000-7000-8000-000000000000",
            "user:w\u{1f}ana",
        ];
        let shards = shards.map(|id| timer_shard(&ConversationId::from_stored(id)));
        assert_eq!(shards, [12, 9, 0]);
    }

    #[test]
    fn feeds_have_plain_names() {
        let name = |text| Consumer::feed(text).map(|feed| feed.to_string());
        assert_eq!(name("kafka-1").as_deref(), Some("feed:kafka-1"));
        for bad in ["", "Kafka", "a b", "a:b", &"x".repeat(65)] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
