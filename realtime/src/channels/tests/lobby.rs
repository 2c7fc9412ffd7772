use super::*;

#[tokio::test]
async fn the_lobby_hears_who_comes_and_goes_in_its_workspace() {
    let world = World::start().await;
    let mut alice = world.socket("alice").await;
    alice.join("chat:lobby", nothing()).await.ok();
    alice.so_far().await;
    let mut elsewhere = world.socket_of(&member("umbrella", "eve"), &[]).await;
    elsewhere.join("chat:lobby", nothing()).await.ok();
    elsewhere.so_far().await;

    let mut bob = world.socket("bob").await;
    bob.join("presence:global", nothing()).await.ok();
    let online = alice.event("chat:lobby", "user:online").await;
    assert_eq!(
        online,
        json!({"user_id": "bob", "status": "online", "online_at": NOW})
    );
    bob.close().await;
    let offline = alice.event("chat:lobby", "user:offline").await;
    assert_eq!(offline, json!({"user_id": "bob", "last_seen": null}));
    assert!(elsewhere.so_far().await.is_empty());
}

#[tokio::test]
async fn the_lobby_shows_who_is_in_it() {
    let world = World::start().await;
    let mut alice = world.socket("alice").await;
    alice.join("chat:lobby", nothing()).await.ok();
    let mut bob = world.socket("bob").await;
    bob.join("chat:lobby", nothing()).await.ok();
    let state = bob.event("chat:lobby", "presence_state").await;
    assert_eq!(keys(&state), ["alice"]);
    let mut counting = world.socket("carol").await;
    counting
        .join("chat:lobby", json!({"mode": "count"}))
        .await
        .ok();
    let count = counting.event("chat:lobby", "presence_count").await;
    assert_eq!(count, json!({"users": 2, "connections": 2}));
    counting.so_far().await;
    let _dave = world
        .socket("dave")
        .await
        .join("chat:lobby", nothing())
        .await
        .ok();
    // Who asked for counts still hears who comes.
    assert_eq!(
        counting.event("chat:lobby", "user:online").await["user_id"],
        "dave"
    );
}

#[tokio::test]
async fn nothing_is_said_in_the_lobby() {
    let world = World::start().await;
    let (mut alice, mut bob) = (world.socket("alice").await, world.socket("bob").await);
    for client in [&mut alice, &mut bob] {
        client.join("chat:lobby", nothing()).await.ok();
    }
    alice.so_far().await;
    for event in ["message:new", "message:send", "user:online", "typing:start"] {
        let refused = bob
            .push("chat:lobby", event, json!({"content": "hi"}))
            .await;
        assert_eq!(refused.reason(), "unknown_event", "{event}");
    }
    assert!(alice.so_far().await.is_empty());
}
