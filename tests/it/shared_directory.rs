//! Two processes on one data directory are safe: they take a conversation from each other, and
//! nothing is lost, doubled or out of order for anyone.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::time::Instant;

use crate::support::{Client, Guest, Rest, Server};

const EACH: u64 = 20;

/// Two processes on one directory, and a conversation of Alice, who made it, and Bob.
struct Two {
    here: Server,
    there: Server,
    /// Of the process here.
    rest: Rest,
    alice: Guest,
    bob: Guest,
    conversation: String,
    topic: String,
    _dir: TempDir,
}

async fn two() -> Two {
    let dir = tempdir().unwrap();
    let here = Server::start_with(dir.path(), "127.0.0.1:0", &[]).await;
    let there = Server::start_with(dir.path(), "127.0.0.2:0", &[]).await;
    let rest = Rest::of(&here);
    let (alice, bob) = (rest.guest("Alice").await, rest.guest("Bob").await);
    let conversation = rest.group(&[alice.clone(), bob.clone()]).await;
    let topic = format!("chat:{conversation}");
    Two {
        here,
        there,
        rest,
        alice,
        bob,
        conversation,
        topic,
        _dir: dir,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_conversation() {
    let Two {
        here,
        there,
        rest,
        alice,
        bob,
        conversation,
        topic,
        _dir,
    } = two().await;

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

/// How soon a person who was removed, or has another role, is treated so by every process.
const PROMPTLY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_here_is_out_there_within_a_second() {
    let Two {
        here: _here,
        there,
        rest,
        alice,
        bob,
        conversation,
        topic,
        _dir,
    } = two().await;
    let mut socket = Client::connect(&there, &bob).await;
    socket.join(&topic, json!({})).await;

    let membership = format!("/api/conversations/{conversation}/members/{}", bob.id);
    let removed = rest.request(Method::DELETE, &membership, Some(&alice.token), None);
    assert_eq!(removed.await.0, StatusCode::NO_CONTENT);
    let since = Instant::now();
    socket.expect(&topic, "phx_close").await;
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    let (status, refused) = socket.call(&topic, "phx_join", json!({})).await.unwrap();
    assert_eq!(status, "error");
    assert_eq!(refused["reason"], "not_a_participant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_longer_admin_is_none_anywhere_within_a_second() {
    let Two {
        here,
        there,
        rest,
        alice,
        bob,
        conversation,
        topic,
        _dir,
    } = two().await;
    let messages = format!("/api/conversations/{conversation}/messages");
    let message = rest
        .post(&messages, &alice, json!({ "content": "hi" }))
        .await;
    let message = message["id"].clone();
    let membership = format!("/api/conversations/{conversation}/members/{}", bob.id);
    let becomes = async |role: &str| {
        let body = Some(json!({ "role": role }));
        let changed = rest.request(Method::PATCH, &membership, Some(&alice.token), body);
        assert_eq!(changed.await.0, StatusCode::NO_CONTENT);
    };

    becomes("admin").await;
    let mut sockets = [
        Client::connect(&here, &bob).await,
        Client::connect(&there, &bob).await,
    ];
    for socket in &mut sockets {
        socket.join(&topic, json!({})).await;
        let pin = settled(
            socket,
            &topic,
            "message:pin",
            json!({ "message_id": message }),
        );
        assert_eq!(pin.await.0, "ok", "an admin may");
    }
    becomes("member").await;
    let since = Instant::now();
    for socket in &mut sockets {
        let told = socket.expect(&topic, "conversation:updated").await;
        assert_eq!(told["change"], "role_changed", "{told}");
        let now = json!([{ "user_id": bob.id, "role": "member" }]);
        assert_eq!(told["members"], now, "{told}");
    }
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
    // From now on the first answer that is not "try again" is a refusal.
    for socket in &mut sockets {
        let message_alone = json!({ "message_id": message });
        let everyone = json!({ "message_id": message, "scope": "everyone" });
        for (event, payload) in [("message:pin", message_alone), ("message:delete", everyone)] {
            let (status, refused) = settled(socket, &topic, event, payload).await;
            assert_eq!(status, "error", "{event}");
            assert_eq!(refused["reason"], "forbidden", "{event}");
        }
    }
    for server in [&here, &there] {
        let refused = adding(&Rest::of(server), &conversation, &bob).await;
        assert_eq!(refused, StatusCode::FORBIDDEN);
    }
}

/// What adding a member is answered with, once the conversation has come to this process.
async fn adding(rest: &Rest, conversation: &str, by: &Guest) -> StatusCode {
    let path = format!("/api/conversations/{conversation}/members");
    let body = json!({ "members": ["somebody"] });
    loop {
        let added = rest.request(Method::POST, &path, Some(&by.token), Some(body.clone()));
        let (status, answer) = added.await;
        if answer["reason"] != "moved" {
            return status;
        }
    }
}

/// The outcome of an event, asked for until the conversation has come to this process.
async fn settled(client: &mut Client, topic: &str, event: &str, payload: Value) -> (String, Value) {
    loop {
        let answer = client.call(topic, event, payload.clone()).await.unwrap();
        if answer.1["reason"] != "moved" {
            return answer;
        }
    }
}
