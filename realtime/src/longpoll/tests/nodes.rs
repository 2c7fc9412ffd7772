//! Requests that land on another node than their session's.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quikapp_actors::fanout::NodeId;
use quikapp_storage::{Addresses, NotShared};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::{
    auth::Secret,
    endpoint::{Nodes, test_kit::mount},
};

/// Where nodes are, in memory.
#[derive(Debug, Default)]
struct Map {
    addresses: Mutex<HashMap<u64, String>>,
    is_away: AtomicBool,
}

#[async_trait]
impl Addresses for Map {
    async fn put(&self, node: u64, address: &str) -> Result<(), NotShared> {
        self.addresses.lock().insert(node, address.to_owned());
        Ok(())
    }

    async fn find(&self, node: u64) -> Result<Option<String>, NotShared> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(NotShared("away".into())),
            false => Ok(self.addresses.lock().get(&node).cloned()),
        }
    }
}

struct Node {
    server: Server,
    _advertised: DropGuard,
}

async fn node(map: &Arc<Map>, number: u64, secret: &str) -> Node {
    let secret = Secret::new(secret.repeat(32)).unwrap();
    let idle = Duration::from_secs(1);
    let nodes = Nodes::new(NodeId(number), map.clone(), &secret, idle).unwrap();
    let config = config();
    let server = Server::with(&config, |builder, hub| {
        let builder = builder.nodes(Some(nodes.clone()));
        builder.mount(mount("/socket", hub, options()))
    });
    let server = server.await;
    let stop = CancellationToken::new();
    let address = format!("http://{}", server.address);
    tokio::spawn(nodes.advertise(address, stop.clone()));
    while !map.addresses.lock().contains_key(&number) {
        tokio::task::yield_now().await;
    }
    Node {
        server,
        _advertised: stop.drop_guard(),
    }
}

/// The same session, as seen through another node.
fn through<'s>(node: &'s Node, client: &Client<'_>) -> Client<'s> {
    Client {
        server: &node.server,
        token: client.token.clone(),
    }
}

#[tokio::test]
async fn requests_of_a_session_may_land_on_any_node() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let there = through(&two, &here);
    for turn in 2..12 {
        let (sends, polls) = match turn % 2 {
            0 => (&there, &here),
            _ => (&here, &there),
        };
        let (msg_ref, text) = (turn.to_string(), format!("{turn}/{}", "x".repeat(turn)));
        let sent = echo(&msg_ref, &text);
        let (status, messages) = tokio::join!(sends.post(&sent), polls.messages());
        assert_eq!(status, 200);
        assert_eq!(messages, [echoed(&msg_ref, &text)]);
    }
    // A batch keeps its type, a bad one is refused as it would be there, and a window passes.
    let batch = format!("{}\n{}", echo("20", "one"), echo("21", "two"));
    assert_eq!(
        there.send(&[NDJSON], &batch).await.json(),
        json!({"status": 200})
    );
    assert_eq!(
        there.messages().await,
        [echoed("20", "one"), echoed("21", "two")]
    );
    assert_eq!(there.send(&[NDJSON], "***").await.status, 400);
    assert_eq!(there.get().await["status"], 204);
}

#[tokio::test]
async fn the_address_of_a_client_is_decided_where_it_came_in() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let forged = [
        ("x-quikapp-passed-on", "1"),
        ("x-forwarded-for", "10.9.9.9"),
    ];
    let answer = two.server.request("GET", &here.target(), &forged).await;
    assert_eq!(
        answer.status, 404,
        "not passed on again, and nothing begins"
    );
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0");
    let answer = two.server.request("GET", &target, &forged).await;
    assert_eq!(answer.status, 404);
    let answer = two
        .server
        .send("POST", &here.target(), &forged, b"[]")
        .await;
    assert_eq!(answer.status, 404);
    // Pages of other origins are refused where the request comes in.
    let origin = [("origin", "https://evil.example")];
    let answer = two.server.request("GET", &here.target(), &origin).await;
    assert_eq!(answer.json(), json!({"status": 403}));
}

#[tokio::test]
async fn a_session_whose_node_is_gone_is_410_and_the_client_starts_over() {
    let map: Arc<Map> = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let there = through(&two, &here);
    assert_eq!(there.post(&echo("2", "one")).await, 200);
    // Its address is still there, and what is known is used while nothing can be asked.
    map.is_away.store(true, Ordering::Relaxed);
    assert_eq!(there.messages().await, [echoed("2", "one")]);
    map.is_away.store(false, Ordering::Relaxed);
    one.server.served.abort();
    one.server.stop.cancel();
    drop(one);
    assert_eq!(there.post(&echo("3", "two")).await, 410);
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0&token={}", there.token);
    let begun = two.server.request("GET", &target, &[]).await.json();
    assert_eq!(
        begun["status"], 403,
        "the token that `connect` reads is the last one"
    );
    let token = [("x-phoenix-longpoll-token", there.token.as_str())];
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0");
    let begun = two.server.request("GET", &target, &token).await.json();
    assert_eq!(begun["status"], 410);
    assert_ne!(begun["token"], there.token);
}

#[tokio::test]
async fn a_node_with_another_secret_is_asked_for_nothing() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "b").await];
    let here = Client::joined(&one.server, "a").await;
    assert_eq!(through(&two, &here).post(&echo("2", "one")).await, 410);
}
