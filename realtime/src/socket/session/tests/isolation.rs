//! A slow handler holds up its own topic, and nothing else.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::app::app;
use crate::testing::TestClient;

#[tokio::test]
async fn a_blocked_handler_holds_up_its_topic_only() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:slow", json!({})).await.ok();
    client.join("room:quick", json!({})).await.ok();
    let blocked = client
        .start_push("room:slow", "wait", json!({"n": 1}))
        .await;
    let behind = client
        .start_push("room:slow", "echo", json!({"n": 2}))
        .await;
    let leave = client.start_push("room:slow", "phx_leave", json!({})).await;
    let after = client
        .start_push("room:slow", "echo", json!({"n": 3}))
        .await;
    client.push("room:quick", "echo", json!({})).await.ok();
    assert_eq!(
        client.so_far().await,
        [],
        "heartbeats go on, the slow topic waits"
    );
    levers.gate.add_permits(1);
    assert_eq!(client.reply(&blocked).await.ok(), json!({"n": 1}));
    assert_eq!(client.reply(&behind).await.ok(), json!({"n": 2}));
    client.reply(&leave).await.ok();
    assert_eq!(client.reply(&after).await.reason(), "unmatched topic");
}

#[tokio::test]
async fn broadcasts_pass_a_blocked_handler() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    let mut other = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    other.join("room:1", json!({})).await.ok();
    client.start_push("room:1", "wait", json!({})).await;
    other.push("room:1", "say", json!({"n": 1})).await.ok();
    assert_eq!(client.event("room:1", "said").await, json!({"n": 1}));
    levers.gate.add_permits(1);
}

#[tokio::test]
async fn a_slow_join_holds_up_its_topic_only() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    let join = client.start_join("room:slow", json!({"wait": true})).await;
    let push = client
        .start_push("room:slow", "echo", json!({"n": 1}))
        .await;
    client.join("room:quick", json!({})).await.ok();
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.reply(&join).await.ok();
    assert_eq!(client.reply(&push).await.ok(), json!({"n": 1}));
}

#[tokio::test]
async fn what_waited_for_a_join_that_failed_is_unmatched() {
    let (mount, levers) = app();
    let mut other = TestClient::connect(&mount).await;
    other.join("room:1", json!({})).await.ok();
    other.start_push("room:1", "wait", json!({})).await;
    let rejoin = other.start_join("room:1", json!({"fail": "no"})).await;
    let push = other.start_push("room:1", "echo", json!({})).await;
    levers.gate.add_permits(1);
    assert_eq!(other.reply(&rejoin).await.reason(), "no");
    other.event("room:1", "phx_close").await;
    assert_eq!(other.reply(&push).await.reason(), "unmatched topic");
}

#[tokio::test]
async fn a_duplicate_join_waits_for_the_handler_of_the_old() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    let blocked = client.start_push("room:1", "wait", json!({})).await;
    let second = client.start_join("room:1", json!({})).await;
    let third = client.start_join("room:1", json!({})).await;
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.reply(&blocked).await.ok();
    client.reply(&second).await.ok();
    client.reply(&third).await.ok();
    let closes: Vec<_> = client
        .so_far()
        .await
        .into_iter()
        .map(|got| got.msg_ref)
        .collect();
    assert_eq!(closes, [json!("1"), json!(second)]);
    assert_eq!(levers.alive.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_behind_an_await_ends_its_topic_only() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.join("room:2", json!({})).await.ok();
    client.start_push("room:1", "wait", json!({})).await;
    client.start_push("room:1", "panic", json!({})).await;
    let lost = client.start_push("room:1", "echo", json!({})).await;
    levers.gate.add_permits(1);
    assert_eq!(
        client.event("room:1", "phx_error").await,
        json!({"reason": "channel_crash"})
    );
    assert_eq!(client.reply(&lost).await.reason(), "unmatched topic");
    client.push("room:2", "echo", json!({})).await.ok();
}

#[tokio::test]
async fn broadcasts_during_a_join_wait_for_its_reply() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    levers.tail.store(3, Ordering::SeqCst);
    client
        .start_join("log:1", json!({"wait": true, "last_seq": 1}))
        .await;
    client.so_far().await;
    for seq in [1, 2, 3] {
        mount.hub().fanout.publish(super::app::entry(seq));
    }
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.event("log:1", "phx_reply").await;
    let seqs: Vec<Value> = client
        .so_far()
        .await
        .into_iter()
        .map(|got| got.payload)
        .collect();
    assert_eq!(seqs, [json!({"seq": 2}), json!({"seq": 3})]);
    assert_eq!(
        levers.reads.load(Ordering::SeqCst),
        0,
        "nothing was missing"
    );
}
