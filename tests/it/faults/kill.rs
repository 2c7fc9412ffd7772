//! `kill -9` at random moments, while every client reconnects at random.

use tempfile::tempdir;

use super::sized;
use crate::support::{Load, Plan, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_kill_9_at_random_moments() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let load = Load::start(Plan::new("kill -9"), dir.path(), &[&server]).await;
    for _ in 0..sized(4, 50) {
        load.acknowledges(40 + load.random(120)).await;
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
    let load = Load::start(plan, dir.path(), &[&server]).await;
    load.acknowledges(sized(400, 3_000)).await;
    load.passes(&server).await;
}
