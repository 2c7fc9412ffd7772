//! Messages of every class, messages that disappear, and messages that are sent later.

use super::*;

async fn pair() -> (World, String, TestClient, TestClient) {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    let mut ann = world.socket("ann").await;
    let mut bob = world.socket("bob").await;
    ann.join(&topic, nothing()).await.ok();
    bob.join(&topic, nothing()).await.ok();
    (world, topic, ann, bob)
}

async fn history(client: &mut TestClient, topic: &str) -> Vec<Value> {
    let page = client.push(topic, "message:history", nothing()).await.ok();
    page["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_ephemeral_message_reaches_whoever_is_connected_and_leaves_no_trace() {
    let (world, topic, mut ann, mut bob) = pair().await;
    // Another device of bob's has only the stream over all conversations.
    let mut stream = world.socket("bob").await;
    stream.join("user:bob", nothing()).await.ok();
    let send = json!({"content": "now or never", "class": "ephemeral", "client_id": "c1"});
    let sent = ann.push(&topic, "message:send", send).await.ok();
    assert!(sent.get("seq").is_none(), "{sent}");
    holds(
        &sent,
        json!({"content": "now or never", "class": "ephemeral", "sender_id": "ann"}),
    );
    assert_eq!(bob.event(&topic, "message:new").await, sent);
    assert_eq!(stream.event("user:bob", "message:new").await, sent);
    assert!(history(&mut bob, &topic).await.is_empty());
    let kept = ann
        .push(&topic, "message:send", json!({"content": "kept"}))
        .await
        .ok();
    assert_eq!(kept["seq"], 1, "it took no place");
    let mut late = world.socket("bob").await;
    let joined = late.join(&topic, json!({"last_seq": 0})).await.ok();
    assert_eq!(joined["gap"].as_array().unwrap().len(), 1);
}

/// Who is blocked cannot get past the sequencer with what no sequencer sees.
#[tokio::test]
async fn an_ephemeral_message_does_not_pass_a_block() {
    let world = World::start().await;
    let user = |name: &str| (UserId::new(name).unwrap(), Role::Member);
    let new = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Direct,
        name: None,
        created_by: UserId::new("ann").unwrap(),
        created_at: NOW,
        members: vec![user("ann"), user("bob")],
    };
    let topic = format!("chat:{}", new.id);
    world.backend.conversations.create(new).await.unwrap();
    let bob = crate::auth::test_kit::person("acme", "bob");
    let (store, ann) = (&world.node.store, UserId::new("ann").unwrap());
    store.set_block(&bob, &ann, true, NOW).await.unwrap();
    let mut ann = world.socket("ann").await;
    ann.join(&topic, nothing()).await.ok();
    for class in ["ephemeral", "persistent", "until_delivered"] {
        let send = json!({"content": "hey", "class": class});
        let refused = ann.push(&topic, "message:send", send).await;
        assert_eq!(refused.reason(), "blocked", "{class}");
    }
}

#[tokio::test]
async fn a_message_with_a_ttl_disappears_for_everybody() {
    let (world, topic, mut ann, mut bob) = pair().await;
    let send = json!({"content": "for a minute", "ttl": 60});
    let sent = ann.push(&topic, "message:send", send).await.ok();
    assert_eq!(sent["ttl"], 60);
    let expires_at = quikapp_storage::Timestamp(NOW.0 + 60_000);
    assert_eq!(sent["expires_at"], expires_at.to_string());
    assert_eq!(bob.event(&topic, "message:new").await, sent);
    world.node.clock.advance_ms(60_000);
    let gone = bob.event(&topic, "message:deleted").await;
    holds(
        &gone,
        json!({
            "message_id": sent["id"], "message_seq": 1, "seq": 2,
            "deleted_by": null, "reason": "expired",
        }),
    );
    let shown = history(&mut bob, &topic).await;
    holds(
        &shown[0],
        json!({"content": null, "deleted_reason": "expired", "seq": 1}),
    );
    // A deletion by a person says by whom, and no reason.
    let other = ann
        .push(&topic, "message:send", json!({"content": "oops"}))
        .await
        .ok();
    let delete = json!({"message_id": other["id"]});
    ann.push(&topic, "message:delete", delete).await.ok();
    let deleted = bob.event(&topic, "message:deleted").await;
    assert_eq!(deleted["deleted_by"], "ann");
    assert!(deleted.get("reason").is_none());
}

#[tokio::test]
async fn a_message_is_forgotten_once_every_device_has_acknowledged_it() {
    let (world, topic, mut ann, _bob) = pair().await;
    let grant = member("acme", "bob");
    let mut phone = world.socket_of(&grant, &[("device_id", "phone")]).await;
    let mut laptop = world.socket_of(&grant, &[("device_id", "laptop")]).await;
    for device in [&mut phone, &mut laptop] {
        device.join(&topic, nothing()).await.ok();
        device
            .push(&topic, "message:ack", json!({"seq": 0}))
            .await
            .ok();
    }
    let send = json!({"content": "burn after reading", "class": "until_delivered"});
    let sent = ann.push(&topic, "message:send", send).await.ok();
    phone
        .push(&topic, "message:ack", json!({"seq": 1}))
        .await
        .ok();
    ann.push(&topic, "message:send", json!({"content": "other"}))
        .await
        .ok();
    let shown = history(&mut ann, &topic).await;
    assert_eq!(shown[0]["content"], "burn after reading");
    laptop
        .push(&topic, "message:ack", json!({"seq": 1}))
        .await
        .ok();
    let forgotten = ann.event(&topic, "message:forgotten").await;
    holds(
        &forgotten,
        json!({"message_id": sent["id"], "reason": "delivered", "message_seq": 1}),
    );
    let shown = history(&mut ann, &topic).await;
    assert_eq!(shown[0]["content"], Value::Null);
    let mut late = world.socket("ann").await;
    let joined = late.join(&topic, json!({"last_seq": 0})).await.ok();
    assert_eq!(joined["gap"][0]["payload"]["content"], Value::Null);
    assert_eq!(joined["gap"][0]["payload"]["client_id"], sent["client_id"]);
}

#[tokio::test]
async fn a_scheduled_message_is_told_to_ones_devices_and_sent_in_time() {
    let (world, topic, mut ann, mut bob) = pair().await;
    let mut other = world.socket("ann").await;
    other.join("user:ann", nothing()).await.ok();
    let at = quikapp_storage::Timestamp(NOW.0 + 60_000);
    let send = json!({"content": "happy birthday", "sendAt": at, "clientId": "c1"});
    let scheduled = ann.push(&topic, "message:send", send.clone()).await.ok();
    assert_eq!(scheduled["send_at"], at.to_string());
    let changed = other.event("user:ann", "scheduled:changed").await;
    holds(
        &changed,
        json!({"id": scheduled["id"], "status": "scheduled"}),
    );
    let again = ann.push(&topic, "message:send", send).await.ok();
    assert_eq!(again, scheduled);
    let list = ann
        .push(&topic, "message:scheduled:list", nothing())
        .await
        .ok();
    assert_eq!(list["scheduled"], json!([scheduled]));
    let theirs = bob
        .push(&topic, "message:scheduled:list", nothing())
        .await
        .ok();
    assert_eq!(theirs["scheduled"], json!([]));
    world.node.clock.advance_ms(60_000);
    let sent = bob.event(&topic, "message:new").await;
    holds(
        &sent,
        json!({"id": scheduled["id"], "content": "happy birthday", "seq": 1}),
    );
    let changed = other.event("user:ann", "scheduled:changed").await;
    assert_eq!(changed["status"], "sent");
    let list = ann
        .push(&topic, "message:scheduled:list", nothing())
        .await
        .ok();
    assert_eq!(list["scheduled"], json!([]));
}

#[tokio::test]
async fn a_scheduled_message_is_taken_back_by_its_author_alone() {
    let (world, topic, mut ann, mut bob) = pair().await;
    let at = quikapp_storage::Timestamp(NOW.0 + 60_000);
    let send = json!({"content": "never mind", "send_at": at});
    let scheduled = ann.push(&topic, "message:send", send).await.ok();
    let named = json!({"id": scheduled["id"]});
    let refused = bob
        .push(&topic, "message:scheduled:cancel", named.clone())
        .await;
    assert_eq!(refused.reason(), "message_not_found");
    ann.push(&topic, "message:scheduled:cancel", named.clone())
        .await
        .ok();
    let again = ann.push(&topic, "message:scheduled:cancel", named).await;
    assert_eq!(again.reason(), "message_not_found");
    world.node.clock.advance_ms(60_000);
    ann.push(&topic, "message:send", json!({"content": "something else"}))
        .await
        .ok();
    assert_eq!(
        bob.event(&topic, "message:new").await["content"],
        "something else"
    );
}

/// Between writing and sending, ann was removed, or all of her tokens were revoked.
#[tokio::test]
async fn who_may_no_longer_write_is_told_on_their_stream() {
    for revoked in [false, true] {
        let world = World::start().await;
        let id = world.conversation(&["bob", "ann"]).await;
        let topic = format!("chat:{id}");
        let mut ann = world.socket("ann").await;
        ann.join(&topic, nothing()).await.ok();
        let mut stream = world.socket("ann").await;
        stream.join("user:ann", nothing()).await.ok();
        let at = quikapp_storage::Timestamp(NOW.0 + 60_000);
        let send = json!({"content": "see you", "send_at": at, "client_id": "c1"});
        let scheduled = ann.push(&topic, "message:send", send).await.ok();
        let person = crate::auth::test_kit::person("acme", "ann");
        let expected = if revoked {
            let revocations = &world.node.authenticator.revocations;
            revocations.revoke_person(person.clone()).await.unwrap();
            "forbidden"
        } else {
            let remove = conversation::Command::RemoveMember {
                user: person.user.clone(),
            };
            let bob = crate::auth::test_kit::person("acme", "bob");
            let removed = world.backend.conversations.submit(&bob, &id, remove);
            removed.await.unwrap();
            "not_a_participant"
        };
        world.node.clock.advance_ms(60_000);
        let failed = if revoked {
            // Her sockets are closed; a new token finds it.
            let store = &world.node.store;
            let own = person.own_conversation();
            let read = async || {
                let log = store
                    .entries(&own, quikapp_storage::Seq(0), 99)
                    .await
                    .unwrap();
                let told = log
                    .iter()
                    .find(|it| it.payload.contains("scheduled:failed"));
                told.map(|it| it.payload.to_string())
            };
            let waiting = async {
                loop {
                    if let Some(found) = read().await {
                        break found;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let found = tokio::time::timeout(std::time::Duration::from_secs(10), waiting);
            let notice: Value = serde_json::from_str(&found.await.unwrap()).unwrap();
            notice["payload"].clone()
        } else {
            stream.event("user:ann", "message:scheduled:failed").await
        };
        holds(
            &failed,
            json!({
                "id": scheduled["id"], "conversation_id": id.as_str(), "client_id": "c1",
                "reason": expected, "content": "see you",
            }),
        );
    }
}
