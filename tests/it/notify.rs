//! Who may be notified of a message: decided by a node from its log, for whoever pushes.

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quikapp_storage::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, within};

/// A server whose log holds the decisions.
async fn start(dir: &Path) -> Server {
    let on = OsStr::new("true");
    let environment = [
        ("QUIKAPP_NOTIFY__LOG", on),
        ("QUIKAPP_LOGGING__FORMAT", OsStr::new("json")),
    ];
    Server::start_as(dir, &dir.join("data"), "127.0.0.1:0", &[], &environment).await
}

/// The decisions so far, in their order.
fn decisions(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("may notify"));
    let decision = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        serde_json::from_str(line["decision"].as_str()?).ok()
    };
    lines.filter_map(decision).collect()
}

/// Waits for so many decisions.
async fn decided(server: &Server, count: usize) -> Vec<Value> {
    within("decisions", async {
        loop {
            let found = decisions(server);
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_may_be_notified_as_they_are_and_as_they_wish() {
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let mut people = Vec::new();
    for name in ["ann", "bob", "carol", "dave"] {
        people.push(rest.guest(name).await);
    }
    let [ann, bob, carol, dave] = &people[..] else {
        unreachable!("there are four");
    };
    let conversation = rest.group(&people).await;
    let topic = format!("chat:{conversation}");
    let _bobs_phone = {
        let mut phone = Client::connect_device(&server, bob, "phone").await;
        phone.join(&topic, json!({})).await;
        phone
    };
    for (muted, mentions_only) in [(carol, true), (dave, false)] {
        let mut client = Client::connect(&server, muted).await;
        client.join(&topic, json!({})).await;
        let mute = json!({"until": null, "mentions_only": mentions_only});
        client.done(&topic, "conversation:mute", mute).await;
    }
    let path = format!("/api/conversations/{conversation}/messages");
    let plain = rest.post(&path, bob, json!({"content": "to all"})).await;
    // Before ann reads it by answering.
    decided(&server, 1).await;
    let mentions = json!({"content": "to two", "mentions": [carol.id, dave.id]});
    let mention = rest.post(&path, ann, mentions).await;

    let found = decided(&server, 3).await;
    let seen: Vec<_> = found
        .iter()
        .map(|it| {
            (
                &it["person"]["user"],
                &it["seq"],
                &it["reason"],
                &it["unread"],
            )
        })
        .collect();
    // Nobody hears of their own message, carol of mentions only, and dave of nothing.
    let (first, second) = (&plain["seq"], &mention["seq"]);
    let expected = [
        (&json!(ann.id), first, &json!("group"), &json!(1)),
        (&json!(bob.id), second, &json!("group"), &json!(1)),
        (&json!(carol.id), second, &json!("mention"), &json!(2)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(found[0]["is_connected"], false);
    assert_eq!(found[0]["active_devices"], json!([]));
    assert_eq!(found[1]["is_connected"], true);
    assert_eq!(found[1]["active_devices"], json!(["phone"]));
    assert_eq!(found[2]["mute"]["mentions_only"], true);
    let metrics = rest.metrics().await;
    assert!(
        metrics.contains("quikapp_may_notify_total{reason=\"mention\"} 1"),
        "{metrics}"
    );
    server.terminate().await;
}

/// Changes what somebody prefers.
async fn prefer(rest: &Rest, guest: &Guest, patch: Value) -> Value {
    let path = "/api/users/me/preferences";
    let asked = rest.request(Method::PATCH, path, Some(&guest.token), Some(patch));
    let (status, body) = asked.await;
    assert!(status.is_success(), "{status} {body}");
    body
}

/// Quiet hours that hold now, and when they are over.
#[expect(
    clippy::disallowed_methods,
    reason = "the server goes by the wall clock, too"
)]
fn quiet_hours() -> (Value, Timestamp) {
    const HOUR_S: u64 = 3_600;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hour = now_s.as_secs() / HOUR_S;
    let clock = |hour: u64| format!("{:02}:00", hour % 24);
    let hours = json!({"from": clock(hour - 1), "to": clock(hour + 2), "time_zone": "UTC"});
    (hours, Timestamp(((hour + 2) * HOUR_S * 1_000) as i64))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_may_be_notified_as_they_prefer() {
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let [ann, bob, carol] = [
        rest.guest("ann").await,
        rest.guest("bob").await,
        rest.guest("carol").await,
    ];
    let conversation = rest.group(&[ann.clone(), bob.clone(), carol.clone()]).await;
    let stream = format!("user:{}", carol.id);
    let mut client = Client::connect(&server, &carol).await;
    client.join(&stream, json!({})).await;
    prefer(&rest, &bob, json!({"notify": "direct_and_mentions"})).await;
    let (hours, until) = quiet_hours();
    let patch = json!({"quiet_hours": hours, "previews": "none", "locale": "de"});
    let changed = prefer(&rest, &carol, patch).await;
    let told = client.expect(&stream, "preferences:changed").await;
    assert_eq!(told["version"], 1);
    assert_eq!(told["preferences"], changed["preferences"]);

    let path = format!("/api/conversations/{conversation}/messages");
    rest.post(&path, &ann, json!({"content": "to all"})).await;
    let mentions = json!({"content": "to bob", "mentions": [bob.id]});
    rest.post(&path, &ann, mentions).await;
    let found = decided(&server, 3).await;
    let seen: Vec<_> = found
        .iter()
        .map(|it| (&it["person"]["user"], &it["reason"]))
        .collect();
    let expected = [
        (&json!(carol.id), &json!("group")),
        (&json!(bob.id), &json!("mention")),
        (&json!(carol.id), &json!("group")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(found[0]["quiet_until"], json!(until));
    assert_eq!(
        (&found[0]["previews"], &found[0]["locale"]),
        (&json!("none"), &json!("de"))
    );
    assert_eq!(found[1]["quiet_until"], Value::Null);
    assert_eq!(
        (&found[1]["previews"], &found[1]["locale"]),
        (&json!("full"), &Value::Null)
    );
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_decided_before_kill_9_is_decided_after_it() {
    const MESSAGES: u64 = 20;
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let conversation = rest.group(&people).await;
    let path = format!("/api/conversations/{conversation}/messages");
    for number in 0..MESSAGES {
        let body = json!({"content": format!("{number}")});
        rest.post(&path, &people[0], body).await;
    }
    server.kill().await;
    let server = start(dir.path()).await;
    let mut missing: Vec<u64> = (1..=MESSAGES).collect();
    within("all are decided", async {
        while !missing.is_empty() {
            let found = decisions(&server);
            missing.retain(|seq| !found.iter().any(|it| it["seq"] == *seq));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let bob = json!(people[1].id);
    assert!(
        decisions(&server)
            .iter()
            .all(|it| it["person"]["user"] == bob)
    );
    server.terminate().await;
}
