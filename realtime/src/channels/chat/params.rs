//! What clients send on `chat:<id>`, and what they are answered.

use quikapp_actors::{
    conversation::{MessageClass, SendMessage, payload::MemberPayload},
    delivery::payload::ScheduledPayload,
    registers::payload::ThreadPayload,
};
use quikapp_protocol::Json;
use quikapp_storage::{ConversationId, JsonText, MessageId, Mute, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::errors::Refusal;

/// Join params.
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct ChatJoin {
    /// The last place the client has; everything after it is replayed. Without it, and with a
    /// `device_id` here or on the socket, the device's cursor counts.
    #[ts(optional, as = "Option<u32>")]
    pub last_seq: Option<Seq>,
    /// Which device this is, where the socket does not say so; never another than the socket's.
    #[ts(optional)]
    pub device_id: Option<String>,
    /// The version of the registers that the client has; those that changed since are returned.
    #[ts(optional, as = "Option<u32>")]
    pub registers_version: Option<u64>,
    /// How presence is shown.
    #[ts(optional, as = "Option<super::super::room::Mode>")]
    pub(crate) mode: super::super::room::Mode,
}

/// The reply to a join.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct ChatJoined {
    /// Which conversation.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// The last place of the log. Live entries follow the last of `gap`, or this.
    #[ts(as = "u32")]
    pub last_seq: Seq,
    /// Registers beside the log.
    pub registers: RegistersState,
    /// How many members there are.
    #[ts(as = "u32")]
    pub member_count: usize,
    /// The first 100 of them, by user id.
    pub members: Vec<MemberPayload>,
    /// What was missed, oldest first; at most 100 entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub gap: Option<Vec<GapEntry>>,
    /// There is more: it comes with the reply to `message:ack` of the last entry of `gap`, and
    /// live entries wait until then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub more: bool,
    /// What was missed cannot be replayed, or the device named no place and none is known of it,
    /// because it is new or was forgotten: fetch the history instead.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub reset_required: bool,
}

/// An entry that is replayed: what was broadcast, with its place.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct GapEntry {
    /// Its place in the conversation's log.
    #[ts(as = "u32")]
    pub seq: Seq,
    /// Its conversation, in the stream over all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub conversation_id: Option<ConversationId>,
    /// The event.
    pub event: String,
    /// Its payload.
    #[ts(type = "unknown")]
    pub payload: Json,
}

/// The registers that a joining client is told.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct RegistersState {
    /// The version to name at the next join.
    #[ts(as = "u32")]
    pub version: u64,
    /// Whose marks changed since the version named. In large conversations (of more than 100
    /// members, unless configured otherwise) only one's own.
    pub marks: Vec<MarkState>,
    /// One's own draft.
    #[ts(type = "{ text: string; reply_to: string | null; updated_at: string } | null")]
    pub draft: Option<Json>,
    /// One's own mute.
    #[ts(type = "{ until: string | null; mentions_only: boolean } | null")]
    pub mute: Option<Mute>,
    /// Messages that one has not read.
    #[ts(as = "u32")]
    pub unread: u64,
    /// Threads that one follows (by writing in them, by having begun them, or by being mentioned)
    /// and has not read to the end; the most recent ones.
    pub threads: Vec<ThreadPayload>,
}

/// Where a member stands.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct MarkState {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// Everything up to here has reached a device.
    #[ts(as = "u32")]
    pub delivered: Seq,
    /// Everything up to here was read.
    #[ts(as = "u32")]
    pub read: Seq,
    /// From where it was marked unread; only one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, as = "Option<u32>")]
    pub unread_from: Option<Seq>,
}

/// `message:send`
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct MessageSend {
    /// The idempotency key: the same key with the same content is the same message. At most 128
    /// bytes, best a UUIDv7 (it costs the server least); where
    /// `conversation.limits.client_id_horizon` is set, a UUIDv7 that is not older.
    #[ts(optional)]
    pub client_id: Option<String>,
    /// text (the default), image, video, audio, file, call or system.
    #[serde(rename = "type")]
    #[ts(optional)]
    pub kind: Option<String>,
    /// The text, or a caption.
    #[ts(optional)]
    pub content: Option<String>,
    /// Objects that describe what is attached.
    #[ts(optional, type = "unknown[]")]
    pub attachments: Option<Vec<Box<RawValue>>>,
    /// The message it answers.
    #[ts(optional, type = "string")]
    pub reply_to: Option<MessageId>,
    /// The thread it belongs to.
    #[ts(optional, type = "string")]
    pub thread_root: Option<MessageId>,
    /// Whether it was forwarded.
    #[ts(optional, as = "Option<bool>")]
    pub is_forwarded: Option<bool>,
    /// From where.
    #[ts(optional)]
    pub forwarded_from: Option<String>,
    /// Who is mentioned.
    #[ts(optional, type = "string[]")]
    pub mentions: Option<Vec<UserId>>,
    /// After so many seconds the message disappears: from 5 s to 90 days, unless configured
    /// otherwise.
    #[ts(optional, as = "Option<u32>")]
    pub ttl: Option<u64>,
    /// Send it then: at most 365 days ahead, unless configured otherwise.
    #[ts(optional, type = "string")]
    pub send_at: Option<Timestamp>,
    /// `persistent` (the default), `until_delivered` or `ephemeral`.
    #[ts(optional, as = "Option<MessageClass>")]
    pub class: Option<String>,
    /// Send without a push.
    #[ts(optional)]
    pub silent: Option<bool>,
    /// Opaque end-to-end encrypted content.
    #[ts(optional, type = "unknown")]
    pub envelope: Option<Box<RawValue>>,
}

impl TryFrom<MessageSend> for SendMessage {
    type Error = Refusal;

    fn try_from(send: MessageSend) -> Result<Self, Refusal> {
        let envelope = send.envelope.filter(|envelope| envelope.get() != "null");
        Ok(Self {
            client_id: send.client_id,
            kind: send.kind.unwrap_or_else(|| "text".to_owned()),
            content: send.content,
            attachments: send.attachments.as_deref().map(list_of),
            reply_to: send.reply_to,
            thread_root: send.thread_root,
            is_forwarded: send.is_forwarded.unwrap_or_default(),
            forwarded_from: send.forwarded_from,
            mentions: send.mentions.unwrap_or_default(),
            silent: send.silent.unwrap_or_default(),
            envelope: envelope.map(|envelope| envelope.get().into()),
            class: class_of(send.class.as_deref())?,
            ttl: send.ttl,
        })
    }
}

/// A class by its name; persistent without one.
pub(crate) fn class_of(name: Option<&str>) -> Result<MessageClass, Refusal> {
    let Some(name) = name else {
        return Ok(MessageClass::Persistent);
    };
    MessageClass::parse(name)
        .ok_or_else(|| Refusal::invalid_field("class", "persistent, until_delivered or ephemeral"))
}

fn list_of(items: &[Box<RawValue>]) -> JsonText {
    let items: Vec<&str> = items.iter().map(|item| item.get()).collect();
    format!("[{}]", items.join(",")).into()
}

/// The reply to `message:scheduled:list`.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct ScheduledList {
    /// One's own scheduled messages in the conversation, the earliest first.
    pub scheduled: Vec<ScheduledPayload>,
}

/// `message:scheduled:cancel`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct ScheduledNamed {
    /// Which scheduled message.
    #[ts(type = "string")]
    pub id: MessageId,
}

/// `message:edit`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessageEdit {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// The new text.
    pub content: String,
}

/// `message:delete`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessageDelete {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// For whom.
    #[serde(default)]
    #[ts(optional, as = "Option<Scope>")]
    pub scope: Scope,
}

/// `message:hidden`, an entry of one's own conversation: one has deleted a message for oneself.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct HiddenPayload {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// When.
    #[ts(type = "string")]
    pub hidden_at: Timestamp,
}

/// For whom a message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Its content is gone.
    #[default]
    Everyone,
    /// It is hidden from one's own history.
    Me,
}

/// `message:reaction:add`, `message:reaction:remove`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessageReaction {
    /// To which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
    /// Which; at most 64 bytes.
    pub emoji: String,
}

/// `message:pin`, `message:unpin`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessageNamed {
    /// Which message.
    #[ts(type = "string")]
    pub message_id: MessageId,
}

/// `message:delivered`, `message:read`, `message:unread`: a place, or the message there.
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessagePlace {
    /// For `message:read`: only this thread was read up to there, not the main timeline.
    #[serde(default)]
    #[ts(optional, type = "string")]
    pub thread_root: Option<MessageId>,
    /// The message.
    #[serde(default)]
    #[ts(optional, type = "string")]
    pub message_id: Option<MessageId>,
    /// Its place.
    #[serde(default)]
    #[ts(optional, as = "Option<u32>")]
    pub seq: Option<Seq>,
}

/// `message:ack`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct MessageAck {
    /// The device has everything up to here.
    #[ts(as = "u32")]
    pub seq: Seq,
}

/// The reply to `message:ack`: the next batch, where the join said that there is more.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct Acked {
    /// What was acknowledged.
    #[ts(as = "u32")]
    pub seq: Seq,
    /// The next entries of the gap; the same ones, if the same is acknowledged again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub gap: Option<Vec<GapEntry>>,
    /// There is still more: it comes once the last entry that was sent so far is acknowledged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub more: bool,
}

/// `message:history`
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct MessageHistory {
    /// The newest below this place.
    #[ts(optional, as = "Option<u32>")]
    pub before_seq: Option<Seq>,
    /// The oldest above this place.
    #[ts(optional, as = "Option<u32>")]
    pub after_seq: Option<Seq>,
    /// At most so many, 1 to 100; 50 without.
    #[ts(optional, as = "Option<u32>")]
    pub limit: Option<usize>,
    /// Of this thread; of the main timeline without.
    #[ts(optional, type = "string")]
    pub thread_root: Option<MessageId>,
}

/// A page of history, in ascending order.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct HistoryPage {
    /// The messages, with edits, reactions, pins and deletions folded in.
    #[ts(type = "(MessagePayload & { seq: number })[]")]
    pub messages: Vec<Json>,
    /// Whether there is more in the direction of the page.
    pub has_more: bool,
    /// Where one stands in the thread that was asked for, if one follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub thread: Option<ThreadPayload>,
}

/// `draft:set`
#[derive(Debug, Clone, Deserialize, TS)]
pub(crate) struct DraftSet {
    /// The text; nothing clears the draft.
    #[serde(default)]
    pub text: Option<String>,
    /// The message it will answer.
    #[serde(default)]
    #[ts(optional, type = "string")]
    pub reply_to: Option<MessageId>,
}

/// A draft as it is kept.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct Draft {
    /// The text.
    pub text: String,
    /// The message it will answer.
    #[ts(type = "string | null")]
    pub reply_to: Option<MessageId>,
    /// When it was set.
    #[ts(type = "string")]
    pub updated_at: Timestamp,
}

/// `conversation:mute`
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct ConversationMute {
    /// Until then; for ever without. A time that has passed ends the mute.
    #[ts(optional, type = "string | null")]
    pub until: Option<Timestamp>,
    /// Mentions come through.
    #[ts(optional)]
    pub mentions_only: Option<bool>,
    /// `false` ends the mute.
    #[ts(optional)]
    pub muted: Option<bool>,
}

/// `typing:start`, `typing:stop`, `conversation:join`, `conversation:leave`
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct ConversationNamed {
    /// The topic's own conversation, if it is named at all.
    #[ts(optional)]
    pub conversation_id: Option<String>,
}
