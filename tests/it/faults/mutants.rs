//! Servers that break a promise on purpose: the checker must say which.

use std::time::Duration;

use quikapp_history::{Rule, Verdict};
use tempfile::tempdir;

use crate::support::{Load, Plan, PowerCut, Server};

fn plan(title: &'static str) -> Plan {
    Plan {
        lifetime: (5, 40),
        bound: Duration::from_secs(1),
        // What is lost does not come, however long one waits.
        settling: Duration::from_secs(3),
        ..Plan::new(title)
    }
}

fn caught(verdict: &Verdict, rule: Rule) {
    assert!(
        verdict.broken.contains_key(&rule),
        "{rule:?} is not in {:?}",
        verdict.broken
    );
}

async fn mutant(dir: &std::path::Path, name: &str) -> Server {
    Server::start_with(dir, "127.0.0.1:0", &["--mutant", name]).await
}

/// A mutant breaks a rule while so many are acknowledged.
async fn breaks(name: &'static str, rule: Rule, acknowledged: u64) {
    let dir = tempdir().unwrap();
    let server = mutant(dir.path(), name).await;
    let mut load = Load::start(plan(name), dir.path(), &[&server]).await;
    load.acknowledges(acknowledged).await;
    caught(&load.finish(&server).await, rule);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_sync_is_caught() {
    let dir = tempdir().unwrap();
    let power = PowerCut::prepare(dir.path());
    let honest = power.start(&[]).await;
    let mut load = Load::start(plan("acknowledge-before-sync"), dir.path(), &[&honest]).await;
    load.acknowledges(40).await;
    // Whoever was removed is back: if only their coming back were lost, they would wait for ever.
    load.comes_back().await;
    // Stopped in good order: everything so far is on the disk, and only what comes now is at risk.
    assert!(honest.terminate().await.success());
    let hasty = power.start(&["--mutant", "acknowledge-before-sync"]).await;
    load.servers_are(&[&hasty]);
    load.acknowledges(80).await;
    load.fault("power cut");
    hasty.kill().await;
    assert!(power.happens() > 0, "nothing was left unsynced");
    let honest = power.start(&[]).await;
    load.servers_are(&[&honest]);
    load.acknowledges(20).await;
    caught(&load.finish(&honest).await, Rule::AcknowledgedIsKept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_on_resume_is_caught() {
    breaks("drop-on-resume", Rule::NothingIsMissed, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_twice_on_a_retry_is_caught() {
    breaks("apply-twice", Rule::AppliedOnce, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeping_what_was_deleted_is_caught() {
    breaks("keep-deleted", Rule::DeletedIsGone, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_too_early_is_caught() {
    breaks("forget-early", Rule::ForgottenWhenHad, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipping_a_revoke_is_caught() {
    let dir = tempdir().unwrap();
    let server = mutant(dir.path(), "skip-revoke").await;
    let plan = Plan {
        // Connections last: whoever connects again is refused even so.
        lifetime: (100_000, 100_000),
        ..plan("skip-revoke")
    };
    let mut load = Load::start(plan, dir.path(), &[&server]).await;
    load.comes_back().await;
    caught(&load.finish(&server).await, Rule::OnlyMembers);
}
