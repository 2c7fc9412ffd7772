//! One of two processes is stopped (SIGSTOP) in the middle of everything, and goes on later
//! believing that it still owns what the other has taken over.

use std::time::Duration;

use tempfile::tempdir;

use super::sized;
use crate::support::{Load, Plan, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_process_is_stopped() {
    let dir = tempdir().unwrap();
    let here = Server::start_with(dir.path(), "127.0.0.1:0", &[]).await;
    let there = Server::start_with(dir.path(), "127.0.0.2:0", &[]).await;
    let stopped = Duration::from_secs(sized(3, 30));
    let plan = Plan {
        // What the stopped process had queued it sends when it goes on.
        bound: stopped + Duration::from_secs(5),
        patience: Duration::from_secs(1),
        ..Plan::new("stopped process")
    };
    let load = Load::start(plan, dir.path(), &[&here, &there]).await;
    for _ in 0..sized(1, 2) {
        load.acknowledges(60).await;
        load.fault("SIGSTOP");
        there.signal("STOP").await;
        tokio::time::sleep(stopped).await;
        there.signal("CONT").await;
        load.acknowledges(60).await;
    }
    load.passes(&here).await;
}
