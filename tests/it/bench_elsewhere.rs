//! `quikapp bench` loads any Phoenix application in that one's own words, and judges it as it does
//! a QuikApp: here the reference application of the recordings.

use std::{fs, process::Output, time::Duration};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    reference_app::ReferenceApp,
    support::{quikapp, said},
};

/// A run in a debug build on a busy machine is slow to start, and its `--deadline` comes first.
const LONGEST: Duration = Duration::from_secs(120);

/// Nobody has a token; who connects says in the path who that is.
const STRANGERS: [&str; 4] = [
    "--auth",
    "none",
    "--socket-path",
    "/socket/websocket?vsn=2.0.0&token=tok-{user}",
];

/// Rooms, and how the application is told to broadcast to them.
const ROOMS: [&str; 8] = [
    "--topic",
    "room:{run}-{room}",
    "--event",
    "new_msg_noreply",
    "--arrives-as",
    "new_msg",
    "--payload",
    r#"{"body": "{content}", "number": "{ref}"}"#,
];

struct Application {
    app: ReferenceApp,
    dir: TempDir,
}

impl Application {
    async fn start() -> Self {
        let app = ReferenceApp::start("127.0.0.1:0".parse().unwrap());
        Self {
            app: app.await.unwrap(),
            dir: tempdir().unwrap(),
        }
    }

    /// Runs a scenario against the application, in these words.
    async fn bench(&self, scenario: &str, words: &[&[&str]]) -> Output {
        let url = format!("http://{}", self.app.address());
        let mut command = quikapp();
        command.arg("bench").args(scenario.split_whitespace());
        command.args(words.concat()).args(["--url", &url]);
        command.args(["--deadline", "60", "--json=report.json"]);
        let output = command.current_dir(self.dir.path()).output();
        tokio::time::timeout(LONGEST, output)
            .await
            .unwrap()
            .unwrap()
    }

    async fn stop(self) {
        self.app.stop().await.unwrap();
    }

    /// A run that passes, and its report.
    async fn passes(&self, scenario: &str, words: &[&[&str]]) -> Value {
        let done = self.bench(scenario, words).await;
        assert_eq!(done.status.code(), Some(0), "{scenario}: {}", said(&done));
        let text = fs::read(self.dir.path().join("report.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

fn figure(report: &Value, name: &str) -> f64 {
    let figures = report["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["name"] == name);
    let figure = figure.unwrap_or_else(|| panic!("no {name} in {figures:?}"));
    figure["value"].as_f64().unwrap()
}

/// How many latencies of this measure there are in the first part.
fn timed(report: &Value, measure: &str) -> u64 {
    let latencies = &report["runs"][0]["parts"][0]["record"]["latencies"];
    let counts = latencies[measure]["counts"].as_array().unwrap().iter();
    counts.map(|bucket| bucket[1].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn messages_in_the_applications_own_words() {
    let there = Application::start().await;
    let words = [&STRANGERS[..], &ROOMS];
    let fanout = "fanout --members 7 --senders 2 --in-flight 3 --seconds 0.5 --warmup 0.1";
    let report = there.passes(fanout, &words).await;
    assert!(figure(&report, "deliveries") >= 21.0);

    let paced = "rooms --rooms 3 --members 3 --rate 0..60:1s --warmup 0 --threads 2";
    let report = there.passes(paced, &words).await;
    assert_eq!(figure(&report, "messages"), 30.0);

    let rally = "pingpong --pairs 2 --rounds 40 --warmup 0";
    assert_eq!(figure(&there.passes(rally, &words).await, "rounds"), 40.0);
    there.stop().await;
}

/// The application answers this event once it has broadcast. All come with one token.
#[tokio::test]
async fn what_it_answers_is_acknowledged() {
    let there = Application::start().await;
    let one = [
        "--token",
        "tok-everybody",
        "--socket-path",
        "/socket/websocket?vsn=2.0.0&token={token}",
    ];
    let answered = ["--event", "new_msg"];
    let chat = "chat --senders 6 --conversations 2 --rate 40:500ms --warmup 0";
    let words = [&one[..], &ROOMS[..2], &answered, &ROOMS[6..]];
    let report = there.passes(chat, &words).await;
    assert_eq!(
        (timed(&report, "ack"), timed(&report, "delivery")),
        (20, 60)
    );
    there.stop().await;
}

#[tokio::test]
async fn people_who_come_and_go() {
    let there = Application::start().await;
    let join = ["--join", r#"{"reply": {"welcome": true}}"#];
    let storm = "storm --sockets 20 --people 5 --reconnects 2 --threads 2";
    let report = there.passes(storm, &[&STRANGERS, &ROOMS, &join]).await;
    assert_eq!(figure(&report, "connects"), 60.0);

    let shown = ["--topic", "presence:{run}"];
    let presence = "presence --people 8 --observers 2 --churn 20:500ms --warmup 0";
    let report = there.passes(presence, &[&STRANGERS, &shown]).await;
    assert_eq!(figure(&report, "messages"), 10.0);
    assert!(figure(&report, "gone_p99") > 0.0);
    there.stop().await;
}

/// What an application does not deliver is a loss (1), whatever was to hold besides; what arrives
/// and is too slow is a missed threshold (3); who is refused says why.
#[tokio::test]
async fn the_exit_code_tells_a_loss_from_a_missed_threshold() {
    let there = Application::start().await;
    let rooms = "rooms --rooms 1 --members 3 --rate 20:300ms --warmup 0 --patience 1";
    let never = ["--threshold", "p99 < 1ns"];
    let slow = there.bench(rooms, &[&STRANGERS, &ROOMS, &never]).await;
    assert_eq!(slow.status.code(), Some(3), "{}", said(&slow));

    // It is pushed back to who sent it, and nobody else hears of it.
    let alone = ["--event", "push_me", "--arrives-as", "pushed"];
    let words = [&STRANGERS[..], &ROOMS[..2], &alone, &ROOMS[6..], &never];
    let lost = there.bench(rooms, &words).await;
    assert_eq!(lost.status.code(), Some(1), "{}", said(&lost));
    assert!(said(&lost).contains("12 lost"), "{}", said(&lost));

    let join = ["--join", r#"{"fail": "only for members"}"#];
    let refused = there.bench(rooms, &[&STRANGERS, &ROOMS, &join]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let told = said(&refused);
    assert!(told.contains("only for members"), "{told}");
    there.stop().await;
}
