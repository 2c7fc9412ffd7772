//! What is said of people, and on which topics.

use quikapp_storage::{Person, Timestamp, WorkspaceId};
use serde_json::{Value, json};

use super::{Effect, Publicly};
use crate::fanout::Broadcast;

/// The topic behind `chat:lobby`, one per workspace. No client can name it.
pub fn lobby_topic(workspace: &WorkspaceId) -> String {
    format!("lobby\u{1f}{workspace}")
}

/// The topic behind `presence:global`, `presence:lobby` and `presence:workspace:<id>`, one per
/// workspace. No client can name it.
pub fn workspace_topic(workspace: &WorkspaceId) -> String {
    format!("presence\u{1f}{workspace}")
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
            vec![broadcast(
                lobby_topic(&person.workspace),
                "user:online",
                &payload,
            )]
        }
        Effect::Offline {
            person,
            last_seen,
            topics,
        } => {
            let payload = json!({"user_id": person.user, "last_seen": last_seen});
            let mut told = vec![lobby_topic(&person.workspace)];
            told.extend(presence_topics(person, topics));
            told.into_iter()
                .map(|topic| broadcast(topic, "user:offline", &payload))
                .collect()
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
    let mut told = vec![own_topic(person)];
    if let Publicly::Everyone { topics } = publicly {
        told.extend(presence_topics(person, topics));
    }
    told.into_iter()
        .map(|topic| broadcast(topic, event, payload))
        .collect()
}

/// The workspace's topic, and the presence topics among those the person is on.
fn presence_topics(person: &Person, topics: &[std::sync::Arc<str>]) -> Vec<String> {
    let mut told = vec![workspace_topic(&person.workspace)];
    let of_conversations = topics.iter().filter(|topic| topic.starts_with("presence:"));
    told.extend(of_conversations.map(ToString::to_string));
    told
}

fn broadcast(topic: String, event: &str, payload: &Value) -> Broadcast {
    Broadcast::new(topic, event, payload.clone().into())
}
