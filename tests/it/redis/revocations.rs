//! A revocation acts on the other node as soon as it is told of it; without Redis, at its next poll.

use std::{path::Path, sync::Arc, time::Duration};

use quikapp_actors::{Clock, SystemClock, fanout::Fanout};
use quikapp_realtime::auth::{Principal, Revocations};
use quikapp_storage::{Config, Person, ServerUrl, Timestamp, UserId, WorkspaceId, connect};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::server;
use crate::support::PATIENCE;

/// Long enough that no poll happens while a test runs.
const NEVER: Duration = Duration::from_secs(3600);

async fn node(dir: &Path, redis: &str, poll: Duration) -> Revocations {
    let config = Config {
        redis: Some(ServerUrl::parse(redis).unwrap()),
        ..Config::at(dir)
    };
    let store = connect(&config).await.unwrap().store;
    let day = Duration::from_secs(24 * 3600);
    let started = Revocations::start(store, Arc::new(SystemClock), Fanout::new(), poll, day);
    started.await.unwrap()
}

fn holder(jti: &str) -> Principal {
    let now = SystemClock.now();
    Principal {
        person: Person {
            workspace: WorkspaceId::new("acme").unwrap(),
            user: UserId::new("ana").unwrap(),
        },
        device: None,
        role: Default::default(),
        rooms: Default::default(),
        jti: jti.into(),
        issued_at: now,
        expires_at: Timestamp(now.0 + 3_600_000),
    }
}

async fn revoke(on: &Revocations, holder: &Principal) {
    let revoked = on.revoke_token(holder.workspace(), &holder.jti);
    revoked.await.unwrap();
}

/// Whether the node comes to refuse the holder within so long.
async fn refuses(node: &Revocations, holder: &Principal, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while !node.refuse(holder) {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_node_acts_at_once_without_polling() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let one = node(dir.path(), &redis, NEVER).await;
    let two = node(dir.path(), &redis, NEVER).await;
    // It may not have begun to listen: until it hears the first, others follow.
    let mut number = 0;
    let deadline = Instant::now() + PATIENCE;
    while !refuses(&two, &holder("0"), Duration::from_millis(300)).await {
        assert!(Instant::now() < deadline, "never told");
        revoke(&one, &holder("0")).await;
        number += 1;
        revoke(&one, &holder(&number.to_string())).await;
    }
    let last = holder("last");
    let began = Instant::now();
    revoke(&one, &last).await;
    assert!(refuses(&two, &last, Duration::from_secs(1)).await);
    println!("revoked on the other node after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_poll_finds_it() {
    let dir = tempdir().unwrap();
    // Nobody listens on the port of discard (RFC 863).
    let redis = "redis://127.0.0.1:9/";
    let one = node(dir.path(), redis, NEVER).await;
    let two = node(dir.path(), redis, Duration::from_millis(200)).await;
    let ana = holder("ana's");
    revoke(&one, &ana).await;
    assert!(one.refuse(&ana), "acts here at once");
    assert!(refuses(&two, &ana, Duration::from_secs(5)).await);
}
