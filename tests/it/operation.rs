//! What an operator does to an installation: copies of its store, and another secret.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, run, within};

async fn say(rest: &Rest, conversation: &str, guest: &Guest, content: &str) {
    let path = format!("/api/conversations/{conversation}/messages");
    rest.post(&path, guest, json!({ "content": content })).await;
}

#[tokio::test]
async fn a_copy_taken_while_the_server_runs_is_a_store_of_its_own() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("Ann").await, rest.guest("Bob").await];
    let conversation = rest.group(&people).await;
    say(&rest, &conversation, &people[0], "before the copy").await;
    let mut bob = Client::connect(&server, &people[1]).await;
    let stream = format!("user:{}", people[1].id);
    bob.join(&stream, json!({})).await;
    let (_, acked) = bob.call(&stream, "stream:cursor", json!({})).await.unwrap();
    let copy = dir.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    let told = run(&server.data_dir, &["backup", copy]).await;
    assert!(told.contains("conversations with"), "{told}");
    say(&rest, &conversation, &people[0], "after the copy").await;
    server.terminate().await;

    // The secret belongs to the installation, not to the store: tokens stay valid with it.
    std::fs::create_dir_all(dir.path().join("other/data")).unwrap();
    std::fs::copy(
        dir.path().join("data/secret"),
        dir.path().join("other/data/secret"),
    )
    .unwrap();
    run(&dir.path().join("other/data"), &["restore", copy]).await;
    let server = Server::start(&dir.path().join("other")).await;
    let history = Rest::of(&server).history(&conversation, &people[1]).await;
    let contents: Vec<_> = history.iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["before the copy"]);
    let mut bob = Client::connect(&server, &people[1]).await;
    let joined = bob
        .join(&stream, json!({ "cursor": acked["cursor"] }))
        .await;
    assert_eq!(joined["reset_required"], true, "{joined}");
    let topic = format!("chat:{conversation}");
    let joined = bob.join(&topic, json!({ "last_seq": 2 })).await;
    assert_eq!(joined["reset_required"], true, "{joined}");
}

#[tokio::test]
async fn a_rotated_secret_is_taken_up_without_a_restart() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let ann = rest.guest("Ann").await;
    let accepted = async |token: &str| {
        let list = rest.request(Method::GET, "/api/conversations", Some(token), None);
        list.await.0 == StatusCode::OK
    };
    let mint = async || {
        let token = run(&server.data_dir, &["token", "--user", "ann"]).await;
        token.trim().to_owned()
    };
    run(&server.data_dir, &["rotate-secret"]).await;
    let fresh = mint().await;
    within("the new secret", async {
        while !accepted(&fresh).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(accepted(&ann.token).await, "signed with the one before");

    run(&server.data_dir, &["rotate-secret", "--forget"]).await;
    within("the end of the old ones", async {
        while accepted(&ann.token).await || accepted(&fresh).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(accepted(&mint().await).await);
}
