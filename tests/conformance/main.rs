//! Replays recordings of a real Phoenix against this server, with the reference application of the
//! recordings written as channels of ours, and compares frame by frame.

#![allow(unreachable_pub, reason = "a test has no outside")]

mod client;
mod compare;
mod exceptions;
mod json;
mod recording;
#[path = "../support/reference_app/mod.rs"]
mod reference_app;
mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use compare::Tally;
use exceptions::Exceptions;
use recording::Recording;
use reference_app::ReferenceApp;

/// How many `ws-*` and `lp-*` recordings there are: one that is not found would agree with anything.
const RECORDINGS: usize = 47;

/// Every `ws-*` and `lp-*` recording, each against a server of its own, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_as_phoenix_did() -> Result<()> {
    let recordings = recordings()?;
    assert_eq!(recordings.len(), RECORDINGS);
    let exceptions = Arc::new(Exceptions::load(&folder().join("exceptions.toml"))?);
    exceptions.check_all_are_used(&recordings)?;
    let replays: Vec<_> = recordings
        .into_iter()
        .map(|recording| {
            (
                recording.name.clone(),
                tokio::spawn(replay_one(recording, exceptions.clone())),
            )
        })
        .collect();
    let mut total = Tally::default();
    let count = replays.len();
    for (name, replay) in replays {
        let tally = replay.await?.with_context(|| name.clone())?;
        print(&name, &tally);
        total.compared += tally.compared;
        total.equal += tally.equal;
        total.excepted += tally.excepted;
        total.differences.extend(
            tally
                .differences
                .into_iter()
                .map(|text| format!("{name}: {text}")),
        );
    }
    print(&format!("{count} recordings"), &total);
    assert!(
        total.differences.is_empty(),
        "{}",
        total.differences.join("\n")
    );
    Ok(())
}

async fn replay_one(recording: Recording, exceptions: Arc<Exceptions>) -> Result<Tally> {
    let app = ReferenceApp::start(([127, 0, 0, 1], 0).into()).await?;
    let tally = replay::replay(&recording, &exceptions, app.address()).await;
    app.stop().await?;
    tally
}

fn recordings() -> Result<Vec<Recording>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder().join("recordings/phoenix-1.8.12"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths
        .iter()
        .filter(|path| name_of(path).starts_with("ws-") || name_of(path).starts_with("lp-"))
        .map(|path| Recording::load(path).with_context(|| path.display().to_string()))
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn name_of(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn print(name: &str, tally: &Tally) {
    let Tally {
        compared,
        equal,
        excepted,
        ..
    } = tally;
    println!("{name:32} compared {compared:4}  equal {equal:4}  by exception {excepted:2}");
}
