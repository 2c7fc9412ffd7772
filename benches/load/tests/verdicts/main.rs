//! The load tester against a small server that keeps or breaks its promises, in every protocol: a
//! run passes only when everything arrived once, unaltered and in order.
#![allow(clippy::unwrap_used)]

mod server;

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Parser, ValueEnum};
use quikapp_load::{Args, Kind, Language, Measure, Report, plan, run};
use server::{Fault, KEY, start};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

async fn bench(language: Language, fault: Fault, scenario: &str) -> Report {
    let (address, _) = start(language, fault).await;
    bench_at(address, language, scenario).await
}

async fn bench_at(address: SocketAddr, language: Language, scenario: &str) -> Report {
    let url = format!("http://{address}");
    let name = language.to_possible_value().unwrap();
    let pid = std::process::id().to_string();
    let words = ["bench"].into_iter().chain(scenario.split(' '));
    let more = ["--url", &url, "--protocol", name.get_name(), "--pid", &pid];
    let deadline = ["--deadline", "30"].into_iter();
    let deadline = deadline.filter(|_| !scenario.contains("--deadline"));
    let patience = ["--patience", "1"].into_iter();
    let patience = patience.filter(|_| !scenario.contains("--patience"));
    let limits = patience.chain(deadline);
    let cli = Cli::parse_from(words.chain(more).chain(limits));
    run(&plan(&cli.args).unwrap(), false).await.unwrap()
}

const ALL: [Language; 4] = [
    Language::Phoenix,
    Language::Socketio,
    Language::Centrifuge,
    Language::Raw,
];

const FANOUT: &str =
    "fanout --members 7 --senders 2 --seconds 0.3 --warmup 0.1 --in-flight 4 --burst-ms 1";
const ROOMS: &str = "rooms --rooms 3 --members 3 --warmup 0 --rate 100:300ms";
const PINGPONG: &str = "pingpong --pairs 2 --rounds 40 --warmup 0";
const CHAT: &str = "chat --senders 3 --conversations 1 --seconds 0.3 --warmup 0";
const IDLE: &str = "idle --sockets 30 --people 3 --hold 0";
const STORM: &str = "storm --sockets 10 --people 2 --reconnects 1";
const PRESENCE: &str =
    "presence --people 6 --observers 2 --churn 20 --seconds 0.5 --warmup 0 --threads 2";

fn figure(report: &Report, name: &str) -> f64 {
    report
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[tokio::test]
async fn an_honest_server_passes_in_every_protocol() {
    for language in ALL {
        let report = bench(language, Fault::None, FANOUT).await;
        assert!(report.passed, "{language:?}: {report}");
        assert!(figure(&report, "messages") >= 4.0);
        assert!(figure(&report, "cpu_us_per_delivery") >= 0.0);
        assert!(figure(&report, "p50") <= figure(&report, "p99"));

        let report = bench(language, Fault::None, &format!("{ROOMS} --threads 2")).await;
        assert!(report.passed, "{language:?}: {report}");
        assert_eq!(figure(&report, "messages"), 30.0, "100 per s for 0.3 s");
        assert!(figure(&report, "late_max") > 0.0);

        let report = bench(language, Fault::None, PINGPONG).await;
        assert!(report.passed, "{language:?}: {report}");
        assert_eq!(figure(&report, "rounds"), 40.0);

        let report = bench(language, Fault::None, STORM).await;
        assert!(report.passed, "{language:?}: {report}");
        assert_eq!(figure(&report, "connects"), 20.0);
        if language != Language::Raw {
            let report = bench(language, Fault::None, CHAT).await;
            assert!(report.passed, "{language:?}: {report}");
            assert!(figure(&report, "acknowledged") > 1.0);
        }
    }
}

#[tokio::test]
async fn idle_and_presence_pass() {
    let report = bench(Language::Phoenix, Fault::None, IDLE).await;
    assert!(report.passed, "{report}");
    assert_eq!(figure(&report, "sockets"), 30.0);
    assert!(figure(&report, "rss_mb") > 0.0);
    let report = bench(Language::Phoenix, Fault::None, PRESENCE).await;
    assert!(report.passed, "{report}");
    assert!(figure(&report, "p99") > 0.0);
}

#[tokio::test]
async fn sockets_come_from_the_addresses_that_were_given() {
    for (wish, expected) in [
        ("3", &["127.0.0.2", "127.0.0.3", "127.0.0.4"][..]),
        ("127.0.0.9,127.0.0.7", &["127.0.0.7", "127.0.0.9"][..]),
    ] {
        let (address, server) = start(Language::Raw, Fault::None).await;
        let idle = format!("{IDLE} --sources {wish}");
        let report = bench_at(address, Language::Raw, &idle).await;
        assert!(report.passed, "{report}");
        assert_eq!(server.sources(), expected);
    }
}

/// A fault, and what it is called in the report.
const FAULTS: [(Fault, Kind); 5] = [
    (Fault::Loses, Kind::Lost),
    (Fault::Repeats, Kind::Duplicate),
    (Fault::Swaps, Kind::OutOfOrder),
    (Fault::Alters, Kind::Altered),
    (Fault::Closes, Kind::Closed),
];

#[tokio::test]
async fn a_lying_server_is_caught_in_every_protocol() {
    for language in ALL {
        for (fault, kind) in FAULTS {
            let report = bench(language, fault, FANOUT).await;
            let violations = &report.runs[0].parts[0].record.violations;
            assert!(!report.passed, "{language:?} {fault:?}: {report}");
            assert_eq!(
                violations.count(kind),
                1,
                "{language:?} {fault:?}: {report}"
            );
            // Who lost a socket does not go on, and says so.
            let ended_early = report.runs[0].aborted.is_some();
            assert_eq!(ended_early, fault == Fault::Closes, "{fault:?}: {report}");
            // What was under way to it may have come, for all that is known.
            let is_unknown = figure(&report, "unknown") > 0.0;
            assert_eq!(is_unknown, fault == Fault::Closes, "{fault:?}: {report}");
            let is_lost = violations.count(Kind::Lost) > 0;
            assert!(!is_lost || fault != Fault::Closes, "{report}");
        }
    }
}

async fn found(language: Language, fault: Fault, scenario: &str, kind: Kind) -> u64 {
    let report = bench(language, fault, scenario).await;
    assert!(!report.passed, "{fault:?}: {report}");
    report.runs[0].parts[0].record.violations.count(kind)
}

#[tokio::test]
async fn what_is_meant_for_others_is_foreign() {
    let leaked = found(Language::Raw, Fault::Leaks, ROOMS, Kind::Foreign).await;
    assert_eq!(leaked, 6, "the members of two other rooms");
}

#[tokio::test]
async fn a_lost_lone_message_is_found_when_nothing_more_comes() {
    let one_by_one = "fanout --members 3 --senders 1 --seconds 20 --warmup 0 --burst-ms 1";
    assert_eq!(
        found(Language::Phoenix, Fault::Loses, one_by_one, Kind::Lost).await,
        1
    );
}

/// The fifth of five messages is lost, 0.2 s after the first; 1 s later nobody waits for it.
#[tokio::test]
async fn what_had_no_time_to_arrive_is_not_lost() {
    let last = "rooms --rooms 1 --members 3 --warmup 0 --rate 20:240ms";
    assert_eq!(
        found(Language::Raw, Fault::Loses, last, Kind::Lost).await,
        1
    );
    let cut_short = format!("{last} --deadline 1");
    let report = bench(Language::Raw, Fault::Loses, &cut_short).await;
    let aborted = report.runs[0].aborted.as_deref();
    assert_eq!(aborted, Some("the deadline passed"));
    let violations = &report.runs[0].parts[0].record.violations;
    assert!(!report.passed && violations.is_empty(), "{report}");
    assert_eq!(figure(&report, "unknown"), 1.0, "{report}");
    assert!(report.to_string().contains("under way"), "{report}");
}

#[tokio::test]
async fn what_was_acknowledged_is_heard_by_all_in_one_order() {
    for language in [Language::Phoenix, Language::Socketio, Language::Centrifuge] {
        let lost = found(language, Fault::Forgets, CHAT, Kind::Lost).await;
        assert_eq!(lost, 3, "{language:?}: every member");
        // One member hears the fifth message, of one sender, after the sixth, of another.
        let swapped = found(language, Fault::Swaps, CHAT, Kind::OutOfOrder).await;
        assert!(swapped >= 1, "{language:?}");
    }
}

#[tokio::test]
async fn a_refusal_fails_unless_the_server_says_when_to_come_back() {
    assert!(found(Language::Phoenix, Fault::RefusesJoins, IDLE, Kind::Refused).await > 0);
    let busy = |hint| Fault::IsBusy { hint };
    assert_eq!(
        found(Language::Raw, busy(false), STORM, Kind::Refused).await,
        3
    );
    let report = bench(Language::Raw, busy(true), IDLE).await;
    assert!(report.passed, "{report}");
    assert_eq!(figure(&report, "deferred"), 3.0);
    assert!(figure(&report, "max") > 1e6, "counted from when it was due");
}

/// Rounds are of all threads together, and not of each.
#[tokio::test]
async fn a_wave_is_one_for_all_threads() {
    let storm = "storm --sockets 20 --people 2 --reconnects 3 --threads 2";
    let report = bench(Language::Raw, Fault::None, storm).await;
    assert!(report.passed, "{report}");
    let record = &report.runs[0].parts[0].record;
    assert_eq!((record.counters.connects, record.counters.rounds), (80, 3));
    assert!(figure(&report, "back_s") * 1e6 >= figure(&report, "max"));
}

#[tokio::test]
async fn how_late_the_generator_was_is_known_of_connections_too() {
    let churn = "storm --sockets 10 --people 2 --churn 20:300ms";
    let by_rate = "storm --sockets 10 --people 2 --connect-rate 200";
    let idle = "idle --sockets 10 --people 2 --hold 0 --connect-rate 200";
    for (scenario, connects) in [(churn, 6), (by_rate, 10), (idle, 10)] {
        let report = bench(Language::Raw, Fault::None, scenario).await;
        assert!(report.passed, "{report}");
        let latencies = &report.runs[0].parts[0].record.latencies;
        let counted = [Measure::Connect, Measure::LateConnect].map(|of| latencies[&of].count());
        assert_eq!(counted, [connects; 2], "{scenario}");
        let [late, whole] = ["late_connect_max", "max"].map(|name| figure(&report, name));
        assert!(late > 0.0 && late <= whole, "{scenario}: {report}");
    }
}

#[tokio::test]
async fn a_join_that_is_to_be_tried_again_is_no_fault() {
    let report = bench(Language::Phoenix, Fault::DefersJoins, IDLE).await;
    assert!(report.passed, "{report}");
    assert_eq!(figure(&report, "deferred"), 3.0);
    assert!(
        figure(&report, "max") > 0.3e6,
        "counted from when it was due"
    );
}

/// A message is due every 20 ms for a second, and the server does nothing from the fifth on for
/// that long: most wait for half a second on the average. Waiting for the server to send them
/// would have made one slow message of it, or one for each sender.
#[tokio::test]
async fn a_server_that_stalls_is_slow_in_the_percentiles_of_the_open_loop() {
    let chat = format!("{CHAT} --rate 50:1s --patience 10").replace("--seconds 0.3 ", "");
    for language in [Language::Phoenix, Language::Socketio, Language::Centrifuge] {
        let report = bench(language, Fault::Stalls, &chat).await;
        assert!(report.passed, "{language:?}: {report}");
        assert_eq!(figure(&report, "messages"), 50.0, "all were sent");
        for measure in ["delivery_", ""] {
            let at = |quantile| figure(&report, &format!("{measure}{quantile}")) / 1e6;
            assert!(at("p50") > 0.3, "{measure}: {report}");
            assert!(at("p90") > 0.7 && at("max") > 0.9, "{measure}: {report}");
        }
    }
}

#[tokio::test]
async fn a_gateway_gets_the_headers_that_are_given_and_no_report_does() {
    let (name, value) = KEY;
    let with_key = format!("{IDLE} --header {name}:{value} --header Origin:http://example.org");
    // Guests are made by requests of their own.
    for language in [Language::Phoenix, Language::Raw] {
        let report = bench(language, Fault::NeedsKey, &with_key).await;
        assert!(report.passed, "{language:?}: {report}");
        let json = serde_json::to_string(&report).unwrap();
        assert!(!json.contains(value) && !report.to_string().contains(value));
        assert_eq!(report.plan["target"]["headers"][0], name);
    }
    assert!(found(Language::Raw, Fault::NeedsKey, IDLE, Kind::Refused).await > 0);
}

#[tokio::test]
async fn a_ghost_in_presence_is_found() {
    let ghosts = found(
        Language::Phoenix,
        Fault::ShowsGhosts,
        PRESENCE,
        Kind::Presence,
    )
    .await;
    assert_eq!(ghosts, 2, "each observer");
}

/// The last of the forty are due two seconds after the first.
#[tokio::test]
async fn how_all_come_in_the_beginning_is_not_what_is_measured() {
    let calm = "presence --people 40 --observers 2 --connect-rate 20 --churn 5:1s --seconds 1.2 --warmup 0";
    let report = bench(Language::Phoenix, Fault::None, calm).await;
    assert!(report.passed, "{report}");
    assert_eq!(figure(&report, "messages"), 5.0);
    assert_eq!(figure(&report, "owed"), 0.0);
    for seen in ["max", "gone_max"] {
        assert!(figure(&report, seen) < 1e6, "{seen}: {report}");
    }
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "a moment of the wall clock is what is given"
)]
async fn waiting_for_the_others_is_in_no_deadline() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let moment = now.as_secs_f64() + 4.0;
    let late = format!("{FANOUT} --deadline 3 --start-at {moment}");
    let report = bench(Language::Raw, Fault::None, &late).await;
    assert!(report.passed, "{report}");
    let never = "idle --sockets 3 --hold 9 --deadline 1";
    let report = bench(Language::Raw, Fault::None, never).await;
    let aborted = report.runs[0].aborted.as_deref();
    assert_eq!(aborted, Some("the deadline passed"));
}

#[tokio::test]
async fn a_report_keeps_what_it_says_through_json() {
    let report = bench(
        Language::Raw,
        Fault::None,
        &format!("{PINGPONG} --repeat 2"),
    )
    .await;
    assert!(report.to_string().starts_with("pingpong: median of 2 runs"));
    let json = serde_json::to_string(&report).unwrap();
    let back = Report::from_json(&json).unwrap();
    // Seconds may differ in their last bit; counts and histograms do not.
    for (run, original) in back.runs.iter().zip(&report.runs) {
        assert_eq!(run.parts, original.parts);
    }
    assert_eq!((back.runs.len(), back.passed), (2, true));
    assert_eq!(back.get("p99"), report.get("p99"));
}
