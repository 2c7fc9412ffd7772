//! Blocks, presence and rooms.

use std::sync::Arc;

use quikapp_actors::{
    fanout::{ConnectionId, Lane, Outbox, OutboxLimits, SlotKey, Subscription},
    people::Joined,
    presence::Tracker,
};
use serde_json::{Value, json};

use super::kit::{Api, NO_CONTENT, Options};
use crate::{
    auth::{
        Grant, RoomAccess,
        test_kit::{member, person},
    },
    policy::{self, OpenRooms},
    rooms::room_topic,
};

pub(super) async fn connect(api: &Api, workspace: &str, user: &str) -> Joined {
    let person = person(workspace, user);
    let tracker = Tracker {
        connection: ConnectionId(user.bytes().map(u64::from).sum()),
        slot: SlotKey(0),
    };
    api.people.joined(&person, tracker, None).await.unwrap()
}

async fn online(api: &Api, as_who: &Grant, query: &str) -> Vec<String> {
    let answer = api
        .call(as_who, &format!("GET /presence/online{query}"), Value::Null)
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let users = answer.body["users"].as_array().unwrap().clone();
    users
        .iter()
        .map(|user| user["user_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn people_of_the_workspace_are_seen_unless_there_is_a_block() {
    let api = Api::start().await;
    let _bob = connect(&api, "acme", "bob").await;
    let _cat = connect(&api, "acme", "cat").await;
    let _foreign = connect(&api, "umbrella", "dan").await;
    let ada = member("acme", "ada");
    assert_eq!(online(&api, &ada, "").await, ["bob", "cat"]);
    assert_eq!(online(&api, &ada, "?limit=1").await, ["bob"]);
    assert_eq!(online(&api, &ada, "?limit=1&after=bob").await, ["cat"]);
    assert_eq!(online(&api, &member("umbrella", "ada"), "").await, ["dan"]);

    let bob = api.call(&ada, "GET /presence/bob", Value::Null).await;
    assert_eq!((bob.status, &bob.body["status"]), (200, &json!("online")));
    let dan = api.call(&ada, "GET /presence/dan", Value::Null).await;
    assert_eq!(dan.body["status"], "offline", "nobody of that name here");

    assert_eq!(
        api.call(&ada, "POST /users/bob/block", Value::Null)
            .await
            .status,
        NO_CONTENT
    );
    assert_eq!(online(&api, &ada, "").await, ["cat"]);
    for (who, other) in [("ada", "bob"), ("bob", "ada")] {
        let call = format!("GET /presence/{other}");
        let refused = api.call(&member("acme", who), &call, Value::Null).await;
        assert_eq!(refused.reason(), (404, "user_not_found"), "{who}");
    }
    assert_eq!(
        api.call(&ada, "DELETE /users/bob/block", Value::Null)
            .await
            .status,
        NO_CONTENT
    );
    assert_eq!(online(&api, &ada, "").await, ["bob", "cat"]);
}

#[tokio::test]
async fn nobody_blocks_themselves() {
    let api = Api::start().await;
    let refused = api
        .call(&member("acme", "ada"), "POST /users/ada/block", Value::Null)
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
}

/// A listener in a room.
pub(super) fn enter(api: &Api, workspace: &str, topic: &str) -> (Arc<Outbox>, Subscription) {
    let outbox = Arc::new(Outbox::new(ConnectionId(9), OutboxLimits::default()));
    let behind = room_topic(&person(workspace, "x").workspace, topic);
    let subscription = api
        .node
        .fanout
        .subscribe(&behind, &outbox, SlotKey(0), Lane::Own);
    (outbox, subscription)
}

#[tokio::test]
async fn a_broadcast_reaches_the_room_of_its_workspace_only() {
    let api = Api::start().await;
    let (here, _listening) = enter(&api, "acme", "broadcast:game-1");
    let (there, _listening) = enter(&api, "umbrella", "broadcast:game-1");
    let mut ada = member("acme", "ada");
    ada.rooms
        .insert("broadcast:game-*".into(), vec![RoomAccess::Write]);
    let body = |topic: &str, event: &str| json!({"topic": topic, "event": event, "payload": [1]});
    let call = "POST /broadcast";
    assert_eq!(
        api.call(&ada, call, body("broadcast:game-1", "move"))
            .await
            .status,
        202
    );
    assert_eq!((here.len(), there.len()), (1, 0));
    let closed = api.call(&ada, call, body("broadcast:other", "move")).await;
    assert_eq!(closed.reason(), (403, "room_forbidden"));
    for topic in ["chat:1", "broadcast:", "user:ada", ""] {
        let refused = api.call(&ada, call, body(topic, "move")).await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{topic}");
    }
    for event in ["phx_reply", "presence_diff", "access_token"] {
        let refused = api.call(&ada, call, body("broadcast:game-1", event)).await;
        assert_eq!(refused.reason(), (422, "reserved_event"), "{event}");
    }
    let nothing = json!({"topic": "broadcast:game-1", "event": "move"});
    let refused = api.call(&ada, call, nothing).await;
    assert_eq!(
        (refused.reason(), &refused.body["field"]),
        ((422, "invalid_field"), &json!("payload"))
    );
    assert_eq!(here.len(), 1);
}

#[tokio::test]
async fn rooms_may_be_open_to_the_workspace() {
    let api = Api::with(Options {
        policy: policy::Config {
            rooms: OpenRooms::Workspace,
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let body = json!({"topic": "broadcast:any", "event": "move", "payload": null});
    assert_eq!(
        api.call(&member("acme", "ada"), "POST /broadcast", body)
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn ones_profile_is_changed_and_synced_to_ones_devices() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let show = async || api.call(&ada, "GET /users/me", Value::Null).await.body;
    let unknown =
        json!({"user_id": "ada", "workspace": "acme", "name": null, "last_seen_public": false});
    assert_eq!(show().await, unknown);
    let _connected = connect(&api, "acme", "ada").await;
    let cursor = api.node.store.cursor_now().await.unwrap();
    let change = json!({"name": " Ada ", "last_seen_public": true});
    let changed = api.call(&ada, "PATCH /users/me", change).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    let expected =
        json!({"user_id": "ada", "workspace": "acme", "name": "Ada", "last_seen_public": true});
    assert_eq!(changed.body, expected);
    assert_eq!(show().await, expected);
    let only_the_name = api
        .call(&ada, "PATCH /users/me", json!({"name": "Countess"}))
        .await;
    assert_eq!(only_the_name.body["last_seen_public"], true);

    let own = person("acme", "ada");
    let missed = api.node.store.missed(&own, &cursor, 10).await.unwrap();
    let synced: Vec<Value> = missed
        .entries
        .iter()
        .map(|(_, entry)| serde_json::from_str(&entry.payload).unwrap())
        .collect();
    let names: Vec<_> = synced
        .iter()
        .map(|notice| &notice["payload"]["name"])
        .collect();
    assert_eq!(names, ["Ada", "Countess"]);
    assert!(
        synced
            .iter()
            .all(|notice| notice["event"] == "profile:sync")
    );
    let asked = api
        .people
        .ask(&own.workspace, std::slice::from_ref(&own.user))
        .await
        .unwrap();
    assert!(asked[0].last_seen_public, "also while she is connected");

    for refused in [
        json!({"name": ""}),
        json!({"nickname": "x"}),
        json!({"name": "x".repeat(65)}),
    ] {
        let refused = api.call(&ada, "PATCH /users/me", refused).await;
        assert_eq!(refused.reason(), (422, "invalid_field"));
    }
}

#[tokio::test]
async fn one_sees_what_waits_for_oneself() {
    let api = Api::start().await;
    let (ada, bob) = (member("acme", "ada"), member("acme", "bob"));
    let id = super::conversations::group(&api, &ada, &["bob"]).await;
    let path = "GET /users/me/overview";
    let empty = api.call(&bob, path, Value::Null).await;
    assert_eq!((empty.status, &empty.body["badge"]), (200, &json!(0)));
    let call = format!("POST /conversations/{id}/messages");
    for content in ["one", "two"] {
        let sent = api.call(&ada, &call, json!({"content": content})).await;
        assert_eq!(sent.status, 201, "{:?}", sent.body);
    }
    let waits = api.call(&bob, path, Value::Null).await.body;
    let expected = json!({
        "chosen": {"status": "online"},
        "badge": 2,
        "unread": 2,
        "conversations": [{"conversation_id": id, "unread": 2, "mute": null, "threads": []}],
        "more": false,
        "pending": {"count": 0, "oldest": null, "devices": []},
    });
    assert_eq!(waits, expected);
    let own = api.call(&ada, path, Value::Null).await.body;
    assert_eq!(own["unread"], 0, "what one said oneself is read");
    let namesake = api
        .call(&member("umbrella", "bob"), path, Value::Null)
        .await;
    assert_eq!(namesake.body["unread"], 0);
    assert_eq!(api.call_unsigned(path, Value::Null).await.status, 401);
}
