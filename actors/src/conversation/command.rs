//! What can be asked of a conversation, and what comes back.

use quikapp_storage::{EntryId, JsonText, MessageId, Role, Seq, UserId};

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
    /// A notice in a person's own conversation; only the server sends these.
    Notice {
        /// Event name on the topic `user:<id>`.
        event: String,
        /// Its payload (JSON object).
        payload: JsonText,
    },
}

/// A message to send. Field names on the wire are the snake_case of these.
#[derive(Debug, Clone, Default)]
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
