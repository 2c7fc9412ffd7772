//! What the log and its views say in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quikapp_actors::conversation::wire;
use quikapp_history::{Event, Kind, MemberSince};
use quikapp_storage::{Config, Consumer, ConversationId, Entry, EntryId, Seq, SharedStore, UserId};
use serde_json::{Value, json};

use super::identity;
use crate::support::{Client, Guest, Rest, Server};

/// Entries read at once.
const PAGE: usize = 500;
/// Between two looks at what moves by itself.
const LOOK: Duration = Duration::from_millis(100);
/// Within so many looks it stands still.
const LOOKS: usize = 300;

type Tails = BTreeMap<String, u64>;

/// Opens the stores of a server beside it.
pub(super) async fn open(storage: &Config) -> SharedStore {
    quikapp_storage::connect(storage).await.unwrap().store
}

/// Where the logs end.
pub(super) async fn tails(store: &SharedStore, conversations: &[String]) -> Tails {
    let tails = store.tails(&ids(conversations)).await.unwrap();
    tails
        .into_iter()
        .map(|(id, tail)| (id.as_str().to_owned(), tail.0))
        .collect()
}

/// The logs and their views, of one moment: messages are still forgotten by themselves, so it is
/// read until nothing moved meanwhile.
pub(super) async fn everything(
    server: &Server,
    store: &SharedStore,
    conversations: &[String],
    people: &[Guest],
) -> Vec<Event> {
    for _ in 0..LOOKS {
        let before = tails(store, conversations).await;
        if !is_projected(store, conversations, &before).await {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let mut told = logs(store, &before).await;
        let threads = threads(&told);
        told.extend(views(server, &before, people, &threads).await);
        told.extend(derived(store, people, &threads).await);
        told.extend(standings(server, conversations, people).await);
        if tails(store, conversations).await == before {
            return told;
        }
    }
    panic!("the logs or their projections did not come to rest");
}

fn ids(conversations: &[String]) -> Vec<ConversationId> {
    let ids = conversations.iter().map(|id| ConversationId::parse(id));
    ids.map(Result::unwrap).collect()
}

/// Whether everything derived has followed the logs.
async fn is_projected(store: &SharedStore, conversations: &[String], tails: &Tails) -> bool {
    let ids = ids(conversations);
    for consumer in [Consumer::QUEUE, Consumer::THREADS, Consumer::TIMERS] {
        let places = store.projected(&consumer, &ids).await.unwrap();
        let mut places = ids.iter().zip(places);
        if !places.all(|(id, place)| place.0 >= tails[id.as_str()]) {
            return false;
        }
    }
    true
}

async fn logs(store: &SharedStore, tails: &Tails) -> Vec<Event> {
    let mut told = Vec::new();
    for (conversation, tail) in tails {
        let id = ConversationId::parse(conversation).unwrap();
        let mut after = Seq(0);
        loop {
            let entries = store.entries(&id, after, PAGE).await.unwrap();
            for entry in &entries {
                told.push(logged(conversation, entry));
                after = entry.seq;
            }
            if entries.len() < PAGE {
                break;
            }
        }
        told.push(Event::LogEnd {
            conversation: conversation.clone(),
            tail: *tail,
        });
    }
    told
}

fn logged(conversation: &str, entry: &Entry) -> Event {
    let pushed = wire::pushed(entry);
    let payload: Value = serde_json::from_str(&pushed.payload).unwrap();
    let seen = identity::seen(&pushed.event, &payload).unwrap();
    let text = |key: &str| payload[key].as_str().map(str::to_owned);
    let about = |what: &str| text("message_id").map(|id| format!("{what} {id}"));
    let key = match seen.kind {
        Kind::Message => text("client_id"),
        Kind::Edit => about("edit"),
        Kind::ReactionAdd => about("reaction to"),
        // Nobody asked for what the server deletes.
        Kind::Delete if payload["deleted_by"].is_null() => None,
        Kind::Delete => about("delete"),
        Kind::Pin => about("pin"),
        Kind::Unpin => about("unpin"),
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
        thread: text("thread_root"),
        about: entry.target.map(|(_, seq)| seq.0),
        content: text("content"),
        emoji: text("emoji").filter(|emoji| !emoji.is_empty()),
        users: identity::users(&payload),
    }
}

/// The messages on which threads hang, by conversation.
fn threads(log: &[Event]) -> BTreeMap<String, BTreeSet<String>> {
    let mut threads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in log {
        if let Event::Log {
            conversation,
            thread,
            ..
        } = event
        {
            let roots = threads.entry(conversation.clone()).or_default();
            roots.extend(thread.clone());
        }
    }
    threads
}

/// What clients are told about the same: history, threads and members.
async fn views(
    server: &Server,
    tails: &Tails,
    people: &[Guest],
    threads: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Event> {
    let (rest, owner) = (Rest::of(server), &people[0]);
    let mut told = Vec::new();
    for conversation in tails.keys() {
        let mut messages = rest.history(conversation, owner).await;
        for root in threads.get(conversation).into_iter().flatten() {
            messages.extend(rest.thread(conversation, owner, root).await);
        }
        told.extend(messages.iter().map(|message| view(conversation, message)));
        told.push(Event::ViewEnd {
            conversation: conversation.clone(),
        });
        let path = format!("/api/conversations/{conversation}/members?limit=100");
        let members = rest.get(&path, owner).await;
        let member = |member: &Value| MemberSince {
            user: member["user_id"].as_str().unwrap().to_owned(),
            from_seq: member["from_seq"].as_u64().unwrap(),
        };
        let members = members["members"].as_array().unwrap().iter().map(member);
        told.push(Event::Members {
            conversation: conversation.clone(),
            members: members.collect(),
        });
    }
    told
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
        pinned: !message["pinned_by"].is_null(),
        reactions: serde_json::from_value(reactions.clone()).unwrap_or_default(),
    }
}

/// What the store has derived: what is pinned, and where everybody stands in their threads.
async fn derived(
    store: &SharedStore,
    people: &[Guest],
    threads: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Event> {
    let mut told = Vec::new();
    for (conversation, roots) in threads {
        let id = ConversationId::parse(conversation).unwrap();
        let pinned = store.pinned(&id).await.unwrap();
        told.push(Event::Pinned {
            conversation: conversation.clone(),
            messages: pinned.iter().map(|message| message.seq.0).collect(),
        });
        let roots = roots.iter().map(|root| EntryId(root.parse().unwrap()));
        let roots: Vec<EntryId> = roots.collect();
        for person in people {
            let user = UserId::new(person.id.clone()).unwrap();
            let stands = store.threads(&id, &user, Some(&roots), roots.len());
            for stand in stands.await.unwrap() {
                told.push(Event::Thread {
                    conversation: conversation.clone(),
                    user: person.id.clone(),
                    root: stand.root.to_string(),
                    read: stand.read.0,
                    unread: stand.unread,
                    last: stand.last.0,
                });
            }
            told.push(Event::ThreadsEnd {
                conversation: conversation.clone(),
                user: person.id.clone(),
            });
        }
    }
    told
}

/// Where people are told to stand when they join.
async fn standings(server: &Server, conversations: &[String], people: &[Guest]) -> Vec<Event> {
    let mut told = Vec::new();
    for person in people {
        let mut client = Client::connect(server, person).await;
        for conversation in conversations {
            let topic = format!("chat:{conversation}");
            let joined = client.join(&topic, json!({})).await;
            let registers = &joined["registers"];
            told.push(unread(conversation, person, registers));
            let threads = registers["threads"].as_array().unwrap().iter();
            told.extend(threads.map(|stand| thread(conversation, person, stand)));
        }
    }
    told
}

fn unread(conversation: &str, person: &Guest, registers: &Value) -> Event {
    let marks = registers["marks"].as_array().unwrap();
    let own = marks.iter().find(|mark| mark["user_id"] == person.id);
    let own = own.unwrap();
    Event::Unread {
        conversation: conversation.to_owned(),
        user: person.id.clone(),
        read: own["read"].as_u64().unwrap(),
        unread_from: own["unread_from"].as_u64(),
        unread: registers["unread"].as_u64().unwrap(),
    }
}

fn thread(conversation: &str, person: &Guest, stand: &Value) -> Event {
    let number = |key: &str| stand[key].as_u64().unwrap();
    Event::Thread {
        conversation: conversation.to_owned(),
        user: person.id.clone(),
        root: stand["thread_root"].as_str().unwrap().to_owned(),
        read: number("read"),
        unread: number("unread"),
        last: number("last_seq"),
    }
}
