//! What is broadcast of registers.

use quikapp_storage::{
    ConversationId, DeviceId, MessageId, Mute, Seq, ThreadUnread, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

/// `message:delivered` and `message:read`: everything up to `seq` has reached a device, or was
/// read.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct ReceiptPayload {
    /// The message that was named, if one was.
    #[ts(type = "string | null")]
    pub message_id: Option<MessageId>,
    /// Up to where.
    #[ts(as = "u32")]
    pub seq: Seq,
    /// Whose receipt. Absent in large conversations, where only a count is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub user_id: Option<UserId>,
    /// On which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub device_id: Option<DeviceId>,
    /// In large conversations: how many people's receipts moved at once. Whoever moves again
    /// later is counted again: the sum over receipts is not how many people there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub count: Option<u32>,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// When, of a delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub delivered_at: Option<Timestamp>,
    /// When, of reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub read_at: Option<Timestamp>,
}

/// `draft:changed`, on one's own topic.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct DraftPayload {
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// The draft `{text, reply_to, updated_at}`, or nothing.
    #[ts(type = "{ text: string; reply_to: string | null; updated_at: string } | null")]
    pub draft: Option<Box<RawValue>>,
}

/// `mute:changed`, on one's own topic.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct MutePayload {
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// The mute, or nothing.
    #[ts(type = "{ until: string | null; mentions_only: boolean } | null")]
    pub mute: Option<Mute>,
}

/// `unread:changed`, on one's own topic.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
pub struct UnreadPayload {
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// Messages of the main timeline that are unread.
    #[ts(as = "u32")]
    pub unread: u64,
    /// Up to where was read.
    #[ts(as = "u32")]
    pub read: Seq,
    /// From where it was marked unread.
    #[ts(as = "Option<u32>")]
    pub unread_from: Option<Seq>,
    /// The thread that was read, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub thread: Option<ThreadPayload>,
}

/// Where a person stands in a thread that they follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ThreadPayload {
    /// The message that the thread hangs on.
    #[ts(type = "string")]
    pub thread_root: MessageId,
    /// Messages in it that are unread. What was sent before one joined, or joined again, is not.
    #[ts(as = "u32")]
    pub unread: u64,
    /// Up to where it was read.
    #[ts(as = "u32")]
    pub read: Seq,
    /// Its newest message's place.
    #[ts(as = "u32")]
    pub last_seq: Seq,
}

impl From<ThreadUnread> for ThreadPayload {
    fn from(thread: ThreadUnread) -> Self {
        Self {
            thread_root: thread.root,
            unread: thread.unread,
            read: thread.read,
            last_seq: thread.last,
        }
    }
}
