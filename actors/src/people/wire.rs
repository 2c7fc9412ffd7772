//! What is said of people, and on which topics.

use std::sync::Arc;

use quikapp_protocol::Payload;
use quikapp_storage::{Person, Timestamp, WorkspaceId};
use serde::Serialize;

use super::{
    CustomStatusPayload, DevicesPayload, Effect, OfflinePayload, OnlinePayload, Publicly,
    StatusPayload,
};
use crate::{
    fanout::Broadcast,
    presence::{outlets, room_of, workspace_room},
};

/// The room behind `chat:lobby`, one per workspace.
pub fn lobby_room(workspace: &WorkspaceId) -> String {
    room_of(workspace, "chat:lobby")
}

/// The topic behind a person's `user:<id>`. No client can name it.
pub fn own_topic(person: &Person) -> String {
    person.own_conversation().as_str().to_owned()
}

/// The broadcasts of an effect that concerns people, in the order in which they go out.
pub(super) fn broadcasts(effect: &Effect, now: Timestamp) -> Vec<Broadcast> {
    match effect {
        Effect::Online { person, status } => {
            let payload = OnlinePayload {
                user_id: person.user.clone(),
                status: *status,
                online_at: now,
            };
            tell(
                [lobby_room(&person.workspace)],
                "user:online",
                &json(&payload),
            )
        }
        Effect::Offline {
            person,
            last_seen,
            topics,
        } => {
            let payload = OfflinePayload {
                user_id: person.user.clone(),
                last_seen: *last_seen,
            };
            let mut rooms = vec![lobby_room(&person.workspace)];
            rooms.extend(presence_rooms(person, topics));
            tell(rooms, "user:offline", &json(&payload))
        }
        Effect::StatusChanged {
            person,
            status,
            publicly,
        } => {
            let payload = StatusPayload {
                user_id: person.user.clone(),
                status: *status,
                changed_at: now,
            };
            changed(person, publicly, "user:status:changed", &json(&payload))
        }
        Effect::CustomChanged {
            person,
            custom,
            publicly,
        } => {
            let payload = CustomStatusPayload {
                user_id: person.user.clone(),
                custom_status: custom.clone(),
                changed_at: now,
            };
            changed(
                person,
                publicly,
                "user:custom_status:changed",
                &json(&payload),
            )
        }
        Effect::DevicesChanged { person, devices } => {
            let payload = DevicesPayload {
                devices: devices.clone(),
            };
            vec![own(person, "devices:changed", json(&payload))]
        }
        Effect::Track { .. }
        | Effect::Update { .. }
        | Effect::Untrack { .. }
        | Effect::KeepLastSeen { .. } => Vec::new(),
    }
}

/// The person's own topic always hears of a change.
fn changed(person: &Person, publicly: &Publicly, event: &str, payload: &Payload) -> Vec<Broadcast> {
    let mut told = vec![own(person, event, payload.clone())];
    if let Publicly::Everyone { topics } = publicly {
        told.extend(tell(presence_rooms(person, topics), event, payload));
    }
    told
}

fn own(person: &Person, event: &str, payload: Payload) -> Broadcast {
    let own = Broadcast::new(own_topic(person), event, payload);
    own.with_alias(format!("user:{}", person.user))
}

/// The workspace's room, and the other presence rooms among those the person is in.
fn presence_rooms(person: &Person, topics: &[Arc<str>]) -> Vec<String> {
    let mut rooms = vec![workspace_room(&person.workspace)];
    let of_conversations = topics.iter().filter(|topic| topic.starts_with("presence:"));
    rooms.extend(of_conversations.map(ToString::to_string));
    rooms
}

fn tell(rooms: impl IntoIterator<Item = String>, event: &str, payload: &Payload) -> Vec<Broadcast> {
    let outlets = rooms.into_iter().flat_map(|room| outlets(&room));
    outlets
        .map(|outlet| outlet.broadcast(event, payload.clone()))
        .collect()
}

/// These payloads have no keys that JSON could not hold.
fn json(payload: &impl Serialize) -> Payload {
    Payload::from_serialize(payload).unwrap_or_else(|_| Payload::empty_object())
}
