//! A broadcast that a channel sends to one node (`cx.direct_broadcast`) is heard by the subscribers
//! there, and by nobody else.

use std::{path::Path, sync::Arc, time::Duration};

use quikapp_actors::{
    SystemClock,
    fanout::{Fanout, NodeId},
    spread,
    supervision::{Supervisor, SupervisorSpec},
};
use quikapp_protocol::Payload;
use quikapp_realtime::{
    channel::{Channel, Context, Flow, JoinError, Router},
    socket::{Hub, Mount, MountOptions},
    testing::{Anybody, TestClient},
};
use quikapp_storage::{Config, ServerUrl, connect};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, timeout};

use super::server;
use crate::support::PATIENCE;

const ROOM: &str = "room:here";

/// Says what its clients say: to everybody, or to those on the node that they name.
struct Speaker;

impl Channel for Speaker {
    type Assigns = ();
    type State = ();

    async fn join(&self, _: &mut Context<()>, _: Payload) -> Result<((), Payload), JoinError> {
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        (): &mut (),
        cx: &mut Context<()>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        let said: Value = payload.parse().unwrap();
        match said["to"].as_u64() {
            Some(node) => cx.direct_broadcast(NodeId(node), event, payload),
            None => cx.broadcast(event, payload),
        }
        Flow::ok(Payload::empty_object())
    }
}

/// A node with one client in the room.
struct Node {
    client: TestClient,
    _tree: Supervisor,
}

impl Node {
    async fn start(dir: &Path, redis: &str, number: u64) -> Self {
        let config = Config {
            redis: Some(ServerUrl::parse(redis).unwrap()),
            ..Config::at(dir)
        };
        let shared = connect(&config).await.unwrap().shared.unwrap();
        let fanout = Fanout::new();
        let tree = Supervisor::start(SupervisorSpec::new("node"));
        spread::start_under(&tree, &fanout, &shared, NodeId(number));
        let hub = Hub::new(fanout, Arc::new(SystemClock));
        let router = Router::new().channel("room:*", Speaker);
        let options = MountOptions::default();
        let mount = Mount::new("/socket", Anybody(()), router, &hub, options);
        let mut client = TestClient::connect(&mount).await;
        client.join(ROOM, json!({})).await.ok();
        Self {
            client,
            _tree: tree,
        }
    }

    async fn says(&mut self, event: &str, to: Option<u64>) {
        let said = self.client.push(ROOM, event, json!({ "to": to }));
        said.await.ok();
    }

    /// Which events it has heard, up to this one.
    async fn heard_until(&mut self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let next = self.client.next().await.event;
            if next == last {
                return heard;
            }
            heard.push(next);
        }
    }
}

/// Says hello to everybody until it is heard: the nodes may not be connected yet.
async fn are_connected(speaker: &mut Node, listener: &mut Node) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        speaker.says("hello", None).await;
        let heard = listener.client.event(ROOM, "hello");
        if timeout(Duration::from_millis(500), heard).await.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "never heard");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_to_one_node_is_heard_there_alone() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let mut one = Node::start(dir.path(), &redis, 1).await;
    let mut two = Node::start(dir.path(), &redis, 2).await;
    let mut three = Node::start(dir.path(), &redis, 3).await;
    are_connected(&mut one, &mut two).await;
    are_connected(&mut one, &mut three).await;
    for (event, to) in [
        ("begin", None),
        ("to three", Some(3)),
        ("to two", Some(2)),
        ("to one", Some(1)),
        ("to nobody", Some(4)),
        ("to three again", Some(3)),
        ("end", None),
    ] {
        one.says(event, to).await;
    }
    // What comes from one node comes in its order: whatever was sent before the end is there.
    for (node, expected) in [
        (&mut one, vec!["to one"]),
        (&mut two, vec!["to two"]),
        (&mut three, vec!["to three", "to three again"]),
    ] {
        node.heard_until("begin").await;
        assert_eq!(node.heard_until("end").await, expected);
    }
}
