//! The JSON shapes of what a log entry says, as clients see them (less `seq` and `message_seq`,
//! which follow from the entry's place and are added by [`super::wire`]).

use indexmap::IndexMap;
use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, MessageId, Role, Seq, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use super::{Gone, MessageClass};

/// A message: the payload of `message:new` and the items of a history, where edits, reactions,
/// pins and a deletion have been folded in.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct MessagePayload {
    /// The message's id.
    #[ts(type = "string")]
    pub id: MessageId,
    /// Where it was sent.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// By whom.
    #[ts(type = "string")]
    pub sender_id: UserId,
    /// The client's idempotency key.
    pub client_id: Option<String>,
    /// text, image, video, audio, file, call or system.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text or caption.
    pub content: Option<String>,
    /// Attachments as the client described them.
    #[ts(type = "unknown[]")]
    pub attachments: Box<RawValue>,
    /// The message it answers.
    #[ts(type = "string | null")]
    pub reply_to: Option<MessageId>,
    /// The thread it belongs to.
    #[ts(type = "string | null")]
    pub thread_root: Option<MessageId>,
    /// Whether it was forwarded.
    pub is_forwarded: bool,
    /// From where.
    pub forwarded_from: Option<String>,
    /// Who is mentioned.
    #[ts(type = "string[]")]
    pub mentions: Vec<UserId>,
    /// Sent without a push.
    pub silent: bool,
    /// Opaque end-to-end encrypted content.
    #[ts(type = "unknown")]
    pub envelope: Option<Box<RawValue>>,
    /// How long it is kept; absent of what is kept for good.
    #[serde(default, skip_serializing_if = "MessageClass::is_persistent")]
    #[ts(optional, as = "Option<MessageClass>")]
    pub class: MessageClass,
    /// Seconds after which its content disappears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, as = "Option<u32>")]
    pub ttl: Option<u64>,
    /// When its content disappears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub expires_at: Option<Timestamp>,
    /// When it was sent.
    #[ts(type = "string")]
    pub created_at: Timestamp,
    /// When it was last edited or deleted.
    #[ts(type = "string")]
    pub updated_at: Timestamp,
    /// Whether its content was replaced.
    pub is_edited: bool,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub edited_at: Option<Timestamp>,
    /// By whom it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub edited_by: Option<UserId>,
    /// The places of its edits in the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<u32>>")]
    pub edits: Vec<Seq>,
    /// Who reacted with what.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[ts(optional, type = "Record<string, string[]>")]
    pub reactions: IndexMap<String, Vec<UserId>>,
    /// Who pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub pinned_by: Option<UserId>,
    /// When it was pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub pinned_at: Option<Timestamp>,
    /// Who deleted it; its content is gone then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub deleted_by: Option<UserId>,
    /// When it was deleted, or its content disappeared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub deleted_at: Option<Timestamp>,
    /// Why its content is gone although nobody deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub deleted_reason: Option<Gone>,
}

/// `message:edited`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct EditPayload {
    /// The message's id.
    #[ts(type = "string")]
    pub id: MessageId,
    /// The same, under the name that all events about a message share.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// The new text; `null` once the message was deleted.
    pub content: Option<String>,
    /// Always true.
    pub is_edited: bool,
    /// When.
    #[ts(type = "string")]
    pub edited_at: Timestamp,
    /// By whom.
    #[ts(type = "string")]
    pub edited_by: UserId,
}

/// `message:deleted`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct DeletePayload {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// By whom; `null` when nobody deleted it.
    #[ts(type = "string | null")]
    pub deleted_by: Option<UserId>,
    /// When.
    #[ts(type = "string")]
    pub deleted_at: Timestamp,
    /// `expired` when its time was up, `erased` when its sender was erased; absent when somebody
    /// deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reason: Option<Gone>,
}

/// `message:forgotten`: the server no longer has the content of a message of class
/// `until_delivered`. Devices keep what they have.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ForgetPayload {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// `delivered` when it is on every device, `expired` when its time was up before.
    pub reason: Gone,
    /// When.
    #[ts(type = "string")]
    pub at: Timestamp,
}

/// `message:reaction:added` and `message:reaction:removed`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ReactionPayload {
    /// To which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Whose reaction.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// Which; empty in the log of a person who was erased, and then all of theirs are gone.
    pub emoji: String,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
}

/// `message:pinned` and `message:unpinned`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct PinPayload {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// By whom.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// When.
    #[ts(type = "string")]
    pub at: Timestamp,
}

/// A member and their role.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct MemberPayload {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// As what.
    #[ts(type = "\"member\" | \"admin\" | \"owner\"")]
    pub role: Role,
}

/// `conversation:updated`: members came or went, a role or the name changed.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct UpdatePayload {
    /// Which conversation.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// What happened.
    pub change: Change,
    /// By whom.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// When.
    #[ts(type = "string")]
    pub at: Timestamp,
    /// The members whom it concerns: who was added or removed, whose role changed (to what). A
    /// member who became owner because the last one left stands here too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<MemberPayload>>")]
    pub members: Vec<MemberPayload>,
    /// The name, if it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub name: Option<String>,
    /// `erased` when the membership ended because the person was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reason: Option<Gone>,
}

/// What happened to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// People became members.
    MembersAdded,
    /// Somebody left or was removed: the first of `members`.
    MemberRemoved,
    /// Somebody's role changed.
    RoleChanged,
    /// The conversation has another name, or none.
    Renamed,
}

/// A notice in a person's own conversation, as it stands in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NoticePayload {
    pub(crate) event: String,
    pub(crate) payload: Box<RawValue>,
}

/// A conversation, as its members see it.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ConversationPayload {
    /// Its id.
    #[ts(type = "string")]
    pub id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    #[ts(type = "\"direct\" | \"group\"")]
    pub kind: ConversationKind,
    /// The group's name.
    pub name: Option<String>,
    /// Who made it.
    #[ts(type = "string")]
    pub created_by: UserId,
    /// When.
    #[ts(type = "string")]
    pub created_at: Timestamp,
}

impl From<&Conversation> for ConversationPayload {
    fn from(conversation: &Conversation) -> Self {
        Self {
            id: conversation.id.clone(),
            kind: conversation.kind,
            name: conversation.name.clone(),
            created_by: conversation.created_by.clone(),
            created_at: conversation.created_at,
        }
    }
}

/// `conversation:invite`, on the topic of a person whom somebody made a member of a group.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct InvitePayload {
    /// Which conversation.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// What it is.
    pub conversation: ConversationPayload,
    /// By whom.
    #[ts(type = "string")]
    pub invited_by: UserId,
    /// When.
    #[ts(type = "string")]
    pub invited_at: Timestamp,
}

/// `notification`, on the topic of the person whom it is for. It names a message and does not
/// repeat it, so that nothing is left of one that is deleted.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct NotificationPayload {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: NotificationKind,
    /// In which conversation.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Its place.
    #[ts(type = "number")]
    pub message_seq: Seq,
    /// Who caused it.
    #[ts(type = "string")]
    pub from: UserId,
    /// When.
    #[ts(type = "string")]
    pub created_at: Timestamp,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// The person was mentioned.
    Mention,
}

/// `conversation:new`, on the topic of a person who has become a member.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct NewConversationPayload {
    /// Which conversation.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// What it is.
    pub conversation: ConversationPayload,
}
