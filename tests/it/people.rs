//! What a person sees of themselves and of others: over REST what was done over a socket, and the
//! other way round.

use reqwest::Method;
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Client, Rest, Server};

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
