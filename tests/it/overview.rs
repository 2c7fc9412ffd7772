//! What waits for a person is known while somebody asks, is the same after `kill -9`, and costs
//! nothing while nobody does.

use std::{ffi::OsStr, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, quikapp, within};

const PATH: &str = "/api/users/me/overview";

/// A server that lets persons go at once.
async fn start(dir: &Path) -> Server {
    let environment = [("QUIKAPP_ENTITIES__IDLE", OsStr::new("200ms"))];
    Server::start_as(dir, &dir.join("data"), "127.0.0.1:0", &[], &environment).await
}

async fn overview(server: &Server, guest: &Guest) -> Value {
    Rest::of(server).get(PATH, guest).await
}

/// How many persons are in memory, as an operator sees it.
async fn in_memory(server: &Server, dir: &Path) -> u64 {
    let mut command = quikapp();
    command
        .args(["tree", "--json", "--url", &server.url, "--data-dir"])
        .arg(&server.data_dir)
        .current_dir(dir);
    let output = command.output().await.unwrap();
    let tree: Value = serde_json::from_slice(&output.stdout).unwrap();
    count_of("user", &tree)
}

fn count_of(kind: &str, node: &Value) -> u64 {
    let children = node["children"].as_array();
    let below = children.into_iter().flatten();
    let below: u64 = below.map(|child| count_of(kind, child)).sum();
    match node["kind"] == kind {
        true => below + node["count"].as_u64().unwrap(),
        false => below,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overview_outlives_the_process_and_its_entity_leaves_when_idle() {
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let [ann, bob] = &people;
    let conversation = rest.group(&people).await;
    let topic = format!("chat:{conversation}");
    let mut phone = Client::connect_device(&server, bob, "phone").await;
    phone.join(&topic, json!({})).await;
    let path = format!("/api/conversations/{conversation}/messages");
    let root = rest.post(&path, bob, json!({"content": "mine"})).await;
    for content in ["one", "two"] {
        rest.post(&path, ann, json!({ "content": content })).await;
    }
    let answer = json!({"content": "answer", "thread_root": root["id"]});
    rest.post(&path, ann, answer).await;

    let mut seen = overview(&server, bob).await;
    assert!(seen["badge"].as_u64().unwrap() >= 2, "{seen}");
    within("the thread is counted", async {
        while seen["badge"] != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen = overview(&server, bob).await;
        }
    })
    .await;
    let listed = &seen["conversations"][0];
    assert_eq!(listed["conversation_id"], conversation.as_str());
    assert_eq!(listed["unread"], 2);
    let thread = json!([{"thread_root": root["id"], "unread": 1}]);
    assert_eq!(listed["threads"], thread);

    within("the person is let go", async {
        while in_memory(&server, dir.path()).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // Connected all the same, and what they read is in the next answer.
    let read = json!({"seq": 3});
    phone.done(&topic, "message:read", read).await;
    assert_eq!(overview(&server, bob).await["badge"], 1);
    let before = overview(&server, bob).await;
    server.kill().await;

    let server = start(dir.path()).await;
    let after = overview(&server, bob).await;
    assert_eq!(after["conversations"], before["conversations"]);
    assert_eq!(after["badge"], 1);
    let metrics = Rest::of(&server).metrics().await;
    assert!(
        metrics.contains("quikapp_actors{kind=\"user\"}"),
        "{metrics}"
    );
    server.terminate().await;
}
