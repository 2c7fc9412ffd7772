//! What clients send on `user:<id>`, and what they are answered.

use quikapp_storage::{ConversationId, Seq, StreamCursor, UserId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::super::chat::params::GapEntry;

/// Join params.
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct UserJoin {
    /// Where the client stands in the stream, as the server said; everything after it is
    /// replayed. Without it, and with a `device_id` here or on the socket, the device's cursor
    /// counts.
    #[ts(optional, type = "string")]
    pub cursor: Option<StreamCursor>,
    /// Which device this is, where the socket does not say so; never another than the socket's.
    #[ts(optional)]
    pub device_id: Option<String>,
}

/// The reply to a join.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct UserJoined {
    /// Whose stream it is.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// Where the client stands once it has what is in `gap`.
    #[ts(type = "string")]
    pub cursor: StreamCursor,
    /// What was missed, in every conversation in its order; at most 100 entries. Conversations
    /// with a call or a system message come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub gap: Option<Vec<GapEntry>>,
    /// There is more: it comes with the reply to `message:ack` of `cursor`, and live entries wait
    /// until then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub more: bool,
    /// The cursor cannot be replayed from, because more than 10,000 entries or something older
    /// than 168 hours lies behind it (unless configured otherwise), or because it was not issued
    /// here; or the device named none and none is known of it, because it is new or was forgotten.
    /// Fetch the conversations instead, and go on from `cursor`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub reset_required: bool,
}

/// `message:ack`: the stream's cursor, or a place in one conversation.
#[derive(Debug, Clone, Default, Deserialize, TS)]
#[serde(default)]
pub(crate) struct UserAck {
    /// The device has everything up to here.
    #[ts(optional, type = "string")]
    pub cursor: Option<StreamCursor>,
    /// The device has everything of this conversation ...
    #[ts(optional)]
    pub conversation_id: Option<String>,
    /// ... up to here.
    #[ts(optional, as = "Option<u32>")]
    pub seq: Option<Seq>,
}

/// The reply to `message:ack {cursor}`, and to `stream:cursor`.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct UserAcked {
    /// Where the client stands once it has what is in `gap`.
    #[ts(type = "string")]
    pub cursor: StreamCursor,
    /// The next entries, where there was more; the same ones, if the same is acknowledged again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub gap: Option<Vec<GapEntry>>,
    /// There is still more: it comes once the cursor that was sent last is acknowledged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub more: bool,
}

/// The reply to `message:ack {conversation_id, seq}`.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct PlaceAcked {
    /// Where.
    #[ts(type = "string")]
    pub conversation_id: ConversationId,
    /// Up to where.
    #[ts(as = "u32")]
    pub seq: Seq,
}

/// `profile:sync`: one's own profile, as it is now.
#[derive(Debug, Clone, Serialize, TS)]
pub(crate) struct ProfilePayload {
    /// Oneself.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// How one is called.
    pub name: Option<String>,
    /// Whether everyone may see when one was last here.
    pub last_seen_public: bool,
}
