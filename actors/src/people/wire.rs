//! What is said of people, and on which topics.

use std::sync::Arc;

use quikapp_protocol::Payload;
use quikapp_storage::{Person, Timestamp, WorkspaceId};
use serde_json::{Value, json};

use super::{Effect, Publicly};
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
            let payload = json!({"user_id": person.user, "status": status, "online_at": now});
            tell([lobby_room(&person.workspace)], "user:online", &payload)
        }
        Effect::Offline {
            person,
            last_seen,
            topics,
        } => {
            let payload = json!({"user_id": person.user, "last_seen": last_seen});
            let mut rooms = vec![lobby_room(&person.workspace)];
            rooms.extend(presence_rooms(person, topics));
            tell(rooms, "user:offline", &payload)
        }
        Effect::StatusChanged {
            person,
            status,
            publicly,
        } => {
            let payload = json!({"user_id": person.user, "status": status, "changed_at": now});
            changed(person, publicly, "user:status:changed", &payload)
        }
        Effect::CustomChanged {
            person,
            custom,
            publicly,
        } => {
            let payload =
                json!({"user_id": person.user, "custom_status": custom, "changed_at": now});
            changed(person, publicly, "user:custom_status:changed", &payload)
        }
        Effect::Track { .. }
        | Effect::Update { .. }
        | Effect::Untrack { .. }
        | Effect::KeepLastSeen { .. } => Vec::new(),
    }
}

/// The person's own topic always hears of a change.
fn changed(person: &Person, publicly: &Publicly, event: &str, payload: &Value) -> Vec<Broadcast> {
    let own = Broadcast::new(own_topic(person), event, payload.clone().into());
    let mut told = vec![own.with_alias(format!("user:{}", person.user))];
    if let Publicly::Everyone { topics } = publicly {
        told.extend(tell(presence_rooms(person, topics), event, payload));
    }
    told
}

/// The workspace's room, and the other presence rooms among those the person is in.
fn presence_rooms(person: &Person, topics: &[Arc<str>]) -> Vec<String> {
    let mut rooms = vec![workspace_room(&person.workspace)];
    let of_conversations = topics.iter().filter(|topic| topic.starts_with("presence:"));
    rooms.extend(of_conversations.map(ToString::to_string));
    rooms
}

fn tell(rooms: impl IntoIterator<Item = String>, event: &str, payload: &Value) -> Vec<Broadcast> {
    let payload = Payload::from(payload.clone());
    let outlets = rooms.into_iter().flat_map(|room| outlets(&room));
    outlets
        .map(|outlet| outlet.broadcast(event, payload.clone()))
        .collect()
}
