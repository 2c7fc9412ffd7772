//! Processes that share a data directory and a Redis: people see each other, hear each other type,
//! hear the same broadcasts, are counted together, are thrown out at once, and are known to be
//! connected wherever that is; and whatever becomes of Redis, the chat goes on. Against the server that
//! `TEST_REDIS_URL` names, and such as the tests start themselves.

mod away;
mod connected;
mod direct;
mod longpoll;
mod rates;
mod revocations;
mod rooms;
mod seen;
mod statuses;

use std::{ffi::OsStr, path::Path};

use serde_json::json;

use super::support::{Client, Guest, Rest, Server};

/// The server, if there is one. Without it a test is skipped, and says so; where backends are
/// required it fails.
fn server() -> Option<String> {
    variable("TEST_REDIS_URL")
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the servers of the tests are"
)]
fn variable(name: &str) -> Option<String> {
    let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let found = read(name);
    if found.is_none() {
        let is_required = read("TEST_REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!is_required, "set {name}");
        println!("skipped: no {name}");
    }
    found
}

/// Two processes on one directory, with further settings as environment.
async fn two(dir: &Path, redis: &str, settings: &[(&str, &str)]) -> [Server; 2] {
    let redis = ("QUIKAPP_STORAGE__REDIS", redis);
    let settings = [&[redis], settings].concat();
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, OsStr::new(*value)))
        .collect();
    let data = dir.join("data");
    let here = Server::start_as(dir, &data, "127.0.0.1:0", &[], &settings).await;
    let there = Server::start_as(dir, &data, "127.0.0.2:0", &[], &settings).await;
    [here, there]
}

/// Alice on one process and Bob on the other, in a conversation of theirs.
struct Pair {
    people: [Guest; 2],
    conversation: String,
    topic: String,
    alice: Client,
    bob: Client,
}

impl Pair {
    async fn chatting(here: &Server, there: &Server) -> Self {
        let rest = Rest::of(here);
        let people = [rest.guest("Alice").await, rest.guest("Bob").await];
        let conversation = rest.group(&people).await;
        let topic = format!("chat:{conversation}");
        let mut alice = Client::connect(here, &people[0]).await;
        let mut bob = Client::connect(there, &people[1]).await;
        alice.join(&topic, json!({})).await;
        bob.join(&topic, json!({})).await;
        Self {
            people,
            conversation,
            topic,
            alice,
            bob,
        }
    }
}
