//! What Redis does, and what happens without it.

use std::time::Duration;

use quikapp_storage::{Config, RevokedSubject, Timestamp, conformance, open};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use crate::support::{Gate, node, server};

const NOW: Timestamp = Timestamp(1_750_000_000_000);
const LATER: Timestamp = Timestamp(1_750_000_060_000);

fn hash() -> [u8; 32] {
    let mut hash = [7; 32];
    hash[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_with_redis() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = node(dir.path(), &redis).await.store;
    conformance::run_all(|| std::future::ready(store.clone())).await;
}

/// Two nodes on one store: a ticket that one issues the other takes, and nobody takes it again.
/// The durable store never had it.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_taken_once_over_two_nodes() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let one = node(dir.path(), &redis).await.store;
    let two = node(dir.path(), &redis).await.store;
    let durable = open(&Config::at(dir.path())).unwrap();
    let ticket = hash();
    one.put_ticket(ticket, "{\"who\":\"ana\"}", LATER)
        .await
        .unwrap();
    assert_eq!(durable.take_ticket(ticket, NOW).await, Ok(None));
    let taken = two.take_ticket(ticket, NOW).await.unwrap();
    assert_eq!(taken.as_deref(), Some("{\"who\":\"ana\"}"));
    assert_eq!(one.take_ticket(ticket, NOW).await, Ok(None));
    assert_eq!(two.take_ticket(ticket, NOW).await, Ok(None));
    let expired = hash();
    one.put_ticket(expired, "{}", NOW).await.unwrap();
    assert_eq!(two.take_ticket(expired, LATER).await, Ok(None));
}

/// Another node is told at once; the durable store has it.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_is_told_of_a_revocation() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let one = node(dir.path(), &redis).await.store;
    let two = node(dir.path(), &redis).await.store;
    let mut above = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let subject = RevokedSubject::Jti("a token".to_owned());
        let revoked = one.revoke(subject, NOW, LATER).await.unwrap();
        // The first may come before the other has begun to listen.
        let told = timeout(Duration::from_millis(500), two.revocation_hint(above)).await;
        if let Ok(number) = told {
            assert_eq!(number, revoked.number);
            let known = two.revocations_since(above).await.unwrap();
            assert_eq!(known.last(), Some(&revoked));
            return;
        }
        above = revoked.number;
        assert!(Instant::now() < deadline, "never told");
    }
}

/// Redis goes away and comes back: tickets go to the durable store meanwhile, revocations are
/// written, and what is optional is told apart from what is not.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_goes_on() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut gate = Gate::before(&redis).await;
    let connected = node(dir.path(), &gate.url()).await;
    let store = connected.store;
    store.put_ticket(hash(), "{}", LATER).await.unwrap();
    let optional: Vec<&str> = connected
        .dependencies
        .iter()
        .filter(|it| it.is_optional)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(optional, ["redis"]);
    let probe = connected.dependencies.last().unwrap();
    assert_eq!(probe.check().await, Ok(()));

    gate.shut().await;
    // The first request may be under way when the connection ends: that ticket is given up.
    let first = store.put_ticket(hash(), "{}", LATER).await;
    assert!(
        first.is_ok() || format!("{first:?}").contains("Unavailable"),
        "{first:?}"
    );
    assert!(probe.check().await.is_err());
    let ticket = hash();
    store.put_ticket(ticket, "{\"n\":1}", LATER).await.unwrap();
    let subject = RevokedSubject::SignedOut("a token".to_owned());
    let revoked = store.revoke(subject, NOW, LATER).await.unwrap();
    let known = store.revocations_since(revoked.number - 1).await.unwrap();
    assert_eq!(known, [revoked]);

    gate.open().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while probe.check().await.is_err() {
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::task::yield_now().await;
    }
    // What was issued meanwhile is found, and once only.
    let taken = store.take_ticket(ticket, NOW).await.unwrap();
    assert_eq!(taken.as_deref(), Some("{\"n\":1}"));
    assert_eq!(store.take_ticket(ticket, NOW).await, Ok(None));
}

/// A Redis that takes requests and never answers costs its 200 ms once, and not each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_holds_nobody_up() {
    // Connections are made by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://:s3cret@{}/", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let connected = node(dir.path(), &url).await;
    let store = connected.store;
    let began = Instant::now();
    for _ in 0..20 {
        let ticket = hash();
        store.put_ticket(ticket, "{}", LATER).await.unwrap();
        assert_eq!(
            store.take_ticket(ticket, NOW).await,
            Ok(Some("{}".to_owned()))
        );
    }
    // Twenty times 200 ms, twice each, would be eight seconds.
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    let problem = connected
        .dependencies
        .last()
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(!problem.contains("s3cret"), "{problem}");
}
