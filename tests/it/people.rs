//! What a person sees of themselves and of others: over REST what was done over a socket, and the
//! other way round.

use std::time::Duration;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, within};

#[tokio::test]
async fn sockets_and_rest_tell_the_same() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("Ann").await, rest.guest("Bob").await];
    let [ann, bob] = &people;
    let conversation = rest.group(&people).await;
    let topic = format!("chat:{conversation}");
    let mut socket = Client::connect(&server, ann).await;
    socket.join(&topic, json!({})).await;

    // Who types.
    let typing = format!("/api/presence/typing/{conversation}");
    assert_eq!(rest.get(&typing, bob).await["users"], json!([]));
    socket
        .call(&topic, "typing:start", json!({}))
        .await
        .unwrap();
    assert_eq!(rest.get(&typing, bob).await["users"], json!([ann.id]));
    socket.call(&topic, "typing:stop", json!({})).await.unwrap();
    assert_eq!(rest.get(&typing, bob).await["users"], json!([]));

    // What is unread, and what was said last.
    for content in ["one", "two"] {
        let said = json!({ "content": content });
        socket.call(&topic, "message:send", said).await.unwrap();
    }
    for (who, unread) in [(bob, 2), (ann, 0)] {
        let listed = rest.get("/api/conversations", who).await;
        let listed = &listed["conversations"][0];
        assert_eq!(listed["unread"], unread, "{listed}");
        assert_eq!(listed["last_message"]["content"], "two", "{listed}");
    }

    // One's own profile, on one's other devices.
    let stream = format!("user:{}", ann.id);
    let mut other = Client::connect(&server, ann).await;
    other.join(&stream, json!({})).await;
    let renamed = Some(json!({ "name": "Anna" }));
    let changed = rest.request(Method::PATCH, "/api/users/me", Some(&ann.token), renamed);
    assert!(changed.await.0.is_success());
    let synced = other.expect(&stream, "profile:sync").await;
    assert_eq!(synced["name"], "Anna");
    assert_eq!(synced["user_id"], json!(ann.id));
}

const EVERYBODY: &str = "presence:global";

/// Whoever has chosen a status is there until it is written down, however they go: the choice is
/// kept, and who can still be answered is.
#[tokio::test]
async fn a_status_that_is_chosen_on_the_way_out_is_kept() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let ann = Rest::of(&server).guest("Ann").await;
    let store = Connection::open(server.data_dir.join("quikapp.db")).unwrap();
    let busy = r#"[null,"choice","presence:global","status:update",{"status":"busy"}]"#;
    let leave = r#"[null,"leave","presence:global","phx_leave",{}]"#;
    let away = r#"[null,"choice","presence:global","status:update",{"status":"away"}]"#;

    // Her only channel ends while the store is held up by another process.
    let mut client = Client::connect(&server, &ann).await;
    client.join(EVERYBODY, json!({})).await;
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    client.send(busy.to_owned()).await;
    client.send(leave.to_owned()).await;
    taken_in(&mut client).await;
    assert!(client.waiting(EVERYBODY, "phx_reply").is_empty());
    store.execute_batch("ROLLBACK").unwrap();
    let chosen = json!({ "status": "ok", "response": { "status": "busy" } });
    assert_eq!(client.expect(EVERYBODY, "phx_reply").await, chosen);
    let left = json!({ "status": "ok", "response": {} });
    assert_eq!(client.expect(EVERYBODY, "phx_reply").await, left);
    shows(&mut client, &ann, "busy").await;

    // Her only socket ends.
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    client.send(away.to_owned()).await;
    taken_in(&mut client).await;
    drop(client);
    within("her socket is gone", async {
        while Rest::of(&server)
            .metric::<f64>("quikapp_joined_channels")
            .await
            > 0.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    store.execute_batch("ROLLBACK").unwrap();
    let mut client = Client::connect(&server, &ann).await;
    shows(&mut client, &ann, "away").await;
    server.terminate().await;
}

/// What was sent before a heartbeat has begun once that is answered.
async fn taken_in(client: &mut Client) {
    client.done("phoenix", "heartbeat", json!({})).await;
}

/// Waits until its person sees themselves so.
async fn shows(client: &mut Client, ann: &Guest, status: &str) {
    let joined = client.join(EVERYBODY, json!({})).await;
    assert_eq!(joined["mode"], "list");
    let own = json!({ "user_id": ann.id });
    within(status, async {
        loop {
            let (_, got) = client
                .call(EVERYBODY, "presence:get", own.clone())
                .await
                .unwrap();
            if got["users"][0]["status"] == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
