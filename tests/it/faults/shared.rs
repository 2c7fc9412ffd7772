//! Two processes on one data directory that take the same conversations from each other.

use tempfile::tempdir;

use super::sized;
use crate::support::{Load, Plan, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_two_processes_fight() {
    let dir = tempdir().unwrap();
    let here = Server::start_with(dir.path(), "127.0.0.1:0", &[]).await;
    let there = Server::start_with(dir.path(), "127.0.0.2:0", &[]).await;
    let mut load = Load::start(Plan::new("two processes"), dir.path(), &[&here, &there]).await;
    load.fault("two processes, one directory");
    load.acknowledges(sized(100, 1_000)).await;
    load.erases_somebody(&here).await;
    load.acknowledges(sized(150, 1_500)).await;
    load.passes(&here).await;
}
