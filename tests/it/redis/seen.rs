//! Who is present and who types is seen over processes.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, timeout};

use super::{Pair, server, two};
use crate::support::{Client, Guest, PATIENCE, Rest, Server};

const LOBBY: &str = "presence:lobby";

/// `presence_state` on one process shows people of the other, `presence_diff` says who comes, and
/// who was on a process that is killed leaves within ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_another_process_are_present_until_it_dies() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &[]).await;
    let rest = Rest::of(&here);
    let [alice, bob, carol] = [
        rest.guest("Alice").await,
        rest.guest("Bob").await,
        rest.guest("Carol").await,
    ];
    let mut hers = Client::connect(&here, &alice).await;
    hers.join(LOBBY, json!({})).await;
    sees_in_state(&there, &bob, &alice).await;

    let mut his = Client::connect(&there, &carol).await;
    his.join(LOBBY, json!({})).await;
    let joined = diff_with(&mut hers, "joins", &carol).await;
    assert!(joined["metas"][0]["phx_ref"].is_string(), "{joined}");
    let killed = Instant::now();
    there.kill().await;
    diff_with(&mut hers, "leaves", &carol).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    println!("people of a killed process left after {took:?}");
}

/// Joins until the state has her: her process may not have been heard yet.
async fn sees_in_state(there: &Server, who: &Guest, her: &Guest) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(there, who).await;
        client.join(LOBBY, json!({})).await;
        let state = client.expect(LOBBY, "presence_state").await;
        if state[&her.id]["metas"][0].is_object() {
            return;
        }
        assert!(Instant::now() < deadline, "never seen: {state}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the next diff that names somebody says of them.
async fn diff_with(client: &mut Client, what: &str, whom: &Guest) -> Value {
    loop {
        let mut diff = client.expect(LOBBY, "presence_diff").await;
        if diff[what][&whom.id].is_object() {
            return diff[what][&whom.id].take();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_on_another_process_is_heard() {
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
    hears_typing(&mut alice, &mut bob, &topic, &people[0]).await;
    // She says nothing more: it ends by itself, on both.
    let started = Instant::now();
    alice.call(&topic, "typing:start", json!({})).await.unwrap();
    bob.expect(&topic, "typing:stop").await;
    assert!(started.elapsed() < Duration::from_secs(8));
}

/// Types until it is heard: the processes may not be connected yet, or again.
pub(super) async fn hears_typing(
    typist: &mut Client,
    other: &mut Client,
    topic: &str,
    who: &Guest,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        typist.done(topic, "typing:start", json!({})).await;
        let heard = timeout(Duration::from_secs(1), other.expect(topic, "typing:start")).await;
        if let Ok(heard) = heard {
            return assert_eq!(heard["user_id"], who.id.as_str());
        }
        typist.call(topic, "typing:stop", json!({})).await.unwrap();
        assert!(Instant::now() < deadline, "never heard");
    }
}
