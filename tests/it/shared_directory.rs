//! Two processes on one data directory are safe: they take a conversation from each other, and
//! nothing is lost, doubled or out of order for anyone.

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server};

const EACH: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_conversation() {
    let dir = tempdir().unwrap();
    let here = Server::start_with(dir.path(), "127.0.0.1:0", &[]).await;
    let there = Server::start_with(dir.path(), "127.0.0.2:0", &[]).await;
    let rest = Rest::of(&here);
    let (alice, bob) = (rest.guest("Alice").await, rest.guest("Bob").await);
    let conversation = rest.group(&[alice.clone(), bob.clone()]).await;
    let topic = format!("chat:{conversation}");

    let sending = [(&here, &alice), (&there, &bob)].map(|(server, person)| {
        let topic = topic.clone();
        async move { send_all(server, person, &topic).await }
    });
    let mut listener = Client::connect(&there, &alice).await;
    listener.join(&topic, json!({ "last_seq": 0 })).await;
    futures_util::future::join_all(sending).await;

    let history = rest.history(&conversation, &bob).await;
    assert_eq!(history.len() as u64, 2 * EACH);
    let mut last = 0;
    for message in &history {
        let heard = listener.expect(&topic, "message:new").await;
        assert_eq!(heard["id"], message["id"], "heard in the order of the log");
        let seq = heard["seq"].as_u64().unwrap();
        assert!(seq > last);
        last = seq;
    }
}

async fn send_all(server: &Server, person: &Guest, topic: &str) {
    let mut client = Client::connect(server, person).await;
    client.join(topic, json!({})).await;
    for number in 0..EACH {
        let payload = json!({ "client_id": number.to_string(), "type": "text", "content": "x" });
        while !sent(&mut client, topic, &payload).await {}
    }
}

/// Whether it was accepted; `moved` asks to try again.
async fn sent(client: &mut Client, topic: &str, payload: &Value) -> bool {
    let (status, reply) = client
        .call(topic, "message:send", payload.clone())
        .await
        .unwrap();
    assert!(status == "ok" || reply["reason"] == "moved", "{reply}");
    status == "ok"
}
