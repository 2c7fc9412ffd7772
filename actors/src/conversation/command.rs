//! What can be asked of a conversation, and what comes back.

use quikapp_storage::{EntryId, JsonText, Key16, MessageId, Role, Seq, UserId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Something a member (or the server on their behalf) wants done.
#[derive(Debug, Clone)]
pub enum Command {
    /// Send a message.
    Send(Box<SendMessage>),
    /// Replace a message's content. Only its sender may.
    Edit {
        /// Which.
        message: MessageId,
        /// By what.
        content: String,
    },
    /// Delete for everyone (the sender, or an admin). Deleting for oneself is not a log entry.
    Delete {
        /// Which.
        message: MessageId,
    },
    /// Add or take back a reaction.
    React {
        /// To which message.
        message: MessageId,
        /// Which; at most 64 bytes.
        emoji: String,
        /// Add, or take back.
        add: bool,
    },
    /// Pin or unpin.
    Pin {
        /// Which message.
        message: MessageId,
        /// Pin, or unpin.
        pinned: bool,
    },
    /// Make people members (admins and owners; members' workspace is the conversation's).
    AddMembers {
        /// Who, and as what.
        members: Vec<(UserId, Role)>,
    },
    /// End a membership: one's own, or another's (admins and owners).
    RemoveMember {
        /// Whose.
        user: UserId,
    },
    /// Change a role (owners).
    SetRole {
        /// Whose.
        user: UserId,
        /// To what.
        role: Role,
    },
    /// Rename a group (admins and owners).
    Rename {
        /// To what.
        name: Option<String>,
    },
    /// Take a message's content out of the log, because its time is up; only the server does.
    Expire {
        /// Which.
        message: MessageId,
        /// Why.
        why: Gone,
    },
    /// End the membership of a person who is being erased; only the server does.
    EndMembership {
        /// Whose.
        user: UserId,
    },
    /// Take back a reaction of a person who is being erased; only the server does.
    TakeReaction {
        /// From which message.
        message: MessageId,
        /// Whose.
        user: UserId,
        /// Which.
        emoji: String,
    },
    /// A notice in a person's own conversation; only the server sends these.
    Notice {
        /// Event name on the topic `user:<id>`.
        event: String,
        /// Its payload (JSON object).
        payload: JsonText,
        /// The idempotency key, where it follows from something and is to be written once.
        key: Option<Key16>,
    },
}

/// How long a message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum MessageClass {
    /// For good.
    #[default]
    Persistent,
    /// Until every device of every member has acknowledged it, or its time is up.
    UntilDelivered,
    /// Not at all: it goes to whoever is connected.
    Ephemeral,
}

impl MessageClass {
    /// Reads the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "persistent" => Some(Self::Persistent),
            "until_delivered" => Some(Self::UntilDelivered),
            "ephemeral" => Some(Self::Ephemeral),
            _ => None,
        }
    }

    pub(crate) fn is_persistent(&self) -> bool {
        *self == Self::Persistent
    }
}

/// Why something is gone although nobody deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// Its `ttl` is over.
    Expired,
    /// It was of class `until_delivered`, and is on every device of every member.
    Delivered,
    /// The person whose it was has been erased.
    Erased,
}

/// A message to send. Field names on the wire are the snake_case of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SendMessage {
    /// Idempotency key of the client; the same key with the same content answers with the first
    /// outcome, with another content is an `idempotency_conflict`.
    pub client_id: Option<String>,
    /// text, image, video, audio, file, call or system.
    pub kind: String,
    /// The text, or a caption.
    pub content: Option<String>,
    /// Attachments, as the client described them (JSON array).
    pub attachments: Option<JsonText>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// The thread it belongs to.
    pub thread_root: Option<MessageId>,
    /// Whether it was forwarded.
    pub is_forwarded: bool,
    /// From where.
    pub forwarded_from: Option<String>,
    /// Who is mentioned.
    pub mentions: Vec<UserId>,
    /// Send without a push.
    pub silent: bool,
    /// Opaque end-to-end encrypted content (JSON).
    pub envelope: Option<JsonText>,
    /// How long it is kept.
    pub class: MessageClass,
    /// After so many seconds its content disappears.
    pub ttl: Option<u64>,
}

/// Whom a deletion is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteScope {
    /// Everyone.
    Everyone,
    /// Only oneself.
    Me,
}

/// What became of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The entry's id; the message's, for a send.
    pub id: EntryId,
    /// Its place; of a command that changed nothing, the tail.
    pub seq: Seq,
    /// The reply's payload: what was broadcast too (JSON object).
    pub payload: JsonText,
    /// The command had been carried out before (same key, same content).
    pub replayed: bool,
}

/// Why a command was refused. Every variant has one row in the error table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `conversation_not_found`
    #[error("no such conversation")]
    ConversationNotFound,
    /// `not_a_participant`
    #[error("not a member of this conversation")]
    NotAParticipant,
    /// `message_not_found`
    #[error("no such message in this conversation")]
    MessageNotFound,
    /// `forbidden`
    #[error("your role does not allow this")]
    Forbidden,
    /// `blocked`
    #[error("there is a block between the two")]
    Blocked,
    /// `idempotency_conflict`
    #[error("this client_id was used for another message")]
    IdempotencyConflict,
    /// `invalid_field`
    #[error("invalid {field}: {detail}")]
    InvalidField {
        /// Which.
        field: &'static str,
        /// Why.
        detail: String,
    },
    /// `overloaded`: nothing was done; try again.
    #[error("too much is queued for this conversation")]
    Overloaded,
    /// `moved`: another process sequences this conversation just now; nothing was done.
    #[error("the conversation is moving; try again in {retry_after_ms} ms")]
    Moved {
        /// When.
        retry_after_ms: u64,
    },
    /// `unavailable`: the store takes no writes; nothing was done.
    #[error("the store is unavailable")]
    Unavailable,
    /// `outcome_unknown`: it may or may not be in the log; send again with the same client_id.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
}

impl CommandError {
    /// Its name in the error table.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ConversationNotFound => "conversation_not_found",
            Self::NotAParticipant => "not_a_participant",
            Self::MessageNotFound => "message_not_found",
            Self::Forbidden => "forbidden",
            Self::Blocked => "blocked",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::InvalidField { .. } => "invalid_field",
            Self::Overloaded => "overloaded",
            Self::Moved { .. } => "moved",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Whether the same may go well a little later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::Moved { .. } | Self::Unavailable | Self::OutcomeUnknown
        )
    }
}
