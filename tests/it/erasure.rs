//! A person who is erased is gone: from logs and views, from other people's screens, and from the
//! disk. What others said, and the order of it all, stays.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, run};

/// Stands in everything that the erased person writes.
const MARK: &str = "plugh7d1f";

async fn erase(server: &Server, user: &str) {
    let erase = ["erase", "--user", user, "--url", &server.url];
    let told = run(&server.data_dir, &erase).await;
    assert!(told.contains("is erased"), "{told}");
}

/// The files below a directory that hold a text.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(text.len()).any(|it| it == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Ann writes whatever one can write, in a group and in a direct conversation with bob.
async fn leave_traces(rest: &Rest, ann: &mut Client, people: &[Guest], group: &str) -> Value {
    let topic = format!("chat:{group}");
    let marked = |text: &str| format!("{MARK} {text}");
    let send = json!({"content": marked("hello"), "client_id": marked("id")});
    let sent = ann.done(&topic, "message:send", send).await;
    let edit = json!({"message_id": sent["id"], "content": marked("better")});
    ann.done(&topic, "message:edit", edit).await;
    for number in 0..50 {
        let send = json!({"content": marked(&format!("{number}"))});
        ann.done(&topic, "message:send", send).await;
    }
    let settings = Some(json!({"app": {"note": marked("to self")}}));
    let preferences = "/api/users/me/preferences";
    let kept = rest.request(Method::PATCH, preferences, Some(&people[0].token), settings);
    assert_eq!(kept.await.0, StatusCode::OK);
    let draft = json!({"text": marked("not yet")});
    ann.done(&topic, "draft:set", draft).await;
    let path = format!("/api/conversations/{group}/messages");
    let later = json!({"content": marked("later"), "send_at": "2099-01-01T00:00:00.000Z"});
    // Too far ahead, or kept: either way it may not stay.
    let asked = rest.request(Method::POST, &path, Some(&people[0].token), Some(later));
    drop(asked.await);
    let direct = json!({"type": "direct", "members": [people[1].id]});
    let direct = rest.post("/api/conversations", &people[0], direct).await;
    let direct = direct["conversation"]["id"].as_str().unwrap();
    let path = format!("/api/conversations/{direct}/messages");
    rest.post(
        &path,
        &people[0],
        json!({"content": marked("to you alone")}),
    )
    .await;
    let profile = json!({"name": marked("name")});
    let asked = rest.request(
        Method::PATCH,
        "/api/users/me",
        Some(&people[0].token),
        Some(profile),
    );
    assert_eq!(asked.await.0, StatusCode::OK);
    let device = json!({"device_id": marked("phone"), "platform": "ios", "name": marked("phone")});
    rest.post("/api/devices", &people[0], device).await;
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_erased_from_logs_screens_and_the_disk() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let group = rest.group(&people).await;
    let topic = format!("chat:{group}");
    let mut ann = Client::connect(&server, &people[0]).await;
    let mut bob = Client::connect(&server, &people[1]).await;
    ann.join(&topic, json!({})).await;
    bob.join(&topic, json!({})).await;
    let sent = leave_traces(&rest, &mut ann, &people, &group).await;
    let mine = bob
        .done(&topic, "message:send", json!({"content": "mine"}))
        .await;
    let react = json!({"message_id": mine["id"], "emoji": format!("{MARK}!")});
    ann.done(&topic, "message:reaction:add", react).await;
    let before = rest.history(&group, &people[1]).await;
    assert!(!holding(&server.data_dir, MARK).is_empty());

    erase(&server, &people[0].id).await;

    let close = ann.closed().await.unwrap();
    assert_eq!((u16::from(close.code), &*close.reason), (1008, "revoked"));
    let left = bob.expect(&topic, "conversation:updated").await;
    assert_eq!(
        (&left["change"], &left["reason"]),
        (&json!("member_removed"), &json!("erased"))
    );
    let gone = bob.expect(&topic, "message:deleted").await;
    assert_eq!(
        (&gone["message_id"], &gone["reason"]),
        (&sent["id"], &json!("erased"))
    );
    bob.expect(&topic, "message:reaction:removed").await;
    let token = Some(&*people[0].token);
    let (status, _) = rest
        .request(Method::GET, "/api/users/me", token, None)
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    let after = rest.history(&group, &people[1]).await;
    let place = |it: &Value| (it["seq"].clone(), it["id"].clone(), it["sender_id"].clone());
    assert!(before.iter().map(place).eq(after.iter().map(place)));
    for message in &after {
        let is_hers = message["sender_id"] == people[0].id.as_str();
        assert_eq!(message["content"].is_null(), is_hers, "{message}");
        assert!(message.get("reactions").is_none(), "{message}");
    }
    assert_eq!(holding(&server.data_dir, MARK), [""; 0]);
    assert!(!server.log().contains(MARK));

    let tail = bob
        .done(&topic, "message:send", json!({"content": "alone"}))
        .await;
    erase(&server, &people[0].id).await;
    let next = bob
        .done(&topic, "message:send", json!({"content": "still"}))
        .await;
    assert_eq!(
        next["seq"].as_u64(),
        tail["seq"].as_u64().map(|seq| seq + 1)
    );
    server.terminate().await;
    assert_eq!(holding(&dir.path().join("data"), MARK), [""; 0]);
}
