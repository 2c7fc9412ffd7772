//! From connect to close: expiry, renewal, disconnect, drain.

use std::{sync::Arc, time::Duration};

use quikapp_actors::{
    Clock,
    clock::ManualClock,
    fanout::{Broadcast, Close, Fanout},
};
use quikapp_protocol::{Payload, Vsn};
use quikapp_storage::Timestamp;
use serde_json::json;

use super::app::app;
use crate::{
    channel::{Channel, Context, Flow, JoinError, Router},
    socket::{
        ConnectInfo, ConnectRefusal, Connected, DrainOptions, Hub, Mount, MountOptions,
        SocketHandler,
    },
    testing::{TestClient, connect_info},
};

/// Tokens are the second at which they expire.
struct Expiring;

struct Token {
    expires_at: Timestamp,
}

fn token(text: &str) -> Option<Token> {
    let seconds: i64 = text.parse().ok()?;
    Some(Token {
        expires_at: Timestamp(seconds * 1000),
    })
}

impl SocketHandler for Expiring {
    type Assigns = Token;

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<Token>, ConnectRefusal> {
        let text = info.param("token").unwrap_or_default();
        assert_ne!(text, "crash", "as asked");
        if text == "slow" {
            std::future::pending::<()>().await;
        }
        let token = token(text).ok_or_else(|| ConnectRefusal::forbidden("token"))?;
        Ok(Connected::new(token))
    }

    fn expires_at(&self, token: &Token) -> Option<Timestamp> {
        Some(token.expires_at)
    }

    async fn reauthenticate(&self, _: &Token, text: String) -> Result<Token, JoinError> {
        token(&text).ok_or_else(|| JoinError::reason("token_invalid"))
    }
}

struct Expiry;

impl Channel for Expiry {
    type Assigns = Token;
    type State = ();

    async fn join(&self, _: &mut Context<Token>, _: Payload) -> Result<((), Payload), JoinError> {
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(&self, (): &mut (), cx: &mut Context<Token>, _: &str, _: Payload) -> Flow {
        Flow::ok(json!({"expires_at": cx.assigns().expires_at.0}))
    }
}

fn expiring(clock: &ManualClock) -> Mount {
    let hub = Hub::new(Fanout::new(), Arc::new(clock.clone()) as Arc<dyn Clock>);
    let router = Router::new().channel("room:*", Expiry);
    Mount::new("/socket", Expiring, router, &hub, MountOptions::default())
}

/// Moves both clocks.
async fn pass(clock: &ManualClock, seconds: u64) {
    clock.advance_ms(i64::try_from(seconds).unwrap() * 1000);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_closes_the_socket() {
    let clock = ManualClock::at(Timestamp(0));
    let mount = expiring(&clock);
    let mut client = TestClient::connect_as(&mount, &[("token", "30")]).await;
    client.join("room:1", json!({})).await.ok();
    pass(&clock, 29).await;
    client.push("room:1", "echo", json!({})).await.ok();
    pass(&clock, 2).await;
    let close = client.closed().await;
    assert_eq!((close.code, &*close.reason), (4001, "token_expired"));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_keeps_it_open() {
    let clock = ManualClock::at(Timestamp(0));
    let mount = expiring(&clock);
    let mut client = TestClient::connect_as(&mount, &[("token", "30")]).await;
    client.join("room:1", json!({})).await.ok();
    let refused = client
        .push("room:1", "access_token", json!({"access_token": "junk"}))
        .await;
    assert_eq!(refused.reason(), "token_invalid");
    let refused = client
        .push("room:1", "access_token", json!({"token": "45"}))
        .await
        .error();
    assert_eq!(
        refused,
        json!({"reason": "invalid_field", "field": "access_token"})
    );
    client
        .push("room:1", "access_token", json!({"access_token": "45"}))
        .await
        .ok();
    let seen = client.push("room:1", "echo", json!({})).await.ok();
    assert_eq!(
        seen,
        json!({"expires_at": 45_000}),
        "channels see what was renewed"
    );
    pass(&clock, 40).await;
    client.push("room:1", "echo", json!({})).await.ok();
    pass(&clock, 6).await;
    assert_eq!(client.closed().await.code, 4001);
}

#[tokio::test(start_paused = true)]
async fn connects_that_are_refused_crash_or_hang() {
    let mount = expiring(&ManualClock::at(Timestamp(0)));
    for (token, status) in [("junk", 403), ("crash", 500), ("slow", 503)] {
        let info = connect_info(Vsn::V2, &[("token", token)]);
        let refusal = TestClient::try_connect(&mount, info).await.unwrap_err();
        assert_eq!(refusal.status, status, "{token}");
    }
    assert_eq!(mount.hub().connections.count(), 0);
}

#[tokio::test]
async fn disconnect_closes_every_socket_of_an_id() {
    let (mount, _) = app();
    let mut alice = TestClient::connect_as(&mount, &[("id", "user:a")]).await;
    let again = TestClient::connect_as(&mount, &[("id", "user:a")]).await;
    let mut bob = TestClient::connect_as(&mount, &[("id", "user:b")]).await;
    alice.join("room:1", json!({})).await.ok();
    assert_eq!(
        mount
            .hub()
            .fanout
            .disconnect("user:a", &Close::disconnected()),
        2
    );
    assert_eq!(alice.closed().await, Close::disconnected());
    assert_eq!(again.closed().await.code, 1001);
    bob.join("room:1", json!({})).await.ok();
    mount
        .hub()
        .fanout
        .publish(Broadcast::new("user:b", "disconnect", json!({}).into()));
    assert_eq!(
        bob.closed().await.code,
        1001,
        "as Phoenix's Endpoint.broadcast does it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_all_in_batches_and_takes_no_more() {
    let (mount, _) = app();
    let mut clients = Vec::new();
    for n in 0..5 {
        let mut client = TestClient::connect(&mount).await;
        if n > 0 {
            client.join("room:1", json!({})).await.ok();
        }
        clients.push(client);
    }
    let options = DrainOptions {
        batch: 2,
        interval: Duration::from_secs(2),
        deadline: Duration::from_secs(30),
    };
    let connections = mount.hub().connections.clone();
    let started = tokio::time::Instant::now();
    let draining = tokio::spawn(async move { connections.drain(&options).await });
    for client in clients {
        assert_eq!(client.closed().await.code, 1012, "joined or not");
    }
    assert_eq!(draining.await.unwrap(), 0);
    assert_eq!(started.elapsed().as_secs(), 4, "three batches, two pauses");
    let refusal = TestClient::try_connect(&mount, connect_info(Vsn::V2, &[])).await;
    assert_eq!(refusal.unwrap_err().status, 503);
}

#[tokio::test]
async fn a_socket_that_goes_leaves_nothing_behind() {
    let (mount, levers) = app();
    let mut client = TestClient::connect_as(&mount, &[("id", "user:a")]).await;
    client.join("room:1", json!({})).await.ok();
    client.join("room:2", json!({})).await.ok();
    client.start_push("room:2", "wait", json!({})).await;
    client.so_far().await;
    levers.gate.add_permits(1);
    client.close().await;
    assert_eq!(levers.alive.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(mount.hub().fanout.topics(), 0);
    assert_eq!(mount.hub().connections.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_does_not_keep_a_dead_socket() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.start_push("room:1", "wait", json!({})).await;
    client.so_far().await;
    client.close().await;
    assert_eq!(levers.alive.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(mount.hub().connections.count(), 0);
}
