//! What is to happen later happens, also if every process dies before: scheduled messages are sent
//! once, messages with a time disappear, and what offline devices lack is found again.

use std::time::Duration;

use quikapp_actors::{Clock, SystemClock};
use quikapp_storage::Timestamp;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, within};

/// A moment from now, as RFC 3339.
fn in_ms(ms: i64) -> String {
    Timestamp(SystemClock.now().0 + ms).to_string()
}

async fn history(server: &Server, conversation: &str, guest: &Guest) -> Vec<Value> {
    Rest::of(server).history(conversation, guest).await
}

/// Asks until the answer is as wanted.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_messages_are_sent_once_over_kill_9() {
    const MESSAGES: usize = 20;
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let conversation = rest.group(&people).await;
    let path = format!("/api/conversations/{conversation}/messages");
    for number in 0..MESSAGES {
        let at = in_ms(1_500 + 40 * i64::try_from(number).unwrap());
        // Half of them without an idempotency key of the client's.
        let client_id = (number % 2 == 0).then(|| format!("later {number}"));
        let body = json!({"content": format!("{number}"), "send_at": at, "client_id": client_id});
        rest.post(&path, &people[0], body).await;
    }
    // Killed before they are due, and again and again while they are being sent.
    for _ in 0..4 {
        server.kill().await;
        server = Server::start(dir.path()).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let scheduled = format!("{path}/scheduled");
    until("all are sent", async || {
        let left = Rest::of(&server).get(&scheduled, &people[0]).await;
        left["scheduled"].as_array().unwrap().is_empty()
    })
    .await;
    let history = history(&server, &conversation, &people[1]).await;
    let mut contents: Vec<usize> = history
        .iter()
        .map(|message| message["content"].as_str().unwrap().parse().unwrap())
        .collect();
    contents.sort_unstable();
    assert_eq!(contents, (0..MESSAGES).collect::<Vec<_>>());
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_disappears_although_the_server_was_killed() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let conversation = rest.group(&people).await;
    let topic = format!("chat:{conversation}");
    let mut ann = Client::connect(&server, &people[0]).await;
    ann.join(&topic, json!({})).await;
    let send = json!({"content": "for a moment", "ttl": 5});
    let sent = ann.done(&topic, "message:send", send).await;
    // Before the timer can have been kept.
    server.kill().await;
    let server = Server::start(dir.path()).await;
    let mut bob = Client::connect(&server, &people[1]).await;
    bob.join(&topic, json!({})).await;
    let gone = bob.expect(&topic, "message:deleted").await;
    assert_eq!(gone["message_id"], sent["id"]);
    assert_eq!(gone["reason"], "expired");
    let history = history(&server, &conversation, &people[1]).await;
    assert_eq!(history[0]["content"], Value::Null);
    server.terminate().await;
}

/// A server that is killed before its projections saw anything: the next one finds through what is
/// hot what the phone lacks, and shows it the conversation with the call first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_offline_devices_lack_is_found_again_after_kill_9() {
    const MESSAGES: usize = 120;
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let (quiet, ringing) = (rest.group(&people).await, rest.group(&people).await);
    let own = format!("user:{}", people[1].id);
    let mut phone = Client::connect_device(&server, &people[1], "phone").await;
    let joined = phone.join(&own, json!({})).await;
    let ack = json!({"cursor": joined["cursor"]});
    phone.done(&own, "message:ack", ack).await;
    drop(phone);
    let mut ann = Client::connect(&server, &people[0]).await;
    for (conversation, kind, count) in [(&quiet, "text", MESSAGES), (&ringing, "call", 1)] {
        let topic = format!("chat:{conversation}");
        ann.join(&topic, json!({})).await;
        for number in 0..count {
            let send = json!({"content": format!("{number}"), "type": kind});
            ann.done(&topic, "message:send", send).await;
        }
    }
    server.kill().await;
    let server = Server::start(dir.path()).await;
    let mut phone = Client::connect_device(&server, &people[1], "phone").await;
    let mut reply = json!({});
    until("the call comes first", async || {
        reply = phone.join(&own, json!({})).await;
        reply["gap"][0]["conversation_id"] == ringing.as_str()
    })
    .await;
    let mut seqs = Vec::new();
    loop {
        for entry in reply["gap"].as_array().unwrap() {
            if entry["conversation_id"] == quiet.as_str() {
                seqs.push(usize::try_from(entry["seq"].as_u64().unwrap()).unwrap());
            }
        }
        if reply["more"] != true {
            break;
        }
        let ack = json!({"cursor": reply["cursor"]});
        reply = phone.call(&own, "message:ack", ack).await.unwrap().1;
    }
    assert_eq!(seqs, (1..=MESSAGES).collect::<Vec<_>>());
    server.terminate().await;
}
