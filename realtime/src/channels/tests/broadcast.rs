use std::collections::BTreeMap;

use super::*;
use crate::{auth::RoomAccess, socket::Inbound};

const ROOM: &str = "broadcast:game-1";

#[tokio::test]
async fn an_event_reaches_everyone_under_its_own_name() {
    let world = World::with_open_rooms().await;
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.join(ROOM, nothing()).await.ok(), json!({}));
    }
    let payload = json!({"x": 1, "deep": [null, {"y": "z"}]});
    assert_eq!(
        alice.push(ROOM, "move", payload.clone()).await.ok(),
        json!({})
    );
    for client in [&mut alice, &mut bob] {
        let heard = client.so_far().await;
        assert_eq!(
            (events(&heard), &heard[0].payload),
            (vec!["move"], &payload)
        );
        assert_eq!(heard[0].topic, ROOM);
    }
}

#[tokio::test]
async fn one_may_not_hear_oneself_and_not_be_answered() {
    let world = World::with_open_rooms().await;
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    alice
        .join(ROOM, json!({"self": false, "ack": false}))
        .await
        .ok();
    bob.join(ROOM, nothing()).await.ok();
    alice.start_push(ROOM, "move", json!({"n": 1})).await;
    assert!(alice.so_far().await.is_empty());
    assert_eq!(bob.event(ROOM, "move").await, json!({"n": 1}));
}

#[tokio::test]
async fn names_of_the_protocol_are_refused() {
    let world = World::with_open_rooms().await;
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    for client in [&mut alice, &mut bob] {
        client.join(ROOM, nothing()).await.ok();
    }
    for event in [
        "presence_diff",
        "presence_state",
        "phx_custom",
        "heartbeat",
        "disconnect",
    ] {
        let refused = alice.push(ROOM, event, nothing()).await.reason();
        assert_eq!(refused, "reserved_event", "{event}");
    }
    assert!(bob.so_far().await.is_empty());
}

#[tokio::test]
async fn rooms_are_opened_by_the_tokens_claim() {
    let world = World::start().await;
    let rooms =
        |access: &[RoomAccess]| BTreeMap::from([("broadcast:game-*".to_owned(), access.to_vec())]);
    let grant = |user: &str, access: &[RoomAccess]| Grant {
        rooms: rooms(access),
        ..member("acme", user)
    };
    let reader = grant("reader", &[RoomAccess::Read]);
    let writer = grant("writer", &[RoomAccess::Read, RoomAccess::Write]);
    let mut reader = world.socket_of(&reader, &[]).await;
    let mut writer = world.socket_of(&writer, &[]).await;
    let mut stranger = world.socket("stranger").await;
    reader.join(ROOM, nothing()).await.ok();
    writer.join(ROOM, nothing()).await.ok();
    assert_eq!(
        stranger.join(ROOM, nothing()).await.reason(),
        "room_forbidden"
    );
    assert_eq!(
        writer.join("broadcast:other", nothing()).await.reason(),
        "room_forbidden"
    );
    assert_eq!(
        reader.push(ROOM, "move", nothing()).await.reason(),
        "room_forbidden"
    );
    writer.push(ROOM, "move", nothing()).await.ok();
    assert_eq!(events(&reader.so_far().await), ["move"]);
}

#[tokio::test]
async fn rooms_of_two_workspaces_do_not_mix() {
    let world = World::with_open_rooms().await;
    let mut here = world.socket("alice").await;
    let mut there = world.socket_of(&member("umbrella", "alice"), &[]).await;
    here.join(ROOM, json!({"presence": true})).await.ok();
    there.join(ROOM, json!({"presence": true})).await.ok();
    assert_eq!(there.event(ROOM, "presence_state").await, json!({}));
    there.so_far().await;
    here.push(ROOM, "move", nothing()).await.ok();
    assert!(there.so_far().await.is_empty());
}

#[tokio::test]
async fn presence_is_for_those_who_ask_for_it() {
    let world = World::with_open_rooms().await;
    let mut plain = world.socket("plain").await;
    plain.join(ROOM, nothing()).await.ok();
    let mut alice = world.socket("alice").await;
    alice.join(ROOM, json!({"presence": true})).await.ok();
    assert_eq!(alice.event(ROOM, "presence_state").await, json!({}));
    let diff = alice.event(ROOM, "presence_diff").await;
    assert_eq!(keys(&diff["joins"]), ["alice"]);
    assert!(plain.so_far().await.is_empty());
    plain.push(ROOM, "move", nothing()).await.ok();
    assert_eq!(events(&alice.so_far().await), ["move"]);
}

#[tokio::test]
async fn bytes_are_broadcast_as_bytes() {
    let world = World::with_open_rooms().await;
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    alice
        .join(ROOM, json!({"ack": false, "self": false}))
        .await
        .ok();
    bob.join(ROOM, nothing()).await.ok();
    let (join_ref, msg_ref, event) = ("1", "9", "blob");
    let mut frame = vec![0, 1, 1, ROOM.len() as u8, event.len() as u8];
    for part in [join_ref, msg_ref, ROOM, event] {
        frame.extend_from_slice(part.as_bytes());
    }
    frame.extend_from_slice(&[1, 2, 3]);
    alice.send_raw(Inbound::Binary(frame.into())).await;
    let heard = bob.next_frame().await;
    assert!(!heard.is_text());
    assert!(heard.as_bytes().ends_with(&[1, 2, 3]));
}

#[tokio::test]
async fn ill_typed_parameters_are_refused_by_name() {
    let world = World::with_open_rooms().await;
    let mut alice = world.socket("alice").await;
    for field in ["self", "ack", "presence"] {
        let error = alice.join(ROOM, json!({field: "yes"})).await.error();
        assert_eq!(
            (&error["reason"], &error["field"]),
            (&json!("invalid_field"), &json!(field))
        );
    }
}
