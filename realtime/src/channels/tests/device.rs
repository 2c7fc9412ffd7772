//! A device that is named by a join, where the socket names none.

use super::*;

/// A socket that says nothing of its device.
async fn bob(world: &World) -> TestClient {
    world.socket("bob").await
}

async fn say(world: &World, topic: &str, content: &str) {
    let mut ann = world.socket("ann").await;
    ann.join(topic, nothing()).await.ok();
    let said = ann.push(topic, "message:send", json!({ "content": content }));
    said.await.ok();
}

#[tokio::test]
async fn a_conversation_goes_on_where_the_device_of_the_join_acknowledged() {
    let world = World::start().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    say(&world, &topic, "one").await;
    let mut phone = bob(&world).await;
    phone.join(&topic, json!({"device_id": "phone"})).await.ok();
    phone
        .push(&topic, "message:ack", json!({"seq": 1}))
        .await
        .ok();
    phone
        .push(&topic, "message:read", json!({"seq": 1}))
        .await
        .ok();
    let read = phone.event(&topic, "message:read").await;
    assert_eq!(read["device_id"], "phone", "receipts name it, too");
    phone.close().await;
    say(&world, &topic, "two").await;

    let joined = bob(&world)
        .await
        .join(&topic, json!({"deviceId": "phone"}))
        .await;
    let joined = joined.ok();
    assert_eq!(joined["gap"].as_array().unwrap().len(), 1, "{joined}");
    assert_eq!(joined["gap"][0]["payload"]["content"], "two");
    let elsewhere = bob(&world)
        .await
        .join(&topic, json!({"device_id": "laptop"}))
        .await;
    assert!(
        elsewhere.ok().get("gap").is_none(),
        "it has acknowledged nothing"
    );
}

#[tokio::test]
async fn the_stream_goes_on_where_the_device_of_the_join_acknowledged() {
    let world = World::start().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    let mut phone = bob(&world).await;
    let joined = phone
        .join("user:bob", json!({"device_id": "phone"}))
        .await
        .ok();
    let acked = json!({"cursor": joined["cursor"]});
    phone.push("user:bob", "message:ack", acked).await.ok();
    phone.close().await;
    say(&world, &topic, "meanwhile").await;

    let joined = bob(&world)
        .await
        .join("user:bob", json!({"device_id": "phone"}))
        .await;
    let joined = joined.ok();
    assert_eq!(
        joined["gap"][0]["payload"]["content"], "meanwhile",
        "{joined}"
    );
    let elsewhere = bob(&world).await.join("user:bob", nothing()).await;
    assert!(elsewhere.ok().get("gap").is_none());
}

#[tokio::test]
async fn a_socket_is_of_one_device() {
    let world = World::start().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    let bob = member("acme", "bob");
    let mut phone = world.socket_of(&bob, &[("device_id", "phone")]).await;
    for topic in [topic.as_str(), "user:bob"] {
        for device in ["laptop", "", &"x".repeat(200)] {
            let refused = phone
                .join(topic, json!({ "device_id": device }))
                .await
                .error();
            assert_eq!(refused["reason"], "invalid_field", "{topic} {device}");
            assert_eq!(refused["field"], "device_id", "{topic} {device}");
        }
        phone.join(topic, json!({"device_id": "phone"})).await.ok();
    }
}

/// Of a device that is new, or was forgotten, nobody knows what it has: it is told so, whatever it
/// has acknowledged in other conversations since, and loses nothing in silence. Once it has a place
/// in the stream over all, that is where it hears of the others.
#[tokio::test]
async fn a_device_of_which_no_place_is_known_begins_anew() {
    let world = World::start().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    let other = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    say(&world, &topic, "one").await;
    let params = json!({"device_id": "phone"});
    let mut phone = bob(&world).await;
    let stream = phone.join("user:bob", params.clone()).await.ok();
    assert_eq!(stream["reset_required"], true, "{stream}");
    for topic in [&topic, &other] {
        let joined = phone.join(topic, params.clone()).await.ok();
        assert_eq!(joined["reset_required"], true, "{joined}");
        let ack = json!({"seq": joined["last_seq"]});
        phone.push(topic, "message:ack", ack).await.ok();
    }
    let ack = json!({"cursor": stream["cursor"]});
    phone.push("user:bob", "message:ack", ack).await.ok();
    phone.close().await;
    let third = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    let mut phone = bob(&world).await;
    for topic in ["user:bob", &topic, &other, &third] {
        let joined = phone.join(topic, params.clone()).await.ok();
        assert!(joined.get("reset_required").is_none(), "{joined}");
    }
    phone.close().await;

    let person = crate::auth::test_kit::person("acme", "bob");
    let forgotten = world
        .node
        .store
        .forget_excess_devices(&person, 0, &[])
        .await;
    assert_eq!(forgotten, Ok(1));
    say(&world, &topic, "two").await;
    let mut phone = bob(&world).await;
    let joined = phone.join(&topic, params.clone()).await.ok();
    assert_eq!(joined["reset_required"], true, "{joined}");
    assert!(joined.get("gap").is_none(), "{joined}");
    let ack = json!({"seq": joined["last_seq"]});
    phone.push(&topic, "message:ack", ack).await.ok();
    phone.close().await;
    let mut phone = bob(&world).await;
    let joined = phone.join(&topic, params.clone()).await.ok();
    assert!(joined.get("reset_required").is_none(), "{joined}");
    for topic in ["user:bob", &other] {
        let joined = phone.join(topic, params.clone()).await.ok();
        assert_eq!(joined["reset_required"], true, "{joined}");
    }
}
