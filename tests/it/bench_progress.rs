//! `quikapp bench` tells how a run goes: on a terminal in one line, which it leaves as it was;
//! elsewhere only when asked, line by line, and never among the results. Those who come are guests.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::{TempDir, tempdir};
use tokio::process::Command;

use crate::support::{Server, quikapp};

/// A run in a debug build on a busy machine is slow to start, and its `--deadline` comes first.
const LONGEST: Duration = Duration::from_secs(120);
const SCENARIO: &str = "rooms --rooms 2 --members 3 --rate 50 --seconds 3 --warmup 0 --deadline 60";

/// What a program wrote, by file descriptor.
struct Said {
    out: String,
    err: String,
}

async fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(LONGEST, output)
        .await
        .unwrap()
        .unwrap();
    let said = Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert_eq!(output.status.code(), Some(0), "{}{}", said.out, said.err);
    said
}

async fn site() -> (TempDir, Server) {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    (dir, server)
}

fn arguments(server: &Server, further: &str) -> String {
    let address = server.address();
    format!("bench {SCENARIO} --url http://{address} {further}")
}

/// The moments of a run that a text tells of: `measure 2 s: 6/6 sockets, ...`.
fn is_told(line: &str) -> bool {
    line.starts_with("measure ")
        && line.contains(" s: 6/6 sockets, ")
        && line.contains(" messages/s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_one_line_is_written_over_itself_and_removed() {
    let (_dir, server) = site().await;
    let program = quikapp();
    let program = program.as_std().get_program().to_str().unwrap();
    let line = format!("{program} {}", arguments(&server, ""));
    // Gives the program a terminal, and copies what appears there.
    let mut terminal = Command::new("script");
    let shown = said(terminal.args(["-qec", &line, "/dev/null"])).await.out;

    // What a terminal shows one after the other: everything up to the first line's end is one line.
    let (line, results) = shown.split_once('\n').unwrap();
    let states: Vec<_> = line.split('\r').map(str::trim_end).collect();
    let told = states.iter().filter(|state| is_told(state)).count();
    assert!(told >= 2, "{shown:?}");
    // The last that is told, of whichever phase, is overwritten with blanks before the results.
    let last = states.iter().rposition(|state| state.contains(" sockets"));
    assert_eq!(states.get(last.unwrap() + 1), Some(&""), "{shown:?}");
    assert!(results.contains("deliveries"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elsewhere_it_is_told_when_asked_and_results_stay_clean() {
    let (_dir, server) = site().await;
    let run = async |further: &str| {
        let arguments = arguments(&server, further);
        said(quikapp().args(arguments.split_whitespace())).await
    };
    let silent = run("--json").await;
    assert!(!silent.err.contains("sockets"), "{}", silent.err);
    let told = run("--json --progress").await;
    assert!(
        told.err.lines().filter(|line| is_told(line)).count() >= 2,
        "{}",
        told.err
    );
    assert!(!told.err.contains('\r'), "{}", told.err);
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(report["passed"], true);
}
