//! Limits, each with its clear refusal.

use std::time::Duration;

use quikapp_actors::fanout::{Broadcast, Note};
use serde_json::json;

use super::app::{app, app_with};
use crate::{
    socket::{Limits, MountOptions},
    testing::TestClient,
};

fn limited(limits: Limits) -> MountOptions {
    MountOptions {
        limits,
        ..MountOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_rate_are_refused_with_a_delay() {
    let (mount, _) = app_with(limited(Limits {
        push_burst: 3.0,
        pushes_per_second: 2.0,
        ..Limits::default()
    }));
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    for _ in 0..3 {
        client.push("room:1", "echo", json!({})).await.ok();
    }
    let refused = client.push("room:1", "echo", json!({})).await.error();
    assert_eq!(
        refused,
        json!({"reason": "rate_limited", "retry_after_ms": 500})
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.push("room:1", "echo", json!({})).await.ok();
    client.leave("room:1").await.ok();
    assert_eq!(
        client.leave("room:1").await.reason(),
        "rate_limited",
        "there is nothing to leave any more"
    );
}

#[tokio::test(start_paused = true)]
async fn joins_beyond_the_rate_are_refused() {
    let (mount, _) = app_with(limited(Limits {
        join_burst: 1.0,
        joins_per_second: 1.0,
        ..Limits::default()
    }));
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    assert_eq!(
        client.join("room:2", json!({})).await.reason(),
        "rate_limited"
    );
    client.push("room:1", "echo", json!({})).await.ok();
}

#[tokio::test]
async fn a_topic_with_too_much_waiting_is_overloaded() {
    let (mount, levers) = app_with(limited(Limits {
        pending_per_topic: 2,
        ..Limits::default()
    }));
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    let mut refs = Vec::new();
    for _ in 0..3 {
        refs.push(client.start_push("room:1", "wait", json!({})).await);
    }
    assert_eq!(
        client.push("room:1", "wait", json!({})).await.reason(),
        "overloaded"
    );
    levers.gate.add_permits(3);
    for msg_ref in refs {
        client.reply(&msg_ref).await.ok();
    }
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_over_all_topics() {
    let (mount, levers) = app_with(limited(Limits {
        pending_bytes: bytesize::ByteSize::b(1000),
        ..Limits::default()
    }));
    let mut client = TestClient::connect(&mount).await;
    let large = json!({"text": "x".repeat(800)});
    let mut refs = Vec::new();
    for topic in ["room:1", "room:2"] {
        client.join(topic, json!({})).await.ok();
        refs.push(client.start_push(topic, "wait", json!({})).await);
    }
    refs.push(client.start_push("room:1", "echo", large.clone()).await);
    let refused = client.push("room:2", "echo", large.clone()).await;
    assert_eq!(refused.reason(), "overloaded");
    refs.push(client.start_push("room:2", "echo", json!({})).await);
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(2);
    for msg_ref in refs {
        client.reply(&msg_ref).await.ok();
    }
    // What waited no longer counts, and a message that waits alone may be of any size.
    let busy = client.start_push("room:1", "wait", json!({})).await;
    let huge = json!({"text": "x".repeat(5000)});
    let alone = client.start_push("room:1", "echo", huge.clone()).await;
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.reply(&busy).await.ok();
    assert_eq!(client.reply(&alone).await.ok(), huge);
}

#[tokio::test]
async fn a_channel_that_is_told_more_than_it_can_hold_ends() {
    let (mount, levers) = app_with(limited(Limits {
        held_per_topic: 2,
        pending_per_topic: 1,
        ..Limits::default()
    }));
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.start_push("room:1", "wait", json!({})).await;
    client.so_far().await;
    for _ in 0..4 {
        mount.hub().fanout.note("room:1", &Note::new("anything"));
    }
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.event("room:1", "phx_error").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let mut limits = Limits::default();
    limits.outbox.messages = 50;
    let (mount, _) = app_with(limited(limits));
    let mut client = TestClient::connect(&mount).await;
    let mut other = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    other.join("room:1", json!({})).await.ok();
    for n in 0..1000 {
        let news = Broadcast::new("room:1", "news", json!({ "n": n }).into());
        mount.hub().fanout.publish(news);
        assert_eq!(other.event("room:1", "news").await, json!({ "n": n }));
    }
    let close = client.cut_off().await;
    assert_eq!(close.code, 1013);
    assert!(
        close.reason.starts_with("slow_consumer retry_after_ms="),
        "{}",
        close.reason
    );
    other.push("room:1", "echo", json!({})).await.ok();
}

#[tokio::test]
async fn junk_after_junk_is_not_even_looked_at() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    for _ in 0..100 {
        client
            .send_raw(crate::socket::Inbound::Text("junk".into()))
            .await;
    }
    assert_eq!(client.closed().await.code, 1011);
}
