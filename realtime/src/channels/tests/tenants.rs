//! Every topic and event, tried by people who have no business there.

use std::{collections::BTreeSet, time::Duration};

use quikapp_actors::conversation::Command;
use quikapp_storage::UserId;
use serde_json::{Value, json};

use super::World;
use crate::{
    auth::{
        Grant,
        test_kit::{admin, member, person, until},
    },
    schema,
};

/// People without access to what belongs to `acme` and its members ada and bob: another tenant's
/// people of the same names, its administrator, and somebody of the workspace who is no member.
fn strangers() -> [(Grant, bool); 5] {
    [
        (member("umbrella", "ada"), false),
        (member("umbrella", "bob"), false),
        (admin("umbrella", "ada"), false),
        (member("acme", "eve"), true),
        (admin("acme", "eve"), true),
    ]
}

#[tokio::test]
async fn topics_of_a_conversation_are_for_its_members() {
    let world = World::start().await;
    let id = world.conversation(&["ada", "bob"]).await;
    for topic in conversation_topics(id.as_str()) {
        for (grant, same_workspace) in strangers() {
            let mut client = world.socket_of(&grant, &[]).await;
            let expected = match same_workspace {
                true => "not_a_participant",
                false => "conversation_not_found",
            };
            let refused = client.join(&topic, json!({})).await;
            assert_eq!(refused.reason(), expected, "{topic} as {grant:?}");
            assert!(client.so_far().await.is_empty(), "{topic}: nothing is told");
        }
        let mut member = world.socket("bob").await;
        member.join(&topic, json!({})).await.ok();
    }
}

/// An event on a topic that is not joined reaches no channel, whatever it names.
#[tokio::test]
async fn events_are_not_taken_from_whoever_has_not_joined() {
    let world = World::start().await;
    let id = world.conversation(&["ada", "bob"]).await;
    for (grant, _) in strangers() {
        let mut client = world.socket_of(&grant, &[]).await;
        for topic in conversation_topics(id.as_str()) {
            client.join(&topic, json!({})).await.error();
            for (event, payload) in events(id.as_str()) {
                let refused = client.push(&topic, event, payload).await;
                assert_eq!(refused.reason(), "unmatched topic", "{topic} {event}");
            }
        }
    }
}

/// Strangers of names that no member has: where one of them shows, it is seen.
fn outsiders() -> [(Grant, bool); 4] {
    [
        (member("umbrella", "mallory"), false),
        (admin("umbrella", "trudy"), false),
        (member("acme", "eve"), true),
        (admin("acme", "oscar"), true),
    ]
}

/// From a topic that is one's own, an event that names somebody else's conversation is refused.
#[tokio::test]
async fn an_event_that_names_a_foreign_conversation_is_refused() {
    let world = World::with_open_rooms().await;
    let id = world.conversation(&["ada", "bob"]).await;
    let mut listener = world.socket("ada").await;
    for topic in conversation_topics(id.as_str()) {
        listener.join(&topic, json!({})).await.ok();
    }
    listener.so_far().await;
    for (grant, _) in outsiders() {
        let mut client = world.socket_of(&grant, &[("device_id", "phone")]).await;
        let own = format!("user:{}", grant.person.user);
        for topic in ["chat:lobby", "presence:lobby", "presence:global", &own] {
            client.join(topic, json!({})).await.ok();
            for (event, payload) in events(id.as_str()) {
                if !is_about_oneself(event) {
                    client.push(topic, event, payload).await.error();
                }
            }
        }
    }
    let heard = listener.so_far().await;
    let names = outsiders().map(|(grant, _)| format!("\"{}\"", grant.person.user));
    let is_about_one = |payload: &str| names.iter().any(|name| payload.contains(name));
    let leaked = heard.iter().any(|received| {
        !received.event.starts_with("phx_") && is_about_one(&received.payload.to_string())
    });
    assert!(!leaked, "{heard:?}");
}

/// One's own stream moves no cursor in a conversation that is not one's own.
#[tokio::test]
async fn a_place_in_a_foreign_conversation_is_not_acknowledged() {
    let world = World::start().await;
    let id = world.conversation(&["ada", "bob"]).await;
    for (grant, same_workspace) in strangers() {
        let mut client = world.socket_of(&grant, &[("device_id", "phone")]).await;
        let own = format!("user:{}", grant.person.user);
        client.join(&own, json!({})).await.ok();
        let place = json!({"conversation_id": id.as_str(), "seq": 1});
        let refused = client.push(&own, "message:ack", place).await;
        let expected = match same_workspace {
            true => "not_a_participant",
            false => "conversation_not_found",
        };
        assert_eq!(refused.reason(), expected, "as {grant:?}");
    }
}

/// What is tried is all there is: an event that is added to the product is added here.
#[test]
fn the_list_of_events_is_complete() {
    let tried: BTreeSet<_> = events("id").into_iter().map(|(event, _)| event).collect();
    let topics = schema::topics();
    let taken = topics.iter().flat_map(|topic| &topic.takes);
    // Any event may be said in a broadcast room, and a token concerns the socket.
    let elsewhere = |event: &&str| !matches!(*event, "<any>" | "access_token");
    let known: BTreeSet<_> = taken.map(|taken| taken.name).filter(elsewhere).collect();
    assert_eq!(tried, known);
}

#[tokio::test]
async fn a_workspace_and_a_person_are_not_for_others() {
    let world = World::start().await;
    let mut foreign = world.socket_of(&admin("umbrella", "ada"), &[]).await;
    let refused = foreign.join("presence:workspace:acme", json!({})).await;
    assert_eq!(refused.reason(), "forbidden");
    let mut own = world.socket("ada").await;
    own.join("presence:workspace:acme", json!({})).await.ok();
    own.join("user:ada", json!({})).await.ok();
    for grant in [
        member("acme", "bob"),
        admin("acme", "root"),
        member("umbrella", "bob"),
    ] {
        let mut other = world.socket_of(&grant, &[]).await;
        assert_eq!(
            other.join("user:ada", json!({})).await.reason(),
            "forbidden"
        );
    }
}

/// `user:ada` of another tenant is another person's stream: nothing of ours is in it.
#[tokio::test]
async fn the_stream_of_a_namesake_is_another_stream() {
    let world = World::start().await;
    let id = world.conversation(&["ada", "bob"]).await;
    let mut namesake = world.socket_of(&member("umbrella", "ada"), &[]).await;
    namesake.join("user:ada", json!({})).await.ok();
    let mut own = world.socket("ada").await;
    own.join("user:ada", json!({})).await.ok();
    namesake.so_far().await;
    let mut bob = world.socket("bob").await;
    let topic = format!("chat:{id}");
    bob.join(&topic, json!({})).await.ok();
    bob.push(
        &topic,
        "message:send",
        json!({"content": "for ada of acme"}),
    )
    .await
    .ok();
    own.event("user:ada", "message:new").await;
    let heard = namesake.so_far().await;
    assert!(heard.is_empty(), "{heard:?}");
}

/// A member who is removed hears nothing more, and may do nothing more, within a second.
#[tokio::test]
async fn a_removed_member_is_out_within_a_second() {
    let world = World::start().await;
    let id = world.conversation(&["ada", "bob"]).await;
    let topic = format!("chat:{id}");
    let mut ada = world.socket("ada").await;
    let mut bob = world.socket("bob").await;
    ada.join(&topic, json!({})).await.ok();
    bob.join(&topic, json!({})).await.ok();
    let command = Command::RemoveMember {
        user: UserId::new("bob").unwrap(),
    };
    let by = person("acme", "ada");
    let conversations = &world.backend.conversations;
    conversations.submit(&by, &id, command).await.unwrap();
    let removed = tokio::time::Instant::now();
    bob.event(&topic, "phx_close").await;
    assert!(removed.elapsed() < Duration::from_secs(1));
    bob.so_far().await;
    ada.push(&topic, "message:send", json!({"content": "without bob"}))
        .await
        .ok();
    let heard = bob.so_far().await;
    let told = heard
        .iter()
        .any(|received| received.payload.to_string().contains("without bob"));
    assert!(!told, "{heard:?}");
    let sent = bob
        .push(&topic, "message:send", json!({"content": "x"}))
        .await;
    assert_eq!(sent.reason(), "unmatched topic");
    until(async || {
        bob.join(&topic, json!({})).await.payload["response"]["reason"] == "not_a_participant"
    })
    .await;
    assert!(removed.elapsed() < Duration::from_secs(1));
}

/// Topics of the same name in two workspaces are two: nothing said in one is heard in the other.
#[tokio::test]
async fn lobbies_and_rooms_of_two_workspaces_do_not_hear_each_other() {
    let world = World::with_open_rooms().await;
    let mut here = world.socket("ada").await;
    let mut there = world.socket_of(&member("umbrella", "ada"), &[]).await;
    let topics = [
        "chat:lobby",
        "presence:lobby",
        "presence:global",
        "broadcast:game",
    ];
    for topic in topics {
        there.join(topic, json!({"presence": true})).await.ok();
    }
    there.so_far().await;
    for topic in topics {
        here.join(topic, json!({"presence": true})).await.ok();
    }
    here.push("broadcast:game", "move", json!({"x": 1}))
        .await
        .ok();
    here.push("presence:lobby", "status:update", json!({"status": "busy"}))
        .await
        .ok();
    let heard = there.so_far().await;
    assert!(heard.is_empty(), "{heard:?}");
    let asked = there
        .push(
            "presence:lobby",
            "presence:get",
            json!({"user_ids": ["ada"]}),
        )
        .await
        .ok();
    assert_ne!(asked["users"][0]["status"], "busy");
}

/// Internal topics hold a character that separates the tenant; naming one does not open it.
#[tokio::test]
async fn internal_topics_cannot_be_named() {
    let world = World::with_open_rooms().await;
    let mut here = world.socket("ada").await;
    for topic in ["chat:lobby", "broadcast:game"] {
        here.join(topic, json!({})).await.ok();
    }
    let mut foreign = world.socket_of(&member("umbrella", "eve"), &[]).await;
    let named = [
        "room\u{1f}acme\u{1f}broadcast:game",
        "broadcast:game\u{1f}acme",
        "lobby\u{1f}acme",
        "presence\u{1f}acme",
        "user:acme\u{1f}ada",
        "users_socket:ada\u{1f}acme",
        "chat:lobby\u{1f}acme",
    ];
    for topic in named {
        foreign.start_join(topic, json!({})).await;
    }
    foreign.so_far().await;
    here.push("broadcast:game", "move", json!({"x": 1}))
        .await
        .ok();
    let heard = foreign.so_far().await;
    assert!(
        heard.iter().all(|received| received.event != "move"),
        "{heard:?}"
    );
}

fn is_about_oneself(event: &str) -> bool {
    let others = ["presence:get", "stream:cursor", "preferences:set"];
    event.starts_with("status:") || others.contains(&event)
}

/// Every event of the product that names, or is about, a conversation, with a valid payload.
fn events(id: &str) -> Vec<(&'static str, Value)> {
    let message = "019f0000-0000-7000-8000-000000000000";
    vec![
        (
            "message:send",
            json!({"content": "x", "conversation_id": id}),
        ),
        (
            "message:edit",
            json!({"message_id": message, "content": "x"}),
        ),
        (
            "message:delete",
            json!({"message_id": message, "scope": "everyone"}),
        ),
        (
            "message:reaction:add",
            json!({"message_id": message, "emoji": "+"}),
        ),
        (
            "message:reaction:remove",
            json!({"message_id": message, "emoji": "+"}),
        ),
        ("message:delivered", json!({"seq": 1})),
        ("message:read", json!({"seq": 1})),
        ("message:pin", json!({"message_id": message})),
        ("message:unpin", json!({"message_id": message})),
        ("message:history", json!({"limit": 10})),
        ("message:ack", json!({"seq": 1})),
        ("message:unread", json!({"seq": 1})),
        ("draft:set", json!({"text": "x"})),
        ("conversation:mute", json!({"until": null})),
        ("message:scheduled:list", json!({})),
        ("message:scheduled:cancel", json!({"id": message})),
        ("typing:start", json!({"conversation_id": id})),
        ("typing:stop", json!({"conversation_id": id})),
        ("conversation:join", json!({"conversation_id": id})),
        ("conversation:leave", json!({"conversation_id": id})),
        ("activity:viewing", json!({"conversation_id": id})),
        ("activity:typing", json!({"conversation_id": id})),
        ("status:update", json!({"status": "busy"})),
        ("status:custom", json!({"text": "x"})),
        ("status:clear_custom", json!({})),
        ("presence:get", json!({"user_ids": ["ada"]})),
        ("stream:cursor", json!({})),
        ("preferences:set", json!({"locale": "en"})),
    ]
}

fn conversation_topics(id: &str) -> Vec<String> {
    ["chat", "conversation", "presence"]
        .map(|prefix| format!("{prefix}:{id}"))
        .into()
}

/// From a conversation of one's own, an id of another conversation or of its messages leads nowhere.
#[tokio::test]
async fn a_foreign_conversation_is_not_reached_through_ones_own() {
    let world = World::start().await;
    let theirs = world.conversation(&["ada", "bob"]).await;
    let theirs_topic = format!("chat:{theirs}");
    let mut ada = world.socket("ada").await;
    ada.join(&theirs_topic, json!({})).await.ok();
    let sent = ada
        .push(&theirs_topic, "message:send", json!({"content": "theirs"}))
        .await
        .ok();
    ada.so_far().await;

    let own = world.conversation(&["eve", "dan"]).await;
    let own_topic = format!("chat:{own}");
    let mut eve = world.socket("eve").await;
    eve.join(&own_topic, json!({})).await.ok();
    let message = &sent["id"];
    let attempts = [
        (
            "message:edit",
            json!({"message_id": message, "content": "x"}),
        ),
        (
            "message:delete",
            json!({"message_id": message, "scope": "everyone"}),
        ),
        (
            "message:delete",
            json!({"message_id": message, "scope": "me"}),
        ),
        (
            "message:reaction:add",
            json!({"message_id": message, "emoji": "+"}),
        ),
        ("message:pin", json!({"message_id": message})),
        ("message:read", json!({"message_id": message})),
        ("message:send", json!({"content": "x", "reply_to": message})),
        ("typing:start", json!({"conversation_id": theirs.as_str()})),
        (
            "conversation:join",
            json!({"conversation_id": theirs.as_str()}),
        ),
    ];
    for (event, payload) in attempts {
        let refused = eve.push(&own_topic, event, payload.clone()).await;
        assert_eq!(refused.payload["status"], "error", "{event} {payload}");
    }
    let named = json!({"content": "mine", "conversation_id": theirs.as_str()});
    eve.push(&own_topic, "message:send", named).await;
    let heard = ada.so_far().await;
    assert!(heard.is_empty(), "{heard:?}");
    let history = ada
        .push(&theirs_topic, "message:history", json!({}))
        .await
        .ok();
    assert_eq!(history["messages"].as_array().unwrap().len(), 1);
    assert_eq!(history["messages"][0]["content"], "theirs");
}
