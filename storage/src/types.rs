//! The records that stores keep. Shapes follow the delivery model: a dense log per conversation,
//! a folded view of its messages, and registers beside it.

mod delivery;
mod documents;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    ConversationId, DeviceId, EntryId, Epoch, MessageId, OwnerId, Person, Seq, Timestamp, UserId,
    WorkspaceId,
};

pub use delivery::*;
pub use documents::*;

/// JSON text, carried as it is.
pub type JsonText = Arc<str>;

/// What sort of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two people; at most one per pair and workspace.
    Direct,
    /// Any number of people.
    Group,
    /// A person's own conversation: the log behind `user:<id>`.
    Person,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds and removes members, deletes others' messages and pins.
    Admin,
    /// Also changes roles. A group always has one while it has members.
    Owner,
}

/// A conversation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The tenant it belongs to.
    pub workspace: WorkspaceId,
    /// Direct, group or a person's own.
    pub kind: ConversationKind,
    /// The group's name.
    pub name: Option<String>,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The last confirmed place of its log.
    pub tail: Seq,
    /// Messages on the main timeline up to the tail (see [`Entry::n`]).
    pub n: u64,
    /// Who sequences it, under which epoch.
    pub epoch: Epoch,
}

/// A conversation to create. Creation writes the record and the members; the log starts empty
/// with `tail = 0`, members have `from_seq = 1`.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Its id (for a person's own conversation, [`Person::own_conversation`]).
    pub id: ConversationId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// Direct, group or a person's own.
    pub kind: ConversationKind,
    /// The group's name.
    pub name: Option<String>,
    /// Who makes it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The first members. For `Direct` exactly two; the unordered pair is unique per workspace.
    pub members: Vec<(UserId, Role)>,
}

/// Whether a conversation was made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New(Conversation),
    /// The pair (or the id) already had one.
    Existing(Conversation),
}

/// One interval of a membership. Rejoining opens a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// The first visible place.
    pub from_seq: Seq,
    /// The last visible place; `None` while the membership lasts.
    pub to_seq: Option<Seq>,
    /// What they may do.
    pub role: Role,
}

/// A conversation in a person's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationSummary {
    /// The conversation.
    pub conversation: Conversation,
    /// The person's open membership.
    pub role: Role,
    /// Messages above the read watermark.
    pub unread: u64,
    /// The newest message on the main timeline that is visible to the person.
    pub last_message: Option<Message>,
    /// When the newest entry was written, or the conversation was made.
    pub active_at: Timestamp,
}

/// What an entry is. The store treats it as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A new message.
    Message,
    /// A new content for a message.
    Edit,
    /// A message is gone for everyone; its payload is redacted.
    Delete,
    /// A reaction was added.
    ReactionAdd,
    /// A reaction was taken back.
    ReactionRemove,
    /// A message was pinned.
    Pin,
    /// A message was unpinned.
    Unpin,
    /// Somebody became a member.
    MemberJoined,
    /// Somebody ceased to be one.
    MemberLeft,
    /// A member's role changed.
    RoleChanged,
    /// The conversation's name or picture changed.
    ConversationUpdated,
    /// A notice in a person's own conversation; its event name is in the payload.
    Notice,
    /// The store no longer has a message's payload; devices keep what they have.
    Forget,
}

/// An entry of the log. `(conversation, seq)`, `(conversation, id)` and `(conversation, key)` are
/// unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// Its id; of a message entry, the message's id.
    pub id: EntryId,
    /// What it is.
    pub kind: EntryKind,
    /// Who caused it.
    pub sender: UserId,
    /// Its idempotency key.
    pub key: Key16,
    /// Hash of the canonical payload without `client_id`; differs = another payload.
    pub hash: [u8; 32],
    /// The epoch it was written under.
    pub epoch: Epoch,
    /// Messages on the main timeline up to and including this entry.
    pub n: u64,
    /// The message it is about (edit, delete, reaction, pin), and that message's place.
    pub target: Option<(MessageId, Seq)>,
    /// The payload, as JSON. After a redaction: what is left of it.
    pub payload: JsonText,
    /// When it was written.
    pub at: Timestamp,
}

/// What makes a request the same however often it comes: unique in its conversation, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key16(pub [u8; 16]);

/// By what a request is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// What its entry is stored under.
    pub key: Key16,
    /// What an earlier program stored it under, where that is another. An entry that has it is the
    /// same request; nothing is stored under it any more.
    pub former: Option<Key16>,
}

impl Keys {
    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Key16> {
        [Some(self.key), self.former].into_iter().flatten()
    }
}

impl From<Key16> for Keys {
    fn from(key: Key16) -> Self {
        Self { key, former: None }
    }
}

/// An entry to append. Its seq and `n` follow from the place of the batch.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its id.
    pub id: EntryId,
    /// What it is.
    pub kind: EntryKind,
    /// Who causes it.
    pub sender: UserId,
    /// Its idempotency keys, of which the log may have none.
    pub keys: Keys,
    /// Hash of the canonical payload.
    pub hash: [u8; 32],
    /// Whether it adds one to `n`.
    pub counts: bool,
    /// The message it is about.
    pub target: Option<(MessageId, Seq)>,
    /// The payload, as JSON.
    pub payload: JsonText,
    /// When.
    pub at: Timestamp,
    /// What else happens in the same transaction, in this order.
    pub effects: Vec<EntryEffect>,
}

/// A change of derived state that belongs to an entry and commits with it.
#[derive(Debug, Clone)]
pub enum EntryEffect {
    /// Put the message's folded view, unless a newer entry has been applied to it already.
    /// The row's `applied_seq` becomes this entry's seq; a `seq` of zero means this entry's own.
    /// Id, sender and time are those of the entry at that place, so they never change; a place
    /// and id that do not belong together are [`StoreError::Invalid`](crate::StoreError::Invalid).
    PutMessage(Message),
    /// Open a membership whose first visible place is this entry, and set its read watermark to
    /// the place before. If one is open, only its role changes.
    OpenMember {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// Close the open membership; this entry is the last visible place.
    CloseMember {
        /// Who.
        user: UserId,
    },
    /// Change the role of an open membership.
    SetRole {
        /// Who.
        user: UserId,
        /// To what.
        role: Role,
    },
    /// Replace an earlier entry's payload.
    Redact {
        /// Which.
        seq: Seq,
        /// By what.
        payload: JsonText,
    },
    /// Change the conversation's name.
    SetName(Option<String>),
    /// Move a member's read watermark to this entry (sending reads).
    ReadUpToHere {
        /// Whose.
        user: UserId,
    },
}

/// One conversation's part of a write: either all of it is appended, or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// To which conversation.
    pub conversation: ConversationId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Where the appender believes the tail to be. The entries take the places after it.
    pub tail: Seq,
    /// What to append. Not empty.
    pub entries: Vec<NewEntry>,
}

/// What became of an [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The place of the first entry.
    pub first: Seq,
    /// The place of the last entry: the new tail.
    pub tail: Seq,
    /// `n` at the new tail.
    pub n: u64,
}

/// A claim to sequence a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Who claims.
    pub owner: OwnerId,
    /// When.
    pub now: Timestamp,
    /// A younger ownership of somebody else is not taken over.
    pub min_tenure_ms: u64,
}

/// A conversation that has been taken: what its sequencer needs to start.
#[derive(Debug, Clone)]
pub struct Acquired {
    /// The conversation, with the epoch of this ownership.
    pub conversation: Conversation,
    /// Its open memberships.
    pub members: Vec<Member>,
}

/// A message as it stands after all entries about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its place.
    pub seq: Seq,
    /// Who sent it.
    pub sender: UserId,
    /// When it was sent.
    pub at: Timestamp,
    /// The message it answers in a thread; such a message is not on the main timeline.
    pub thread_root: Option<MessageId>,
    /// Whether it was deleted for everyone.
    pub deleted: bool,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Text to search in; empty when there is none or it was deleted.
    pub text: String,
    /// The message as served to clients (JSON object), reactions and edits folded in, without
    /// `seq`, which stands in the row.
    pub body: JsonText,
    /// The last entry that was folded in.
    pub applied_seq: Seq,
}

/// Which part of a history. Pages are in ascending order of seq.
#[derive(Debug, Clone, Copy)]
pub enum Page {
    /// The newest messages below a place.
    Before(Seq),
    /// The oldest messages above a place.
    After(Seq),
    /// The newest.
    Latest,
}

/// What to look for in the messages of a conversation.
#[derive(Debug, Clone)]
pub struct MessageSearch {
    /// What the searcher may see.
    pub visible: Vec<Member>,
    /// The searcher; messages that they deleted for themselves are left out.
    pub hidden_for: UserId,
    /// Words, each of which must begin a word of the text. Without a word nothing is found.
    pub query: String,
    /// Only messages below this place.
    pub before: Option<Seq>,
    /// At most so many results.
    pub limit: usize,
    /// At most so many messages are looked at.
    pub scan: usize,
}

/// Where a person stands in a conversation. Marks only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Everything up to here has reached a device.
    pub delivered: Seq,
    /// Everything up to here has been read.
    pub read: Seq,
    /// Unread from here on, by the person's own wish, until they read on.
    pub unread_from: Option<Seq>,
    /// Version of the last change, counted per conversation from 1.
    pub version: u64,
}

impl Marks {
    /// The marks after a change. No mark passes the tail, and none goes back.
    #[must_use]
    pub fn moved(self, change: &RegisterChange, tail: Seq) -> Self {
        match change {
            RegisterChange::Delivered(seq) => Self {
                delivered: self.delivered.max(*seq.min(&tail)),
                ..self
            },
            RegisterChange::Read(seq) => {
                let read = *seq.min(&tail);
                Self {
                    delivered: self.delivered.max(read),
                    read: self.read.max(read),
                    unread_from: self.unread_from.filter(|from| read < *from),
                    ..self
                }
            }
            RegisterChange::UnreadFrom(seq) => Self {
                unread_from: Some(*seq.clamp(&Seq(1), &tail.next())),
                ..self
            },
            RegisterChange::Draft(_) | RegisterChange::Mute(_) => self,
        }
    }

    /// The marks of somebody who has read up to a place by what an entry did.
    #[must_use]
    pub fn read_up_to(self, seq: Seq, version: u64) -> Self {
        Self {
            delivered: self.delivered.max(seq),
            read: self.read.max(seq),
            unread_from: None,
            version,
        }
    }

    /// Up to where nothing is unread: what counts of these marks for an unread count.
    pub fn read_until(&self) -> Seq {
        match self.unread_from {
            Some(seq) => seq.before(),
            None => self.read,
        }
    }
}

/// When a person wants to hear of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Muted until then; `None` is for ever.
    pub until: Option<Timestamp>,
    /// Only mentions come through.
    pub mentions_only: bool,
}

/// A change of a register. Coalesced by the caller, applied in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterChange {
    /// Raise the delivered mark (never lowers it).
    Delivered(Seq),
    /// Raise the read mark, and with it the delivered one; clears an `unread_from` that it reaches.
    Read(Seq),
    /// Mark unread from a place on.
    UnreadFrom(Seq),
    /// Set or clear the draft (JSON object as served to clients).
    Draft(Option<JsonText>),
    /// Set or clear the mute.
    Mute(Option<Mute>),
}

/// Whose register, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterWrite {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Whose.
    pub user: UserId,
    /// What changes.
    pub change: RegisterChange,
}

/// One person's registers in one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers {
    /// Delivered and read marks.
    pub marks: Marks,
    /// Draft, as JSON.
    pub draft: Option<JsonText>,
    /// Mute.
    pub mute: Option<Mute>,
}

/// A place in the stream over all conversations of a person. Opaque to everyone but the store
/// that issued it; text of at most 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamCursor(pub String);

/// What a person missed, in the order of the store; within a conversation in the order of seq.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The entries with their conversations.
    pub entries: Vec<(ConversationId, Entry)>,
    /// Where to go on.
    pub next: StreamCursor,
    /// Whether there is more behind `next`.
    pub more: bool,
}

/// What is publicly known of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Who.
    pub person: Person,
    /// Display name.
    pub name: Option<String>,
    /// When a socket of theirs was last seen.
    pub last_seen: Option<Timestamp>,
    /// The status they chose and their custom status (JSON), kept over restarts.
    pub presence: Option<JsonText>,
    /// Whether everyone may see `last_seen`.
    pub last_seen_public: bool,
}

/// A change of a profile; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// Display name.
    pub name: Option<String>,
    /// Last seen.
    pub last_seen: Option<Timestamp>,
    /// Chosen and custom status (JSON); `Some(None)` clears.
    pub presence: Option<Option<JsonText>>,
    /// Privacy of last seen.
    pub last_seen_public: Option<bool>,
}

/// A token or a person is no longer welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Counts up by one per store; readers ask for what is above the last they saw.
    pub number: u64,
    /// What is revoked.
    pub subject: RevokedSubject,
    /// Tokens issued at or before this moment are refused.
    pub at: Timestamp,
    /// After this moment the record may be forgotten (no such token is still valid).
    pub forget_after: Timestamp,
}

/// What a revocation names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RevokedSubject {
    /// One token, by an administrator.
    Jti(String),
    /// One token, given up by its owner: sockets close with another code.
    SignedOut(String),
    /// All tokens of a person.
    Person(Person),
}

/// A device's place in a conversation, moved by acknowledgement only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCursor {
    /// Whose device.
    pub person: Person,
    /// Which.
    pub device: DeviceId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Everything up to here is on the device.
    pub seq: Seq,
}
