//! Channels that follow a log: nothing twice, nothing missing, nothing out of order.

use std::sync::atomic::Ordering;

use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_storage::Seq;
use serde_json::json;

use super::app::{EndsAt, app, app_with, entry};
use crate::{
    socket::{Limits, MountOptions},
    testing::TestClient,
};

async fn seqs(client: &mut TestClient, until: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&until) {
        let got = client.next().await;
        assert_eq!(got.event, "entry", "{got:?}");
        seqs.push(got.payload["seq"].as_u64().unwrap());
    }
    seqs
}

#[tokio::test]
async fn what_was_seen_is_dropped() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({"last_seq": 5})).await.ok();
    for seq in [4, 5, 6, 6, 5, 7] {
        mount.hub().fanout.publish(entry(seq));
    }
    assert_eq!(seqs(&mut client, 7).await, [6, 7]);
}

#[tokio::test]
async fn a_hole_is_filled_in_reads_of_a_few() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({"last_seq": 0})).await.ok();
    levers.tail.store(8, Ordering::SeqCst);
    mount.hub().fanout.publish(entry(8));
    assert_eq!(seqs(&mut client, 8).await, (1..=8).collect::<Vec<_>>());
    assert_eq!(
        levers.reads.load(Ordering::SeqCst),
        3,
        "three entries a read"
    );
    levers.tail.store(9, Ordering::SeqCst);
    mount.hub().fanout.publish(entry(9));
    assert_eq!(seqs(&mut client, 9).await, [9]);
}

#[tokio::test]
async fn a_hole_that_cannot_be_read_ends_the_topic() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({"last_seq": 0})).await.ok();
    mount.hub().fanout.publish(entry(3));
    client.event("log:1", "phx_error").await;
}

#[tokio::test]
async fn live_entries_wait_until_the_replay_is_acknowledged() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({})).await.ok();
    levers.tail.store(6, Ordering::SeqCst);
    for seq in [4, 5, 6] {
        mount.hub().fanout.publish(entry(seq));
    }
    assert_eq!(client.so_far().await, []);
    client.push("log:1", "ack", json!({"seq": 3})).await.ok();
    assert_eq!(seqs(&mut client, 6).await, [4, 5, 6]);
    levers.tail.store(7, Ordering::SeqCst);
    mount.hub().fanout.publish(entry(7));
    assert_eq!(seqs(&mut client, 7).await, [7]);
}

#[tokio::test]
async fn nothing_was_missed_while_catching_up() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({})).await.ok();
    client.push("log:1", "ack", json!({"seq": 3})).await.ok();
    mount.hub().fanout.publish(entry(4));
    assert_eq!(seqs(&mut client, 4).await, [4]);
    assert_eq!(levers.reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn more_than_can_be_held_during_a_join_is_read_afterwards() {
    let limits = Limits {
        held_per_topic: 2,
        ..Limits::default()
    };
    let (mount, levers) = app_with(MountOptions {
        limits,
        ..MountOptions::default()
    });
    let mut client = TestClient::connect(&mount).await;
    let join = client
        .start_join("log:1", json!({"wait": true, "last_seq": 0}))
        .await;
    client.so_far().await;
    levers.tail.store(5, Ordering::SeqCst);
    for seq in 1..=5 {
        mount.hub().fanout.publish(entry(seq));
    }
    client.so_far().await;
    levers.gate.add_permits(1);
    client.reply(&join).await.ok();
    assert_eq!(seqs(&mut client, 5).await, [1, 2, 3, 4, 5]);
    assert_eq!(levers.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_alias_hears_the_same_log_under_its_own_name() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("diary:1", json!({"last_seq": 0})).await.ok();
    levers.tail.store(2, Ordering::SeqCst);
    mount.hub().fanout.publish(entry(2));
    for seq in [1, 2] {
        let got = client.next().await;
        assert_eq!(
            (got.topic.as_str(), &got.payload),
            ("diary:1", &json!({ "seq": seq }))
        );
    }
    assert_eq!(mount.hub().fanout.subscribers("log:1"), 1);
}

#[tokio::test]
async fn a_stream_forwards_what_is_not_joined_here() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    let topics = json!({"topics": ["log:1", "room:1"]});
    client.join("stream:me", topics).await.ok();
    mount.hub().fanout.publish(entry(1));
    let got = client.next().await;
    assert_eq!(
        (got.topic.as_str(), &got.payload),
        ("stream:me", &json!({"seq": 1}))
    );
    client.join("diary:1", json!({"last_seq": 1})).await.ok();
    mount.hub().fanout.publish(entry(2));
    assert_eq!(
        client.next().await.topic,
        "diary:1",
        "the client hears it there"
    );
    assert_eq!(client.so_far().await, []);
    client.leave("diary:1").await.ok();
    client
        .push("stream:me", "unsubscribe", json!({"topic": "log:1"}))
        .await
        .ok();
    client.so_far().await;
    mount.hub().fanout.publish(entry(3));
    assert_eq!(client.so_far().await, []);
}

/// What is shown in its own topic is not shown beside it, but nobody knows yet whether the join
/// will be granted.
#[tokio::test]
async fn an_entry_that_came_during_a_join_that_fails_is_shown_in_the_stream() {
    for fails in [true, false] {
        let (mount, levers) = app();
        let mut client = TestClient::connect(&mount).await;
        let stream = json!({"topics": ["log:1"], "intercepts": true});
        client.join("stream:me", stream).await.ok();
        let params = json!({"wait": true, "fail": fails, "last_seq": 0});
        let joining = client.start_join("log:1", params).await;
        assert_eq!(client.so_far().await, []);
        for seq in 1..=3 {
            mount.hub().fanout.publish(entry(seq));
        }
        assert_eq!(client.so_far().await, []);
        levers.gate.add_permits(1);
        client.reply(&joining).await;
        mount.hub().fanout.publish(entry(4));
        // A heartbeat's answer may overtake what a channel is still handling.
        let mut shown = Vec::new();
        for _ in 1..=4 {
            shown.push(client.next().await);
        }
        assert_eq!(client.so_far().await, [], "and nothing twice");
        let topic = if fails { "stream:me" } else { "log:1" };
        assert!(shown.iter().all(|got| got.topic == topic), "{shown:?}");
        let seqs: Vec<_> = shown.iter().map(|got| &got.payload["seq"]).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }
}

/// The channel gets to the note when it is free; what passes the channel by ends at once.
#[tokio::test]
async fn a_log_that_ends_is_not_shown_on_while_its_channel_is_busy() {
    let (mount, levers) = app();
    let fanout = &mount.hub().fanout;
    let mut client = TestClient::connect(&mount).await;
    client.join("log:1", json!({"last_seq": 0})).await.ok();
    let waiting = client.start_push("log:1", "wait", json!({})).await;
    assert_eq!(client.so_far().await, []);
    fanout.publish(entry(1));
    fanout.publish(entry(2));
    fanout.note("log:1", &Note::new(EndsAt(Seq(2))));
    fanout.publish(entry(3));
    fanout.publish(Broadcast::new("log:1", "beside", json!({}).into()));
    let shown = client.so_far().await;
    let shown: Vec<_> = shown.iter().map(|got| &got.payload["seq"]).collect();
    assert_eq!(shown, [1, 2]);
    levers.gate.add_permits(1);
    client.reply(&waiting).await.ok();
    assert_eq!(client.next().await.event, "phx_close");
}

#[tokio::test]
async fn a_gap_is_read_to_the_end_of_the_log_and_not_beyond() {
    let (mount, levers) = app();
    let fanout = &mount.hub().fanout;
    for hole_is_known in [true, false] {
        let mut client = TestClient::connect(&mount).await;
        client.join("log:1", json!({"last_seq": 0})).await.ok();
        let waiting = client.start_push("log:1", "wait", json!({})).await;
        assert_eq!(client.so_far().await, []);
        levers.tail.store(9, Ordering::SeqCst);
        if hole_is_known {
            fanout.publish(entry(4));
        }
        fanout.note("log:1", &Note::new(EndsAt(Seq(4))));
        fanout.publish(entry(9));
        assert_eq!(client.so_far().await, []);
        levers.gate.add_permits(1);
        client.reply(&waiting).await.ok();
        assert_eq!(seqs(&mut client, 4).await, [1, 2, 3, 4]);
        assert_eq!(client.next().await.event, "phx_close");
    }
}
