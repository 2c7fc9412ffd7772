//! A broadcast reaches the subscribers of its topic on every process, once each and in the order of
//! its publisher; and whatever becomes of Redis, those on the same process hear it at once.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep, timeout};

use super::{Pair, away::redis_becomes, server, two};
use crate::{
    redis_server::RedisServer,
    support::{Client, Guest, PATIENCE, Rest, Server},
};

const GAME: &str = "broadcast:game";
const OTHER: &str = "broadcast:other";
const EACH: u64 = 200;
const INWARDS: &str = r#"quikapp_relayed_broadcasts_total{direction="in"}"#;
const MISSED: &str = r#"quikapp_relay_lost_total{reason="missed"}"#;
const NOT_TOLD: &str = r#"quikapp_relay_lost_total{reason="not_told"}"#;

/// Somebody in a room.
async fn enters(server: &Server, who: &Guest, room: &str, params: Value) -> Client {
    let mut client = Client::connect(server, who).await;
    client.join(room, params).await;
    client
}

/// Says hello until it is heard: the processes may not be connected yet, or again.
async fn are_connected(speaker: &mut Client, listener: &mut Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        speaker.done(GAME, "hello", json!({})).await;
        let heard = timeout(Duration::from_secs(1), listener.expect(GAME, "hello")).await;
        if heard.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "never heard");
    }
}

/// Says all the numbers, and that these were all.
async fn counts(client: &mut Client, by: &str) {
    for number in 0..EACH {
        client
            .done(GAME, "count", json!({ "by": by, "n": number }))
            .await;
    }
    client.done(GAME, &format!("end:{by}"), json!({})).await;
}

/// Each of these has counted, and was heard once and in order; nothing else was.
async fn heard_counting(client: &mut Client, by: &[&str]) {
    for by in by {
        client.expect(GAME, &format!("end:{by}")).await;
    }
    let counted = client.waiting(GAME, "count");
    for by in by {
        let numbers = counted.iter().filter(|it| it["by"] == *by);
        let numbers: Vec<_> = numbers.map(|it| it["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "of {by}");
    }
    assert_eq!(counted.len() as u64, EACH * by.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_each_subscriber_on_every_process_once_and_in_order() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &[]).await;
    let rest = Rest::of(&here);
    let guest = async |name: &str| rest.guest(name).await;
    let hears_not_herself = json!({ "self": false });
    let mut alice = enters(&here, &guest("Alice").await, GAME, hears_not_herself).await;
    let mut bob = enters(&there, &guest("Bob").await, GAME, json!({})).await;
    let mut carol = enters(&here, &guest("Carol").await, GAME, json!({})).await;
    let mut dave = enters(&there, &guest("Dave").await, GAME, json!({})).await;
    let mut eve = enters(&there, &guest("Eve").await, OTHER, json!({})).await;
    are_connected(&mut alice, &mut bob).await;
    are_connected(&mut bob, &mut alice).await;

    tokio::join!(counts(&mut alice, "alice"), counts(&mut bob, "bob"));
    heard_counting(&mut alice, &["bob"]).await;
    for both in [&mut bob, &mut carol, &mut dave] {
        heard_counting(both, &["alice", "bob"]).await;
    }
    // By REST on the process here, in the other room: nothing came there before it.
    let frank = guest("Frank").await;
    let event = json!({ "topic": OTHER, "event": "marker", "payload": { "deep": [1, null] } });
    rest.post("/api/broadcast", &frank, event).await;
    assert_eq!(
        eve.expect(OTHER, "marker").await,
        json!({ "deep": [1, null] })
    );
    assert!(eve.waiting(GAME, "count").is_empty());

    let there = Rest::of(&there);
    let inwards: u64 = there.metric(INWARDS).await;
    assert!(inwards > EACH, "{inwards}");
    assert_eq!(there.metric::<u64>(MISSED).await, 0);
}

/// Entries of the log come through the store alone; receipts, and what is in no log, through Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_a_chat_is_not_doubled_and_receipts_reach_the_other_process() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &[]).await;
    let Pair {
        people,
        topic,
        mut alice,
        mut bob,
        ..
    } = Pair::chatting(&here, &there).await;
    for client in [&mut alice, &mut bob] {
        client.join(GAME, json!({})).await;
    }
    are_connected(&mut alice, &mut bob).await;
    are_connected(&mut bob, &mut alice).await;

    let mut last = 0;
    for number in 0..10 {
        let message = json!({ "type": "text", "content": number.to_string() });
        let sent = alice.done(&topic, "message:send", message).await;
        let heard = bob.expect(&topic, "message:new").await;
        assert_eq!(heard["seq"], sent["seq"]);
        last = heard["seq"].as_u64().unwrap();
    }
    let passing = json!({ "type": "text", "content": "psst", "class": "ephemeral" });
    alice.done(&topic, "message:send", passing).await;
    assert_eq!(bob.expect(&topic, "message:new").await["content"], "psst");

    bob.done(&topic, "message:read", json!({ "seq": last }))
        .await;
    let read = alice.expect(&topic, "message:read").await;
    assert_eq!(read["user_id"], people[1].id.as_str(), "{read}");
    // Whatever would have been doubled came before this.
    are_connected(&mut alice, &mut bob).await;
    are_connected(&mut bob, &mut alice).await;
    assert!(bob.waiting(&topic, "message:new").is_empty());
    assert!(alice.waiting(&topic, "message:read").is_empty());
}

/// Stopped or killed: who is on the same process hears at once, what the other process does not
/// hear is counted, and once Redis is back it hears what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_broadcasts_stay_on_their_process_and_then_resume() {
    if server().is_none() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path(), "port", &[]).await;
    let url = format!("redis://127.0.0.1:{}/", redis.port);
    let [here, there] = two(dir.path(), &url, &[]).await;
    let rest = Rest::of(&here);
    let people = [rest.guest("Alice").await, rest.guest("Carol").await];
    let mut alice = enters(&here, &people[0], GAME, json!({})).await;
    let mut carol = enters(&here, &people[1], GAME, json!({})).await;
    let mut bob = enters(&there, &rest.guest("Bob").await, GAME, json!({})).await;
    are_connected(&mut alice, &mut bob).await;

    for trouble in ["stopped", "killed"] {
        let before: u64 = rest.metric(NOT_TOLD).await;
        match trouble {
            "stopped" => redis.signal("STOP"),
            _ => redis.kill(),
        }
        let began = Instant::now();
        counts(&mut alice, trouble).await;
        heard_counting(&mut carol, &[trouble]).await;
        let took = began.elapsed();
        println!("{trouble}: {EACH} broadcasts heard beside it in {took:?}");
        assert!(took < Duration::from_secs(5), "{trouble}: {took:?}");
        redis_becomes(&here, "down").await;
        lost_are_counted(&rest, before, &mut alice).await;
        match trouble {
            "stopped" => redis.signal("CONT"),
            _ => redis.restart().await,
        }
        redis_becomes(&here, "up").await;
        are_connected(&mut alice, &mut bob).await;
        carol.waiting(GAME, "count");
        bob.waiting(GAME, "count");
    }
}

/// Speaks, and waits until the process has counted what Redis did not take, at once or a second
/// time.
async fn lost_are_counted(rest: &Rest, before: u64, speaker: &mut Client) {
    speaker.done(GAME, "lost", json!({})).await;
    let deadline = Instant::now() + PATIENCE;
    while rest.metric::<u64>(NOT_TOLD).await <= before {
        assert!(Instant::now() < deadline, "nothing is counted");
        sleep(Duration::from_millis(50)).await;
    }
}
