//! `chat:lobby` and `presence:*`.

use quikapp_actors::{
    people::{
        CustomStatus, CustomStatusPayload, OfflinePayload, OnlinePayload, Status, StatusPayload,
    },
    presence::PresenceCount,
};
use quikapp_storage::Timestamp;
use serde::Deserialize;
use ts_rs::TS;

use super::{Topic, Type};
use crate::{
    channels::{
        presence::{Activity, CustomStatusUpdate, PresenceGet, PresenceGot, StatusUpdate},
        room::{RoomJoined, RoomParams},
    },
    errors::Reason,
};

/// One of a person's channels, as others see it.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "written by the presence core, which is held against this in a test"
)]
pub(super) struct PresenceMeta {
    /// Names this meta. Changes with every update.
    phx_ref: String,
    /// The meta that this one replaced.
    #[ts(optional)]
    phx_ref_prev: Option<String>,
    /// Whose.
    user_id: String,
    /// What they chose.
    status: Status,
    /// Their words.
    #[ts(optional)]
    custom_status: Option<CustomStatus>,
    /// Since when the connection is there.
    #[ts(type = "string")]
    online_at: Timestamp,
    /// Which device.
    #[ts(optional)]
    device_id: Option<String>,
    /// `viewing`: the person looks at the topic's conversation.
    #[ts(optional, type = "\"viewing\"")]
    activity: Option<String>,
}

/// Everything that is shown of a person on a topic.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "written by the presence core, which is held against this in a test"
)]
pub(super) struct PresenceEntry {
    /// One for each of their channels.
    metas: Vec<PresenceMeta>,
}

/// `presence_diff`: by user id.
#[derive(Debug, Deserialize, TS)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "written by the presence core, which is held against this in a test"
)]
pub(super) struct PresenceDiff {
    /// Who, or what, came. An update is in both.
    #[ts(type = "Record<string, PresenceEntry>")]
    joins: std::collections::BTreeMap<String, PresenceEntry>,
    /// Who, or what, went.
    #[ts(type = "Record<string, PresenceEntry>")]
    leaves: std::collections::BTreeMap<String, PresenceEntry>,
}

pub(super) fn lobby() -> Topic {
    let lobby = Topic::new(
        "chat:lobby",
        "Who comes to and goes from the token's workspace. Nothing is said here: every event is \
         answered with `unknown_event`.",
    )
    .join(Type::of::<RoomParams>(), Type::of::<RoomJoined>(), &[]);
    shown(lobby)
        .sends(
            "user:online",
            Type::of::<OnlinePayload>(),
            "The first socket of a person has joined something, or they are no longer invisible.",
        )
        .sends(
            "user:offline",
            Type::of::<OfflinePayload>(),
            "The last socket of a person has gone, or they went invisible.",
        )
}

pub(super) fn presence() -> Topic {
    let conversation = [Reason::NotAParticipant, Reason::ConversationNotFound];
    let topic = Topic::new(
        "presence:global",
        "Who is there and what they are up to: in the token's workspace (the first three names \
         are one room), or among the members of a conversation. Only people whom one may see are \
         shown; nothing is ever said here of people who are invisible. A room of more than 5,000 \
         connections is shown as counts.",
    )
    .also(&[
        "presence:lobby",
        "presence:workspace:<id>",
        "presence:<conversation_id>",
    ])
    .join(
        Type::of::<RoomParams>(),
        Type::of::<RoomJoined>(),
        &[Reason::Forbidden, conversation[0], conversation[1]],
    );
    let topic = choices(topic)
        .takes(
            "activity:typing",
            Type::of::<Activity>(),
            Type::nothing(),
            &conversation,
            "The same as `typing:start` on the conversation's topic: ends after 5 seconds, or \
             with this channel.",
        )
        .takes(
            "activity:viewing",
            Type::of::<Activity>(),
            Type::nothing(),
            &conversation,
            "One looks at this conversation, and at no other on this socket. Shown on \
             `presence:<conversation_id>` to its members.",
        )
        .takes(
            "presence:get",
            Type::of::<PresenceGet>(),
            Type::of::<PresenceGot>(),
            &[],
            "How people are. Who does not exist or may not be seen looks offline.",
        );
    changes(shown(topic))
}

fn choices(topic: Topic) -> Topic {
    topic
        .takes(
            "status:update",
            Type::of::<StatusUpdate>(),
            Type::of::<StatusUpdate>(),
            &[],
            "Chooses a status, for all devices and until another is chosen.",
        )
        .takes(
            "status:custom",
            Type::of::<CustomStatusUpdate>(),
            Type::of::<CustomStatus>(),
            &[],
            "Sets the custom status. A text or an emoji is needed.",
        )
        .takes(
            "status:clear_custom",
            Type::nothing(),
            Type::nothing(),
            &[],
            "Clears it.",
        )
}

fn changes(topic: Topic) -> Topic {
    choices_made(topic).sends(
        "user:offline",
        Type::of::<OfflinePayload>(),
        "The last socket of a person has gone, or they went invisible.",
    )
}

/// What people chose.
pub(super) fn choices_made(topic: Topic) -> Topic {
    topic
        .sends(
            "user:status:changed",
            Type::of::<StatusPayload>(),
            "A person chose another status.",
        )
        .sends(
            "user:custom_status:changed",
            Type::of::<CustomStatusPayload>(),
            "A person's custom status was set or cleared, or its time was over.",
        )
}

/// What a topic that shows who is there says.
pub(super) fn shown(topic: Topic) -> Topic {
    topic
        .sends(
            "presence_state",
            Type::of::<PresenceEntry>().by_key(),
            "Who is there, by user id, behind the join's reply; again when a block was set or \
             lifted. In mode `list`.",
        )
        .sends(
            "presence_diff",
            Type::of::<PresenceDiff>(),
            "What changed. In mode `list`.",
        )
        .sends(
            "presence_count",
            Type::of::<PresenceCount>(),
            "How many are there, behind the join's reply and then at most once per second. In \
             mode `count`.",
        )
}
