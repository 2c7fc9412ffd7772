use quikapp_actors::fanout::{ConnectionId, Deliveries, Delivery, Drained};
use quikapp_actors::fanout::{Lane, Outbox, OutboxLimits, SlotKey, Subscription};

use super::*;

/// Somebody on `chat:<id>`.
struct Ear {
    outbox: Arc<Outbox>,
    _subscription: Subscription,
}

impl Ear {
    fn on(world: &World, id: &ConversationId) -> Self {
        let outbox = Arc::new(Outbox::new(ConnectionId(u64::MAX), OutboxLimits::default()));
        let topic = format!("chat:{id}");
        let fanout = &world.node.fanout;
        Self {
            _subscription: fanout.subscribe(&topic, &outbox, SlotKey(0), Lane::Own),
            outbox,
        }
    }

    async fn hears(&self) -> (String, Value) {
        let mut heard = Deliveries::new();
        let drained = std::future::poll_fn(|cx| self.outbox.poll_drain(cx, &mut heard)).await;
        assert!(matches!(drained, Drained::Deliveries));
        assert_eq!(heard.len(), 1);
        match heard.pop_front() {
            Some(Delivery::Broadcast { broadcast, .. }) => (
                broadcast.event().to_owned(),
                broadcast.payload().parse().unwrap(),
            ),
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn typing_ends_at_once_when_the_socket_dies() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let ear = Ear::on(&world, &id);
    let topic = format!("presence:{id}");
    let mut alice = world.socket("alice").await;
    alice.join(&topic, nothing()).await.ok();
    alice.push(&topic, "activity:typing", nothing()).await.ok();
    let expected = json!({"conversation_id": id, "user_id": "alice", "timestamp": NOW});
    assert_eq!(ear.hears().await, ("typing:start".into(), expected.clone()));
    assert_eq!(world.backend.typing.list(&id).len(), 1);
    alice.close().await;
    assert_eq!(world.backend.typing.list(&id).len(), 0);
    assert_eq!(ear.hears().await, ("typing:stop".into(), expected));
}

#[tokio::test]
async fn only_members_type() {
    let world = World::start().await;
    let id = world.conversation(&["alice"]).await;
    let mut mallory = world.socket("mallory").await;
    mallory.join("presence:global", nothing()).await.ok();
    let typing = json!({"conversationId": id});
    let refused = mallory
        .push("presence:global", "activity:typing", typing)
        .await;
    assert_eq!(refused.reason(), "not_a_participant");
    assert!(world.backend.typing.list(&id).is_empty());
}

#[tokio::test]
async fn nobody_hears_an_invisible_person_type() {
    let world = World::start().await;
    let id = world.conversation(&["alice", "bob"]).await;
    let ear = Ear::on(&world, &id);
    let (chat, presence) = (format!("chat:{id}"), format!("presence:{id}"));
    let mut alice = world.socket("alice").await;
    alice.join(&chat, nothing()).await.ok();
    alice.join(&presence, nothing()).await.ok();
    for (status, heard) in [("invisible", 0), ("away", 1)] {
        let status = json!({ "status": status });
        alice.push(&presence, "status:update", status).await.ok();
        alice.push(&chat, "typing:start", nothing()).await.ok();
        alice
            .push(&presence, "activity:typing", nothing())
            .await
            .ok();
        assert_eq!(world.backend.typing.list(&id).len(), heard);
    }
    assert_eq!(ear.hears().await.0, "typing:start");
}

#[tokio::test]
async fn a_block_ends_typing_in_a_direct_conversation_and_nowhere_else() {
    let world = World::start().await;
    let group = world.conversation(&["alice", "bob"]).await;
    let direct = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Direct,
        name: None,
        created_by: UserId::new("alice").unwrap(),
        created_at: NOW,
        members: ["alice", "bob"]
            .map(|name| (UserId::new(name).unwrap(), Role::Member))
            .into(),
    };
    let pair = direct.id.clone();
    world.node.store.create_conversation(direct).await.unwrap();
    let (alice, bob) = (member("acme", "alice").person, member("acme", "bob").person);
    let set = world.node.store.set_block(&alice, &bob.user, true, NOW);
    set.await.unwrap();

    let mut client = world.socket("bob").await;
    for (id, allowed) in [(pair, false), (group, true)] {
        for (topic, event) in [
            (format!("chat:{id}"), "typing:start"),
            (format!("presence:{id}"), "activity:typing"),
        ] {
            client.join(&topic, nothing()).await.ok();
            let answer = client.push(&topic, event, nothing()).await;
            match allowed {
                true => drop(answer.ok()),
                false => assert_eq!(answer.reason(), "blocked", "{event}"),
            }
        }
        assert_eq!(world.backend.typing.list(&id).is_empty(), !allowed);
    }
}
