//! What a membership remembers is plain data: every product channel goes on with a state that was
//! written down and read again, as if another process had taken it over.

use std::{ops::Range, sync::Arc};

use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_protocol::Payload;
use quikapp_storage::Seq;

use super::*;
use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, Router},
    channels::{
        broadcast::BroadcastChannel, chat::ChatChannel, lobby::LobbyChannel,
        presence::PresenceChannel, user::UserChannel,
    },
};

/// A channel whose state is kept as text, and read anew for each thing that happens.
struct Frozen<C>(C);

fn freeze<S: serde::Serialize>(state: &S) -> String {
    serde_json::to_string(state).unwrap()
}

fn thaw<S: serde::de::DeserializeOwned>(state: &str) -> S {
    serde_json::from_str(state).unwrap()
}

impl<C: Channel<Assigns = Principal>> Channel for Frozen<C> {
    type Assigns = Principal;
    type State = String;

    async fn join(
        &self,
        cx: &mut Context<Principal>,
        params: Payload,
    ) -> Result<(String, Payload), JoinError> {
        let (state, reply) = self.0.join(cx, params).await?;
        Ok((freeze(&state), reply))
    }

    async fn handle_in(
        &self,
        state: &mut String,
        cx: &mut Context<Principal>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        let mut thawed = thaw(state);
        let flow = self.0.handle_in(&mut thawed, cx, event, payload).await;
        *state = freeze(&thawed);
        flow
    }

    async fn handle_info(
        &self,
        state: &mut String,
        cx: &mut Context<Principal>,
        note: Note,
    ) -> Flow {
        let mut thawed = thaw(state);
        let flow = self.0.handle_info(&mut thawed, cx, note).await;
        *state = freeze(&thawed);
        flow
    }

    fn intercepts(&self) -> &'static [&'static str] {
        self.0.intercepts()
    }

    async fn handle_out(
        &self,
        state: &mut String,
        cx: &mut Context<Principal>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        let mut thawed = thaw(state);
        let flow = self.0.handle_out(&mut thawed, cx, broadcast).await;
        *state = freeze(&thawed);
        flow
    }

    async fn fill_gap(
        &self,
        state: &mut String,
        cx: &mut Context<Principal>,
        missing: Range<Seq>,
    ) -> Vec<Arc<Broadcast>> {
        let mut thawed = thaw(state);
        let filled = self.0.fill_gap(&mut thawed, cx, missing).await;
        *state = freeze(&thawed);
        filled
    }
}

fn frozen(backend: &Backend) -> Router<Principal> {
    Router::new()
        .channel("chat:lobby", Frozen(LobbyChannel::new(backend.clone())))
        .channel("presence:*", Frozen(PresenceChannel::new(backend.clone())))
        .channel(
            "broadcast:*",
            Frozen(BroadcastChannel::new(backend.clone())),
        )
        .channel("chat:*", Frozen(ChatChannel::new(backend.clone())))
        .channel("user:*", Frozen(UserChannel::new(backend.clone())))
}

/// A world whose channels freeze.
async fn cold() -> World {
    let world = World::with_open_rooms().await;
    let router = frozen(&world.backend);
    world.with_router(router)
}

/// More than one batch, so that there is something to remember between two of them.
const MANY: u64 = 150;

async fn say_much(world: &World, topic: &str) {
    let mut ann = world.socket("ann").await;
    ann.join(topic, nothing()).await.ok();
    for number in 1..=MANY {
        let said = json!({ "content": number.to_string() });
        ann.push(topic, "message:send", said).await.ok();
    }
}

#[tokio::test]
async fn a_conversation_goes_on_in_the_middle_of_its_replay() {
    let world = cold().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    say_much(&world, &topic).await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(&topic, json!({"last_seq": 0})).await.ok();
    assert_eq!(joined["more"], true);
    let rest = bob
        .push(&topic, "message:ack", json!({"seq": 100}))
        .await
        .ok();
    assert_eq!(rest["gap"].as_array().unwrap().len(), 50);
    bob.push(&topic, "typing:start", nothing()).await.ok();
    let sent = bob.push(&topic, "message:send", json!({"content": "last"}));
    assert_eq!(sent.await.ok()["seq"], MANY + 1);
    let live = bob.event(&topic, "message:new").await;
    assert_eq!(live["content"], "last", "live again, and the same once");
}

#[tokio::test]
async fn a_stream_goes_on_in_the_middle_of_its_replay() {
    let world = cold().await;
    let topic = format!("chat:{}", world.conversation(&["ann", "bob"]).await);
    let first = world.socket("bob").await.join("user:bob", nothing()).await;
    let cursor = first.ok()["cursor"].clone();
    say_much(&world, &topic).await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join("user:bob", json!({ "cursor": cursor })).await.ok();
    assert_eq!(joined["more"], true);
    let next = json!({"cursor": joined["cursor"]});
    let rest = bob.push("user:bob", "message:ack", next).await.ok();
    assert_eq!(rest["gap"].as_array().unwrap().len(), 50);
    let mut ann = world.socket("ann").await;
    ann.join(&topic, nothing()).await.ok();
    ann.push(&topic, "message:send", json!({"content": "live"}))
        .await
        .ok();
    let live = bob.event("user:bob", "message:new").await;
    assert_eq!(live["content"], "live");
}

#[tokio::test]
async fn rooms_and_presence_go_on() {
    let world = cold().await;
    let mut bob = world.socket("bob").await;
    for topic in ["chat:lobby", "presence:lobby"] {
        bob.join(topic, nothing()).await.ok();
    }
    let params = json!({"self": false, "presence": true});
    bob.join("broadcast:game", params.clone()).await.ok();
    let mut ann = world.socket("ann").await;
    ann.join("broadcast:game", params).await.ok();
    ann.push("broadcast:game", "move", json!({"x": 1}))
        .await
        .ok();
    assert_eq!(bob.event("broadcast:game", "move").await, json!({"x": 1}));
    bob.event("chat:lobby", "user:online").await;
    let chosen = json!({"status": "busy"});
    bob.push("presence:lobby", "status:update", chosen)
        .await
        .ok();
    let told = bob.event("presence:lobby", "user:status:changed").await;
    assert_eq!(told["status"], "busy");
    let heard = ann.so_far().await;
    assert!(
        !events(&heard).contains(&"move"),
        "`self: false` is remembered"
    );
}
