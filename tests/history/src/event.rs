//! What a history says, one JSON object a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The number of a line, from 1.
pub type Line = u64;

/// One line of a history. `at` is in milliseconds since the history began, by one clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// What made this history. At most once, as the first line.
    Run {
        /// The workload and the faults.
        title: String,
        /// What the random choices came from.
        seed: u64,
        /// How long after an acknowledged removal something may still reach the person.
        bound_ms: u64,
    },
    /// A conversation has been made; it comes before anything that happens in it.
    Conversation {
        /// Its id.
        conversation: String,
        /// Its first members, who see everything from its first entry.
        members: Vec<String>,
    },
    /// A client asks for an entry, perhaps not for the first time. Whatever becomes of it, the log
    /// has at most one entry of a person's key.
    Invoke {
        /// When.
        at: u64,
        /// Names this attempt.
        op: u64,
        /// Who.
        user: String,
        /// Where.
        conversation: String,
        /// The idempotency key; entries without one of their own have one by what they say.
        key: String,
    },
    /// A client asks for a change of membership that would change something.
    InvokeMember {
        /// When.
        at: u64,
        /// Names this attempt.
        op: u64,
        /// Who is to be added or removed.
        user: String,
        /// Where.
        conversation: String,
        /// Which of the two.
        change: Change,
    },
    /// A client says something that is not kept, once: whatever becomes of it, nobody tries again.
    Say {
        /// When.
        at: u64,
        /// Names this attempt.
        op: u64,
        /// Who.
        user: String,
        /// Where.
        conversation: String,
        /// Names what is said, as in `heard`.
        key: String,
    },
    /// A client asks for a mark of its person's, on the main timeline.
    Mark {
        /// When.
        at: u64,
        /// Names this attempt.
        op: u64,
        /// Whose.
        user: String,
        /// Where.
        conversation: String,
        /// Which.
        mark: Mark,
        /// The place: read up to here, or unread from here on.
        seq: u64,
    },
    /// An attempt was acknowledged.
    Ok {
        /// When.
        at: u64,
        /// Which.
        op: u64,
        /// The place of the entry, where the answer says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// What the entry is, as in `log`, where the answer says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// An attempt was refused: nothing was done, and nothing will be.
    Fail {
        /// When.
        at: u64,
        /// Which.
        op: u64,
        /// The reason that was given.
        reason: String,
    },
    /// Nobody knows what became of an attempt.
    Unknown {
        /// When.
        at: u64,
        /// Which.
        op: u64,
    },
    /// A device begins to follow a conversation, or goes on after an interruption.
    Resumed {
        /// When.
        at: u64,
        /// Which device.
        device: String,
        /// Whose.
        user: String,
        /// Which conversation.
        conversation: String,
        /// The last place that the device has, as it told the server. Absent where the server goes
        /// by the device's cursor: then it begins at or before the place after the last `acked`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// A device was shown an entry.
    Delivered {
        /// When.
        at: u64,
        /// Which device.
        device: String,
        /// Of which conversation.
        conversation: String,
        /// The entry's place.
        seq: u64,
        /// What sort of entry.
        kind: Kind,
        /// What the entry is, as in `log`.
        id: String,
        /// The place of the message that it is about, where it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<u64>,
    },
    /// A device was shown something that is not kept.
    Heard {
        /// When.
        at: u64,
        /// Which device.
        device: String,
        /// Of which conversation.
        conversation: String,
        /// Who said it.
        user: String,
        /// What, as in `say`.
        key: String,
    },
    /// A device is about to acknowledge what it has; from here on its cursor may stand there.
    Acked {
        /// When.
        at: u64,
        /// Which device.
        device: String,
        /// Of which conversation.
        conversation: String,
        /// Up to where.
        seq: u64,
        /// The device keeps its cursor itself: the server does not learn what it has.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
    },
    /// The load has ended, and the device has had all the time it needs: it has everything.
    Settled {
        /// When.
        at: u64,
        /// Which device.
        device: String,
        /// Of which conversation.
        conversation: String,
        /// Where the log ended then; absent where nothing came behind that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up_to: Option<u64>,
    },
    /// A person is about to be erased: from here on what they said may be gone, in every
    /// conversation.
    Erasing {
        /// When.
        at: u64,
        /// Who.
        user: String,
    },
    /// The server says that a person is erased.
    Erased {
        /// When.
        at: u64,
        /// Who.
        user: String,
    },
    /// A fault was injected.
    Fault {
        /// When.
        at: u64,
        /// What was done.
        what: String,
    },
    /// An entry of the log, read at the end, in the order of the log.
    Log {
        /// Of which conversation.
        conversation: String,
        /// Its place.
        seq: u64,
        /// What sort of entry.
        kind: Kind,
        /// What names it: of a message its id, else whatever clients are shown of it too.
        id: String,
        /// Who caused it.
        sender: String,
        /// Its idempotency key, as in `invoke`; of somebody who was erased it may be gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Messages on the main timeline up to here, as the store counted.
        n: u64,
        /// The id of the message whose thread it is in; such a message is not on the main timeline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// The place of the message that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<u64>,
        /// The content of a message or an edit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        /// The emoji of a reaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        emoji: Option<String>,
        /// Who came (several), or left (one).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        users: Vec<String>,
    },
    /// The end of a conversation's log. Devices and attempts say nothing of it afterwards.
    LogEnd {
        /// Which conversation.
        conversation: String,
        /// The place of the last entry, as the store says.
        tail: u64,
    },
    /// A message of the history view, after the log.
    View {
        /// Of which conversation.
        conversation: String,
        /// The message's place.
        seq: u64,
        /// The message's id.
        id: String,
        /// What it says now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        /// Whether it was deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
        /// Whether it is pinned.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pinned: bool,
        /// Who reacted with what.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        reactions: BTreeMap<String, Vec<String>>,
    },
    /// The history view of a conversation is complete: every message has been told.
    ViewEnd {
        /// Which conversation.
        conversation: String,
    },
    /// Who is a member, after the log.
    Members {
        /// Of which conversation.
        conversation: String,
        /// Everyone.
        members: Vec<MemberSince>,
    },
    /// The list of what is pinned, after the log.
    Pinned {
        /// Of which conversation.
        conversation: String,
        /// The places of the messages.
        messages: Vec<u64>,
    },
    /// What is unread to a member, after the log.
    Unread {
        /// Of which conversation.
        conversation: String,
        /// Whose.
        user: String,
        /// Up to where they have read.
        read: u64,
        /// From where on they have marked it unread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unread_from: Option<u64>,
        /// How many messages are unread.
        unread: u64,
    },
    /// Where a person stands in a thread that they follow, after the log.
    Thread {
        /// Of which conversation.
        conversation: String,
        /// Whose.
        user: String,
        /// The id of the message that the thread hangs on.
        root: String,
        /// Up to where they have read it.
        read: u64,
        /// How many of its messages are unread.
        unread: u64,
        /// The place of its newest message.
        last: u64,
    },
    /// Every thread that a person follows has been told.
    ThreadsEnd {
        /// Of which conversation.
        conversation: String,
        /// Whose.
        user: String,
    },
}

/// A mark of a person in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Everything up to a place was read.
    Read,
    /// Everything from a place on is to be unread.
    Unread,
}

/// A change of membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Somebody becomes a member.
    Add,
    /// Somebody ceases to be one.
    Remove,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSince {
    /// Who.
    pub user: String,
    /// The first place they see.
    pub from_seq: u64,
}

/// What sort of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message.
    Message,
    /// A new content.
    Edit,
    /// A message is gone.
    Delete,
    /// A reaction was added.
    ReactionAdd,
    /// A reaction was taken back.
    ReactionRemove,
    /// A message was pinned.
    Pin,
    /// It is no longer.
    Unpin,
    /// The server no longer has what a message said, because everybody has it.
    Forget,
    /// What a message said is gone because its time was up.
    Expire,
    /// People became members.
    MemberJoined,
    /// Somebody ceased to be one.
    MemberLeft,
    /// Something else, which nothing here depends on.
    Other,
}
