//! What the log and its views say in the end.

use std::collections::BTreeMap;

use quikapp_actors::conversation::wire;
use quikapp_history::{Event, Kind, MemberSince};
use quikapp_storage::{Config, ConversationId, Entry, Seq, SharedStore};
use serde_json::{Value, json};

use super::{identity, recorder::Recorder};
use crate::support::{Client, Guest, Rest, Server};

/// Entries read at once.
const PAGE: usize = 500;

/// Opens the stores of a server beside it.
pub(super) async fn open(storage: &Config) -> SharedStore {
    quikapp_storage::connect(storage).await.unwrap().store
}

/// Where the logs end.
pub(super) async fn tails(store: &SharedStore, conversations: &[String]) -> BTreeMap<String, u64> {
    let ids: Vec<_> = conversations
        .iter()
        .map(|id| ConversationId::parse(id).unwrap())
        .collect();
    let tails = store.tails(&ids).await.unwrap();
    tails
        .into_iter()
        .map(|(id, tail)| (id.as_str().to_owned(), tail.0))
        .collect()
}

pub(super) async fn logs(recorder: &Recorder, store: &SharedStore, conversations: &[String]) {
    let tails = tails(store, conversations).await;
    for conversation in conversations {
        let id = ConversationId::parse(conversation).unwrap();
        let mut after = Seq(0);
        loop {
            let entries = store.entries(&id, after, PAGE).await.unwrap();
            for entry in &entries {
                recorder.record(|_| logged(conversation, entry));
                after = entry.seq;
            }
            if entries.len() < PAGE {
                break;
            }
        }
        recorder.record(|_| Event::LogEnd {
            conversation: conversation.clone(),
            tail: tails[conversation],
        });
    }
}

fn logged(conversation: &str, entry: &Entry) -> Event {
    let pushed = wire::pushed(entry);
    let payload: Value = serde_json::from_str(&pushed.payload).unwrap();
    let seen = identity::seen(&pushed.event, &payload).unwrap();
    let text = |key: &str| payload[key].as_str().map(str::to_owned);
    let key = match seen.kind {
        Kind::Message => text("client_id"),
        Kind::Edit => text("content"),
        Kind::ReactionAdd => text("emoji"),
        Kind::Delete => Some(format!("delete {}", text("message_id").unwrap_or_default())),
        _ => None,
    };
    Event::Log {
        conversation: conversation.to_owned(),
        seq: entry.seq.0,
        kind: seen.kind,
        id: seen.id,
        sender: entry.sender.as_str().to_owned(),
        key,
        n: entry.n,
        thread: !payload["thread_root"].is_null(),
        about: entry.target.map(|(_, seq)| seq.0),
        content: text("content"),
        emoji: text("emoji"),
        users: identity::users(&payload),
    }
}

/// What clients are told about the same: history, members, unread counts.
pub(super) async fn views(
    recorder: &Recorder,
    server: &Server,
    conversations: &[String],
    people: &[Guest],
) {
    let rest = Rest::of(server);
    for conversation in conversations {
        for message in rest.history(conversation, &people[0]).await {
            recorder.record(|_| view(conversation, &message));
        }
        let conversation = conversation.clone();
        recorder.record(|_| Event::ViewEnd { conversation });
    }
    for conversation in conversations {
        let path = format!("/api/conversations/{conversation}/members?limit=100");
        let told = rest.get(&path, &people[0]).await;
        let member = |member: &Value| MemberSince {
            user: member["user_id"].as_str().unwrap().to_owned(),
            from_seq: member["from_seq"].as_u64().unwrap(),
        };
        let members = told["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(member)
            .collect();
        let conversation = conversation.clone();
        recorder.record(|_| Event::Members {
            conversation,
            members,
        });
    }
    for person in people {
        let mut client = Client::connect(server, person).await;
        for conversation in conversations {
            let joined = client
                .join(&format!("chat:{conversation}"), json!({}))
                .await;
            recorder.record(|_| unread(conversation, person, &joined["registers"]));
        }
    }
}

fn view(conversation: &str, message: &Value) -> Event {
    let text = |key: &str| message[key].as_str().map(str::to_owned);
    let reactions = &message["reactions"];
    Event::View {
        conversation: conversation.to_owned(),
        seq: message["seq"].as_u64().unwrap(),
        id: text("id").unwrap(),
        content: text("content"),
        deleted: !message["deleted_at"].is_null(),
        reactions: serde_json::from_value(reactions.clone()).unwrap_or_default(),
    }
}

fn unread(conversation: &str, person: &Guest, registers: &Value) -> Event {
    let marks = registers["marks"].as_array().unwrap();
    let own = marks.iter().find(|mark| mark["user_id"] == person.id);
    Event::Unread {
        conversation: conversation.to_owned(),
        user: person.id.clone(),
        read: own.unwrap()["read"].as_u64().unwrap(),
        unread: registers["unread"].as_u64().unwrap(),
    }
}
