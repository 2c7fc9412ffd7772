//! A disk that is full, and one that is read-only, under load.

use std::time::Duration;

use reqwest::StatusCode;
use tempfile::tempdir;
use tokio::time::Instant;

use super::sized;
use crate::{
    disk::{Immutable, Tmpfs, fill_up, is_root, skipped},
    support::{Load, Plan, Rest, Server, within},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_disk_is_full() {
    let dir = tempdir().unwrap();
    let mounted = is_root()
        .then(|| Tmpfs::mount(dir.path().join("disk"), "96m"))
        .flatten();
    let Some(disk) = mounted else {
        return skipped(
            "nothing_is_lost_when_the_disk_is_full",
            "mounting a tmpfs needs root",
        );
    };
    let (data, ballast) = (disk.path().join("data"), disk.path().join("ballast"));
    let server = Server::start_as(dir.path(), &data, "127.0.0.1:0", &[], &[]).await;
    let rest = Rest::of(&server);
    let load = Load::start(Plan::new("full disk"), dir.path(), &[&server]).await;
    for _ in 0..sized(2, 10) {
        load.acknowledges(60).await;
        load.fault("the disk is full");
        fill_up(&ballast);
        // As long as its log has room of its own, from before a checkpoint, the store takes writes.
        load.is_unavailable().await;
        turns(&rest, StatusCode::SERVICE_UNAVAILABLE).await;
        load.is_refused(30).await;
        let ready = rest.status("/health/ready", &[]).await;
        assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE, "still full");
        std::fs::remove_file(&ballast).unwrap();
        turns(&rest, StatusCode::OK).await;
    }
    load.acknowledges(60).await;
    load.passes(&server).await;
}

/// How soon readiness tells what has become of the disk.
const PROMPTLY: Duration = Duration::from_secs(5);

/// Readiness answers so before long.
async fn turns(rest: &Rest, status: StatusCode) {
    let since = Instant::now();
    within("another readiness", async {
        while rest.status("/health/ready", &[]).await != status {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_disk_is_read_only() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let can_be_made = || {
        is_root()
            .then(|| Immutable::make(&server.data_dir))
            .flatten()
    };
    if can_be_made().is_none() {
        return skipped(
            "nothing_is_lost_when_the_disk_is_read_only",
            "making files immutable needs root and a file system that knows the flag",
        );
    }
    let load = Load::start(Plan::new("read-only disk"), dir.path(), &[&server]).await;
    for _ in 0..sized(2, 10) {
        load.acknowledges(60).await;
        load.fault("the disk is read-only");
        let read_only = can_be_made().unwrap();
        load.is_refused(30).await;
        drop(read_only);
    }
    load.acknowledges(60).await;
    load.passes(&server).await;
}
