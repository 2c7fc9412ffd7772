//! `kill -9` at random moments, while every client reconnects at random.

use tempfile::tempdir;

use super::sized;
use crate::support::{Load, Plan, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_kill_9_at_random_moments() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let mut load = Load::start(Plan::new("kill -9"), dir.path(), &[&server]).await;
    for round in 0..sized(4, 50) {
        load.acknowledges(40 + load.random(120)).await;
        if round == 1 {
            // Another process has to do it.
            load.erases_somebody(&server).await;
        }
        load.fault("kill -9");
        server.kill().await;
        server = Server::start(dir.path()).await;
        load.servers_are(&[&server]);
    }
    load.acknowledges(50).await;
    load.passes(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_clients_that_reconnect_at_random() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let plan = Plan {
        lifetime: (1, 30),
        ..Plan::new("reconnecting")
    };
    let mut load = Load::start(plan, dir.path(), &[&server]).await;
    load.acknowledges(sized(200, 1_500)).await;
    load.erases_somebody(&server).await;
    load.acknowledges(sized(200, 1_500)).await;
    let counts = load.passes(&server).await;
    // There was something of everything.
    let of_each = [
        counts.threaded,
        counts.pins,
        counts.heard,
        counts.marks,
        counts.erased,
    ];
    assert!(!of_each.contains(&0), "{counts:?}");
}
