//! The table against its pages, against the channels' code, and against what really goes over the
//! wire.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use quikapp_actors::{
    conversation::payload::{
        DeletePayload, EditPayload, MessagePayload, PinPayload, ReactionPayload,
    },
    people::{CustomStatusPayload, OfflinePayload, OnlinePayload, StatusPayload},
    preferences::PreferencesPayload,
    presence::PresenceCount,
    registers::payload::{DraftPayload, MutePayload, ReceiptPayload, UnreadPayload},
    typing::TypingPayload,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Topic,
    chat::Placed,
    events_markdown,
    people::{PresenceDiff, PresenceEntry},
    topics, typescript,
};
use crate::{
    channels::tests::{World, nothing},
    testing::Received,
};

/// Compares a generated page, or rewrites it when `QUIKAPP_BLESS` is set.
#[track_caller]
fn is_up_to_date(file: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file);
    if std::env::var_os("QUIKAPP_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == generated,
        "docs/{file} is out of date; run QUIKAPP_BLESS=1 cargo test -p quikapp-realtime schema"
    );
}

#[test]
fn the_event_reference_is_up_to_date() {
    is_up_to_date("events.md", &events_markdown());
}

#[test]
fn the_typescript_declarations_are_up_to_date() {
    is_up_to_date("quikapp.d.ts", &typescript());
}

/// The event names that a channel's source matches on: `"a:b" =>`, `"a:b" | "c:d" =>`.
fn handled(source: &str) -> BTreeSet<&str> {
    let mut handled = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        let arm = line.split("=>").next().unwrap_or_default();
        let is_arm = line.contains("=>") || line.starts_with('|') || line.ends_with('|');
        if !is_arm || !arm.trim_start_matches('|').trim_start().starts_with('"') {
            continue;
        }
        let names = arm.split('"').skip(1).step_by(2);
        handled.extend(names.filter(|name| name.contains(':')));
    }
    handled
}

#[track_caller]
fn covers(topic: &str, source: &str) {
    let topics = topics();
    let topic = topics.iter().find(|known| known.name == topic).unwrap();
    let listed: BTreeSet<_> = topic.takes.iter().map(|event| event.name).collect();
    assert_eq!(handled(source), listed, "{}", topic.name);
}

#[test]
fn every_event_that_is_handled_is_in_the_table_and_no_other() {
    covers("presence:global", include_str!("../channels/presence.rs"));
    covers(
        "chat:<conversation_id>",
        include_str!("../channels/chat.rs"),
    );
    covers("user:<user_id>", include_str!("../channels/user.rs"));
}

#[test]
fn names_in_the_table_are_unique() {
    for topic in topics() {
        let mut taken = BTreeSet::new();
        assert!(
            topic.takes.iter().all(|event| taken.insert(event.name)),
            "{}",
            topic.name
        );
        let mut sent = BTreeSet::new();
        assert!(
            topic.sends.iter().all(|event| sent.insert(event.name)),
            "{}",
            topic.name
        );
    }
}

fn reads<T: DeserializeOwned>(payload: &Value) {
    if let Err(error) = serde_json::from_value::<T>(payload.clone()) {
        panic!("{error}: {payload}");
    }
}

/// The part of a pattern that does not vary.
fn fixed(name: &str) -> (&str, bool) {
    name.split_once('<')
        .map_or((name, false), |(head, _)| (head, true))
}

fn names(topic: &Topic) -> impl Iterator<Item = &str> {
    std::iter::once(topic.name).chain(topic.also.iter().copied())
}

/// The events that the server may send on a topic.
fn listed_for(topic: &str) -> BTreeSet<&'static str> {
    let topics = topics();
    let exact = |known: &&Topic| names(known).any(|name| fixed(name) == (topic, false));
    let prefix =
        |known: &&Topic| names(known).any(|name| fixed(name).1 && topic.starts_with(fixed(name).0));
    let found = topics
        .iter()
        .find(exact)
        .or_else(|| topics.iter().find(prefix));
    found.unwrap().sends.iter().map(|sent| sent.name).collect()
}

/// A frame's event is listed for its topic, and its payload is of the listed type.
fn is_as_listed(received: &Received) {
    let is_listed = listed_for(&received.topic).contains(received.event.as_str());
    assert!(is_listed, "{received:?}");
    let payload = &received.payload;
    match received.event.as_str() {
        "presence_state" => reads::<BTreeMap<String, PresenceEntry>>(payload),
        "presence_diff" => reads::<PresenceDiff>(payload),
        "presence_count" => reads::<PresenceCount>(payload),
        "user:online" => reads::<OnlinePayload>(payload),
        "user:offline" => reads::<OfflinePayload>(payload),
        "user:status:changed" => reads::<StatusPayload>(payload),
        "user:custom_status:changed" => reads::<CustomStatusPayload>(payload),
        "typing:start" | "typing:stop" => reads::<TypingPayload>(payload),
        "message:read" | "message:delivered" => reads::<ReceiptPayload>(payload),
        "unread:changed" => reads::<UnreadPayload>(payload),
        "draft:changed" => reads::<DraftPayload>(payload),
        "mute:changed" => reads::<MutePayload>(payload),
        _ => is_an_entry(received),
    }
}

fn is_an_entry(received: &Received) {
    let payload = &received.payload;
    reads::<Placed>(payload);
    match received.event.as_str() {
        "message:new" => reads::<MessagePayload>(payload),
        "message:edited" => reads::<EditPayload>(payload),
        "message:deleted" => reads::<DeletePayload>(payload),
        "message:reaction:added" | "message:reaction:removed" => reads::<ReactionPayload>(payload),
        "message:pinned" | "message:unpinned" => reads::<PinPayload>(payload),
        "preferences:changed" => reads::<PreferencesPayload>(payload),
        event => panic!("{event} has no type here"),
    }
}

#[tokio::test]
async fn what_goes_over_a_conversation_is_as_listed() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let chat = format!("chat:{id}");
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    for (client, own) in [(&mut alice, "user:alice"), (&mut bob, "user:bob")] {
        client.join(own, nothing()).await.ok();
        client.join(&chat, nothing()).await.ok();
    }
    let hours = json!({"from": "22:00", "to": "07:00", "time_zone": "UTC"});
    let patch = json!({"locale": "en", "app": {"theme": "dark"}, "quiet_hours": hours});
    let changed = alice.push("user:alice", "preferences:set", patch).await;
    reads::<PreferencesPayload>(&changed.ok());
    let sent = alice
        .push(&chat, "message:send", json!({"content": "hi"}))
        .await
        .ok();
    let about = |more: Value| {
        let mut about = json!({"message_id": sent["id"]});
        about
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        about
    };
    for (event, payload) in [
        ("typing:start", nothing()),
        ("message:edit", about(json!({"content": "ho"}))),
        ("message:reaction:add", about(json!({"emoji": "x"}))),
        ("message:reaction:remove", about(json!({"emoji": "x"}))),
        ("message:pin", about(nothing())),
        ("message:unpin", about(nothing())),
        ("message:read", about(nothing())),
        ("draft:set", json!({"text": "so"})),
        ("conversation:mute", nothing()),
        ("message:delete", about(nothing())),
        ("typing:stop", nothing()),
    ] {
        alice.push(&chat, event, payload).await.ok();
    }
    let mut seen = BTreeSet::new();
    for received in alice.so_far().await.iter().chain(&bob.so_far().await) {
        is_as_listed(received);
        seen.insert(received.event.clone());
    }
    for event in [
        "preferences:changed",
        "message:new",
        "message:deleted",
        "message:pinned",
        "typing:stop",
        "draft:changed",
    ] {
        assert!(seen.contains(event), "{event} of {seen:?}");
    }
}

#[tokio::test]
async fn what_goes_over_the_wire_is_as_listed() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    for topic in ["chat:lobby", "presence:global"] {
        bob.join(topic, nothing()).await.ok();
    }
    bob.join("presence:lobby", json!({"mode": "count"}))
        .await
        .ok();
    let alice = crate::auth::test_kit::member("acme", "alice");
    let mut alice = world.socket_of(&alice, &[("device_id", "phone")]).await;
    alice.join("presence:global", nothing()).await.ok();
    for (event, payload) in [
        ("status:update", json!({"status": "away"})),
        (
            "status:custom",
            json!({"text": "lunch", "emoji": "x", "expires_at": "2099-01-01T00:00:00Z"}),
        ),
        ("status:clear_custom", json!({})),
    ] {
        alice.push("presence:global", event, payload).await.ok();
    }
    alice.close().await;
    let heard = bob.so_far().await;
    let seen: BTreeSet<_> = heard
        .iter()
        .map(|received| received.event.as_str())
        .collect();
    let expected = [
        "presence_count",
        "presence_diff",
        "presence_state",
        "user:custom_status:changed",
        "user:offline",
        "user:online",
        "user:status:changed",
    ];
    assert_eq!(seen, BTreeSet::from(expected));
    heard.iter().for_each(is_as_listed);
}
