//! What clients see of delivery.

use quikapp_storage::{ConversationId, EntryId, JsonText, MessageId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::conversation::SendMessage;

/// A message that is sent later.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ScheduledPayload {
    /// The id that the message will have; until then, what it is cancelled by.
    #[ts(type = "string")]
    pub id: EntryId,
    /// Where it will be sent.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// When.
    #[ts(type = "string")]
    pub send_at: Timestamp,
    /// The client's idempotency key.
    pub client_id: Option<String>,
    /// text, image, video, audio, file, call or system.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text or caption.
    pub content: Option<String>,
    /// Attachments as the client described them.
    #[ts(type = "unknown[] | null")]
    pub attachments: Option<Box<RawValue>>,
    /// The message it answers.
    #[ts(type = "string | null")]
    pub reply_to: Option<MessageId>,
    /// The thread it belongs to.
    #[ts(type = "string | null")]
    pub thread_root: Option<MessageId>,
    /// Who is mentioned.
    #[ts(type = "string[]")]
    pub mentions: Vec<UserId>,
    /// When it was written.
    #[ts(type = "string")]
    pub created_at: Timestamp,
}

impl ScheduledPayload {
    pub(super) fn new(
        id: EntryId,
        conversation: ConversationId,
        send: &SendMessage,
        (send_at, created_at): (Timestamp, Timestamp),
    ) -> Self {
        let raw = |json: &JsonText| RawValue::from_string(json.to_string()).ok();
        Self {
            id,
            conversation_id: conversation,
            send_at,
            client_id: send.client_id.clone(),
            kind: send.kind.clone(),
            content: send.content.clone(),
            attachments: send.attachments.as_ref().and_then(raw),
            reply_to: send.reply_to,
            thread_root: send.thread_root,
            mentions: send.mentions.clone(),
            created_at,
        }
    }
}

/// `scheduled:changed`, on one's own topic: a scheduled message came or went.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ScheduledChanged {
    /// Which.
    #[ts(type = "string")]
    pub id: EntryId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// What happened to it.
    pub status: ScheduledStatus,
}

/// What became of a scheduled message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ScheduledStatus {
    /// It will be sent.
    Scheduled,
    /// It will not, because its author does not want it to be.
    Cancelled,
    /// It was sent.
    Sent,
    /// It could not be sent: see `message:scheduled:failed`.
    Failed,
}

/// `message:scheduled:failed`, an entry of one's own conversation: a scheduled message could not
/// be sent when its time came.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ScheduledFailed {
    /// Which.
    #[ts(type = "string")]
    pub id: EntryId,
    /// Where it was to be sent.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// The client's idempotency key.
    pub client_id: Option<String>,
    /// The reason that sending it would have been refused with.
    pub reason: String,
    /// What it said, so that it is not lost.
    pub content: Option<String>,
    /// When it was to be sent.
    #[ts(type = "string")]
    pub send_at: Timestamp,
}
