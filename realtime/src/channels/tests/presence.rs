use quikapp_actors::conversation::Command;
use quikapp_storage::Timestamp;

use super::*;
use crate::{auth::test_kit::person, channels::blocks_changed, policy::PresenceVisibility};

const GLOBAL: &str = "presence:global";

async fn joined(world: &World, user: &str, topic: &str) -> TestClient {
    let mut client = world.socket(user).await;
    client.join(topic, nothing()).await.ok();
    client
}

#[tokio::test]
async fn a_join_is_answered_then_shown_the_state_then_its_own_diff() {
    let world = World::start().await;
    let mut alice = world.socket("alice").await;
    let join = alice.start_join(GLOBAL, nothing()).await;
    let reply = alice.next().await;
    assert_eq!(reply.msg_ref, json!(join));
    assert_eq!(reply.ok(), json!({"mode": "list"}));
    let state = alice.next().await;
    assert_eq!(
        (state.event.as_str(), &state.payload),
        ("presence_state", &json!({}))
    );
    assert_eq!(state.join_ref, json!(join));
    let diff = alice.next().await;
    assert_eq!(
        (diff.event.as_str(), &diff.join_ref),
        ("presence_diff", &Value::Null)
    );
    let metas = &diff.payload["joins"]["alice"]["metas"];
    holds(
        &metas[0],
        json!({"user_id": "alice", "status": "online", "online_at": NOW}),
    );
    assert_eq!(diff.payload["leaves"], json!({}));
}

#[tokio::test]
async fn the_workspace_is_one_room_under_three_names() {
    let world = World::start().await;
    let mut alice = joined(&world, "alice", GLOBAL).await;
    alice.so_far().await;
    for (user, topic) in [
        ("bob", "presence:lobby"),
        ("carol", "presence:workspace:acme"),
    ] {
        let mut other = joined(&world, user, topic).await;
        let state = other.event(topic, "presence_state").await;
        assert!(keys(&state).contains(&"alice"), "{topic} shows {state}");
        let diff = alice.event(GLOBAL, "presence_diff").await;
        assert_eq!(keys(&diff["joins"]), [user]);
        other.close().await;
        let diff = alice.event(GLOBAL, "presence_diff").await;
        assert_eq!(keys(&diff["leaves"]), [user]);
    }
}

#[tokio::test]
async fn names_joined_on_one_socket_each_hear_everything() {
    let world = World::start().await;
    let mut alice = world.socket("alice").await;
    let names = [GLOBAL, "presence:lobby", "presence:workspace:acme"];
    for topic in names {
        alice.join(topic, nothing()).await.ok();
    }
    alice.so_far().await;
    let _bob = joined(&world, "bob", GLOBAL).await;
    for topic in names {
        let diff = alice.event(topic, "presence_diff").await;
        assert_eq!(keys(&diff["joins"]), ["bob"], "{topic}");
    }
}

#[tokio::test]
async fn devices_are_metas_and_closing_a_tab_takes_nobody_offline() {
    let world = World::start().await;
    let mut bob = joined(&world, "bob", GLOBAL).await;
    bob.join("chat:lobby", nothing()).await.ok();
    let grant = member("acme", "alice");
    let mut tabs = Vec::new();
    for device in ["phone", "web"] {
        let mut tab = world.socket_of(&grant, &[("device_id", device)]).await;
        tab.join(GLOBAL, nothing()).await.ok();
        tabs.push(tab);
    }
    let answer = bob
        .push(GLOBAL, "presence:get", json!({"userId": "alice"}))
        .await
        .ok();
    let devices = answer["users"][0]["devices"].as_array().unwrap();
    let names: Vec<_> = devices
        .iter()
        .map(|device| device["device_id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["phone", "web"]);
    bob.so_far().await;

    tabs.remove(0).close().await;
    let heard = bob.so_far().await;
    assert_eq!(events(&heard), ["presence_diff"], "no user:offline");
    assert_eq!(
        heard[0].payload["leaves"]["alice"]["metas"][0]["device_id"],
        "phone"
    );
    tabs.remove(0).close().await;
    assert_eq!(
        bob.event("chat:lobby", "user:offline").await["user_id"],
        "alice"
    );
}

#[tokio::test]
async fn a_status_reaches_everyone_and_one_diff_shows_it() {
    let world = World::start().await;
    let (mut alice, mut bob) = (
        joined(&world, "alice", GLOBAL).await,
        joined(&world, "bob", GLOBAL).await,
    );
    bob.so_far().await;
    let reply = alice
        .push(GLOBAL, "status:update", json!({"status": "busy"}))
        .await
        .ok();
    assert_eq!(reply, json!({"status": "busy"}));
    let heard = bob.so_far().await;
    assert_eq!(events(&heard), ["presence_diff", "user:status:changed"]);
    let (joins, leaves) = (&heard[0].payload["joins"], &heard[0].payload["leaves"]);
    assert_eq!(joins["alice"]["metas"][0]["status"], "busy");
    assert_eq!(
        joins["alice"]["metas"][0]["phx_ref_prev"],
        leaves["alice"]["metas"][0]["phx_ref"]
    );
    holds(
        &heard[1].payload,
        json!({"user_id": "alice", "status": "busy"}),
    );
}

#[tokio::test]
async fn custom_statuses_are_set_cleared_and_expire() {
    let world = World::start().await;
    let (mut alice, mut bob) = (
        joined(&world, "alice", GLOBAL).await,
        joined(&world, "bob", GLOBAL).await,
    );
    let until = Timestamp(NOW.0 + 60_000);
    let custom = json!({"text": "lunch", "emoji": "x", "expiresAt": until});
    let reply = alice.push(GLOBAL, "status:custom", custom).await.ok();
    let custom = json!({"text": "lunch", "emoji": "x", "expires_at": until});
    assert_eq!(reply, custom);
    let heard = bob.event(GLOBAL, "user:custom_status:changed").await;
    holds(&heard, json!({"user_id": "alice", "custom_status": custom}));

    alice
        .push(GLOBAL, "status:clear_custom", nothing())
        .await
        .ok();
    let heard = bob.event(GLOBAL, "user:custom_status:changed").await;
    assert_eq!(heard["custom_status"], Value::Null);

    alice
        .push(GLOBAL, "status:custom", custom.clone())
        .await
        .ok();
    bob.event(GLOBAL, "user:custom_status:changed").await;
    world.node.clock.advance_ms(60_001);
    let heard = bob.event(GLOBAL, "user:custom_status:changed").await;
    assert_eq!(heard["custom_status"], Value::Null, "its time has come");
}

#[tokio::test]
async fn an_invisible_person_looks_offline_and_knows_better() {
    let world = World::start().await;
    let (mut alice, mut bob) = (
        joined(&world, "alice", GLOBAL).await,
        joined(&world, "bob", GLOBAL).await,
    );
    bob.join("chat:lobby", nothing()).await.ok();
    bob.so_far().await;
    alice
        .push(GLOBAL, "status:update", json!({"status": "invisible"}))
        .await
        .ok();
    let heard = bob.so_far().await;
    let told: Vec<_> = heard
        .iter()
        .map(|r| (r.topic.as_str(), r.event.as_str()))
        .collect();
    let expected = [
        (GLOBAL, "presence_diff"),
        ("chat:lobby", "user:offline"),
        (GLOBAL, "user:offline"),
    ];
    assert_eq!(told, expected);
    assert_eq!(heard[0].payload["joins"], json!({}));

    world.node.clock.advance_ms(5_000);
    let ask = json!({"user_ids": ["alice"]});
    let seen = bob.push(GLOBAL, "presence:get", ask.clone()).await.ok();
    let expected =
        json!({"user_id": "alice", "status": "offline", "devices": [], "custom_status": null});
    holds(&seen["users"][0], expected);
    let own = alice.push(GLOBAL, "presence:get", ask).await.ok();
    assert_eq!(own["users"][0]["status"], "invisible");

    let mut again = world.socket("alice").await;
    again.join(GLOBAL, nothing()).await.ok();
    again.close().await;
    assert!(bob.so_far().await.is_empty(), "nothing they do is told");
}

#[tokio::test]
async fn a_conversations_presence_is_for_its_members() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let topic = format!("presence:{id}");
    let mut alice = joined(&world, "alice", &topic).await;
    let _bob = joined(&world, "bob", &topic).await;
    alice.so_far().await;
    let mut mallory = world.socket("mallory").await;
    assert_eq!(
        mallory.join(&topic, nothing()).await.reason(),
        "not_a_participant"
    );
    let mut elsewhere = world.socket_of(&member("umbrella", "alice"), &[]).await;
    let refused = elsewhere.join(&topic, nothing()).await.reason();
    assert_eq!(refused, "conversation_not_found");
    let refused = elsewhere
        .join("presence:workspace:acme", nothing())
        .await
        .reason();
    assert_eq!(refused, "forbidden");
    let state = elsewhere.join(GLOBAL, nothing()).await;
    state.ok();
    assert_eq!(elsewhere.event(GLOBAL, "presence_state").await, json!({}));
    assert!(
        alice.so_far().await.is_empty(),
        "other workspaces are not seen"
    );
}

#[tokio::test]
async fn who_looks_at_a_conversation_is_shown_in_it_alone() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let topic = format!("presence:{id}");
    let mut alice = joined(&world, "alice", GLOBAL).await;
    alice.join(&topic, nothing()).await.ok();
    let mut bob = joined(&world, "bob", &topic).await;
    bob.join(GLOBAL, nothing()).await.ok();
    bob.so_far().await;
    let viewing = json!({"conversationId": id});
    alice.push(GLOBAL, "activity:viewing", viewing).await.ok();
    let heard = bob.so_far().await;
    assert_eq!((heard.len(), heard[0].topic.as_str()), (1, topic.as_str()));
    assert_eq!(
        heard[0].payload["joins"]["alice"]["metas"][0]["activity"],
        "viewing"
    );

    let other = world.conversation(&["carol"]).await;
    let viewing = json!({"conversation_id": other});
    let refused = alice
        .push(GLOBAL, "activity:viewing", viewing)
        .await
        .reason();
    assert_eq!(refused, "not_a_participant");
}

#[tokio::test]
async fn counts_are_given_instead_of_lists() {
    let world = World::start().await;
    let mut alice = world.socket("alice").await;
    let reply = alice.join(GLOBAL, json!({"mode": "count"})).await.ok();
    assert_eq!(reply, json!({"mode": "count"}));
    let count = alice.event(GLOBAL, "presence_count").await;
    assert_eq!(count, json!({"users": 0, "connections": 0}));
    world
        .backend
        .presence
        .start_counting(std::time::Duration::from_millis(5));
    let mut others = vec![joined(&world, "bob", GLOBAL).await];
    others.push(joined(&world, "bob", "presence:lobby").await);
    while alice.event(GLOBAL, "presence_count").await != json!({"users": 2, "connections": 3}) {}
    assert!(!events(&alice.so_far().await).contains(&"presence_diff"));
}

#[tokio::test]
async fn blocked_people_do_not_see_each_other() {
    let world = World::start().await;
    let (alice, bob) = (person("acme", "alice"), person("acme", "bob"));
    let mut on_bob = joined(&world, "bob", GLOBAL).await;
    let set_block = async |blocked| {
        let set = world.node.store.set_block(&alice, &bob.user, blocked, NOW);
        set.await.unwrap();
        let grant = member("acme", "alice");
        let principal = world.node.principal(&grant).await;
        world.node.policy.blocks_changed(&principal, &bob.user);
        blocks_changed(&world.node.fanout, &alice, &bob.user);
    };
    on_bob.so_far().await;
    set_block(true).await;
    assert_eq!(keys(&on_bob.event(GLOBAL, "presence_state").await), ["bob"]);

    let mut on_alice = joined(&world, "alice", GLOBAL).await;
    assert_eq!(on_alice.event(GLOBAL, "presence_state").await, json!({}));
    let _carol = joined(&world, "carol", GLOBAL).await;
    let diff = on_bob.event(GLOBAL, "presence_diff").await;
    assert_eq!(keys(&diff["joins"]), ["carol"], "alice has come, unseen");
    on_alice
        .push(GLOBAL, "status:update", json!({"status": "dnd"}))
        .await
        .ok();
    let heard = on_bob.so_far().await;
    assert!(heard.is_empty(), "{heard:?}");
    let ask = json!({"user_id": "alice"});
    let seen = on_bob.push(GLOBAL, "presence:get", ask.clone()).await.ok();
    holds(
        &seen["users"][0],
        json!({"status": "offline", "last_seen": null}),
    );

    set_block(false).await;
    let state = on_bob.event(GLOBAL, "presence_state").await;
    assert_eq!(keys(&state), ["alice", "bob", "carol"]);
    let seen = on_bob.push(GLOBAL, "presence:get", ask).await.ok();
    assert_eq!(seen["users"][0]["status"], "dnd");
}

#[tokio::test]
async fn where_people_see_only_those_they_know_strangers_are_not_shown() {
    let world = World::with(policy::Config {
        presence: PresenceVisibility::SharedConversation,
        ..policy::Config::default()
    })
    .await;
    world.conversation(&["alice", "bob"]).await;
    let mut alice = joined(&world, "alice", GLOBAL).await;
    let diff = alice.event(GLOBAL, "presence_diff").await;
    assert_eq!(keys(&diff["joins"]), ["alice"]);
    let _stranger = joined(&world, "zoe", GLOBAL).await;
    let _bob = joined(&world, "bob", GLOBAL).await;
    let diff = alice.event(GLOBAL, "presence_diff").await;
    assert_eq!(keys(&diff["joins"]), ["bob"]);
}

#[tokio::test]
async fn what_is_unknown_or_ill_typed_is_refused_by_name() {
    let world = World::start().await;
    let mut alice = joined(&world, "alice", GLOBAL).await;
    let many: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    for (event, payload, field) in [
        ("status:update", json!({}), "status"),
        ("status:update", json!({"status": "asleep"}), "status"),
        ("status:update", json!({"status": 1}), "status"),
        ("status:update", json!([]), "payload"),
        ("status:custom", json!({"text": "x".repeat(101)}), "text"),
        ("status:custom", json!({"text": 5}), "text"),
        ("status:custom", json!({}), "text"),
        (
            "status:custom",
            json!({"text": "x", "expiresAt": "soon"}),
            "expires_at",
        ),
        ("activity:typing", json!({}), "conversation_id"),
        (
            "activity:viewing",
            json!({"conversation_id": 5}),
            "conversation_id",
        ),
        ("presence:get", json!({}), "user_ids"),
        ("presence:get", json!({"user_ids": "alice"}), "user_ids"),
        ("presence:get", json!({"user_ids": many}), "user_ids"),
    ] {
        let error = alice.push(GLOBAL, event, payload.clone()).await.error();
        assert_eq!(error["reason"], "invalid_field", "{event} {payload}");
        assert_eq!(error["field"], field, "{event} {payload}");
    }
    let refused = alice.push(GLOBAL, "no:such", nothing()).await.reason();
    assert_eq!(refused, "unknown_event");
    let error = alice
        .join("presence:lobby", json!({"mode": "all"}))
        .await
        .error();
    assert_eq!(
        (&error["reason"], &error["field"]),
        (&json!("invalid_field"), &json!("mode"))
    );
    alice
        .push(GLOBAL, "status:update", json!({"status": "away"}))
        .await
        .ok();
}

#[tokio::test]
async fn last_seen_is_told_to_those_who_ask_and_may() {
    let world = World::start().await;
    world.conversation(&["alice", "bob"]).await;
    joined(&world, "alice", GLOBAL).await.close().await;
    world.backend.people.flush().await;
    let ask = json!({"userIds": ["alice", "nobody"]});
    let mut bob = joined(&world, "bob", GLOBAL).await;
    let answer = bob.push(GLOBAL, "presence:get", ask.clone()).await.ok();
    holds(
        &answer["users"][0],
        json!({"status": "offline", "last_seen": NOW}),
    );
    holds(
        &answer["users"][1],
        json!({"user_id": "nobody", "status": "offline", "last_seen": null}),
    );
}

#[tokio::test]
async fn who_is_removed_from_a_conversation_sees_no_more_of_it() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let topic = format!("presence:{id}");
    let (mut alice, mut bob) = (
        joined(&world, "alice", &topic).await,
        joined(&world, "bob", &topic).await,
    );
    let removal = Command::RemoveMember {
        user: person("acme", "bob").user,
    };
    let conversations = &world.backend.conversations;
    let by = person("acme", "alice");
    conversations.submit(&by, &id, removal).await.unwrap();
    bob.event(&topic, "phx_close").await;
    let diff = loop {
        let diff = alice.event(&topic, "presence_diff").await;
        if diff["leaves"] != json!({}) {
            break diff;
        }
    };
    assert_eq!(keys(&diff["leaves"]), ["bob"]);
}
