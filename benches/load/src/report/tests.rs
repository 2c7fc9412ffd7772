//! A small report for the tests of this module, and its way through JSON.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    engine::Phase,
    histogram::Latencies,
    meter::Usage,
    record::{Measure, Recorder},
};

/// A server that uses a million bytes, and as many more for each second of CPU time.
pub(super) fn usage(cpu: f64) -> Usage {
    Usage {
        cpu: Some(cpu),
        user: Some(cpu / 2.0),
        rss: Some(1e6 * (1.0 + cpu)),
    }
}

/// A run of one generator that measured one second and received these deliveries.
pub(super) fn run(generator: &str, latencies: &[u64]) -> Run {
    let second = crate::clock::SECOND;
    let mut recorder = Recorder::new(Measure::Delivery, second);
    recorder.advance(Phase::Measure, second / 2);
    for latency in latencies {
        recorder.sent();
        recorder.delivered(second / 2, second / 2 + latency);
    }
    let mut record = recorder.finish();
    record.counters.sockets = 10;
    let sample = |at| Sample {
        at,
        usage: usage(at),
    };
    let span = |phase, begin, end| Span { phase, begin, end };
    let spent = |phase, before, after| SpanUsage {
        phase,
        before: usage(before),
        after: usage(after),
    };
    Run {
        started_at: 1000.0,
        interval: 1.0,
        burst_ms: 0,
        spans: vec![
            span(Phase::Connect, 0.0, 0.5),
            span(Phase::Measure, 0.5, 1.5),
        ],
        parts: vec![PartReport {
            name: "rooms".to_owned(),
            scenario: "rooms".to_owned(),
            main: Measure::Delivery,
            record,
        }],
        servers: vec![Server {
            name: "host/1".to_owned(),
            samples: [0.0, 0.5, 1.5].map(sample).to_vec(),
            spans: vec![
                spent(Phase::Connect, 0.0, 0.1),
                spent(Phase::Measure, 0.1, 0.4),
            ],
        }],
        generators: vec![Generator {
            name: generator.to_owned(),
            threads: vec![Thread {
                busy: 0.5,
                connecting: 0.5,
                waited: 0.0,
                course: vec![(1.0, 0.5)],
            }],
            tls: None,
        }],
        aborted: None,
        connected_apart: false,
    }
}

pub(super) fn report(runs: Vec<Run>) -> Report {
    Report::new("rooms", serde_json::json!({"seed": 1}), &[], runs)
}

#[test]
fn figures_come_from_the_raw_data() {
    let report = report(vec![run("a", &[1000, 3000, 3000])]);
    let get = |name: &str| report.get(name).unwrap_or_else(|| panic!("no {name}"));
    let near = |name: &str, expected: f64| {
        assert!(
            (get(name) / expected - 1.0).abs() < 0.01,
            "{name}: {}",
            get(name)
        );
    };
    near("deliveries", 3.0);
    near("deliveries_per_s", 3.0);
    near("p50", 3.0);
    near("cpu_us_per_delivery", 0.3e6 / 3.0);
    near("cpu_user_us_per_delivery", 0.15e6 / 3.0);
    near("cpu_us_per_connect", 0.1e6 / 10.0);
    near("connects_per_s", 20.0);
    near("server_cpu_percent", 30.0);
    near("rss_kb_per_socket", 0.4e6 / 10.0 / 1e3);
    near("generator_busy_percent", 50.0);
    assert!(report.passed && report.warnings.is_empty());
}

#[test]
fn what_did_not_happen_is_a_figure_too() {
    let mut calm = run("a", &[1000]);
    calm.parts[0].record.counters.stalled = 2;
    let conditions = ["deferred < 10", "cut < 1"].map(|text| text.parse().unwrap());
    let report = Report::new("rooms", serde_json::json!({}), &conditions, vec![calm]);
    assert!(report.meets_thresholds(), "{report}");
    assert_eq!(report.get("owed"), None, "nobody was to leave");
    let mut busy = run("a", &[1000]);
    busy.parts[0].scenario = "storm".to_owned();
    busy.parts[0].record.counters.owed = 7;
    let report = self::report(vec![busy]);
    assert_eq!((report.get("cut"), report.get("owed")), (None, Some(7.0)));
    assert!(report.warnings[0].contains("7 times"), "{report}");
}

#[test]
fn what_was_under_way_is_told_everywhere() {
    let calm = report(vec![run("a", &[1000])]);
    assert_eq!(calm.get("unknown"), Some(0.0));
    assert!(!calm.to_string().contains("under way"), "{calm}");
    let torn = |generator| {
        let mut torn = run(generator, &[1000]);
        torn.parts[0].record.counters.unknown = 7;
        report(vec![torn])
    };
    let merged = merge(&[torn("a"), torn("b")]).unwrap();
    assert_eq!(merged.get("unknown"), Some(14.0));
    let torn = torn("a");
    assert_eq!(torn.get("unknown"), Some(7.0));
    for shown in [torn.to_string(), html(&torn)] {
        assert!(shown.contains("under way at the end"), "{shown}");
        assert!(
            shown.contains("7 deliveries or acknowledgements"),
            "{shown}"
        );
    }
}

#[test]
fn what_a_server_does_not_tell_is_no_figure() {
    let mut silent = run("a", &[1000]);
    for span in &mut silent.servers[0].spans {
        (span.before.cpu, span.after.cpu) = (None, None);
    }
    let known = report(vec![silent.clone()]);
    assert_eq!(known.get("server_cpu_percent"), None);
    assert_eq!(known.get("cpu_us_per_delivery"), None);
    assert!(known.get("rss_mb").is_some());
    for span in &mut silent.servers[0].spans {
        (span.before.rss, span.after.rss) = (None, None);
    }
    assert_eq!(report(vec![silent]).get("rss_mb"), None);
}

#[test]
fn memory_counts_from_before_the_first_run() {
    let (first, mut second) = (run("a", &[1000]), run("a", &[1000]));
    // What the first run used is used again: nothing grows.
    for span in &mut second.servers[0].spans {
        (span.before.rss, span.after.rss) = (Some(1.4e6), Some(1.4e6));
    }
    let both = report(vec![first.clone(), second]);
    let figure = both.figures.iter().find(|f| f.name == "rss_kb_per_socket");
    let figure = figure.unwrap();
    assert!((figure.min - 40.0).abs() < 0.1 && (figure.max - 40.0).abs() < 0.1);
    assert!(both.warnings[0].contains("before the first run"), "{both}");
    assert_eq!(report(vec![first]).warnings, [] as [String; 0]);
}

#[test]
fn json_keeps_the_raw_data_and_the_figures_are_computed_anew() {
    let report = report(vec![run("a", &[1000]), run("b", &[2000])]);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(Report::from_json(&json).unwrap(), report);
    let altered = json.replace("\"passed\":true", "\"passed\":false");
    assert_ne!(altered, json);
    assert!(Report::from_json(&altered).unwrap().passed);
    let newer = json.replace("\"schema\":1", "\"schema\":2");
    let error = Report::from_json(&newer).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    assert!(Report::from_json("{}").is_err());
}

#[test]
fn reports_of_earlier_versions_are_read() {
    let report = report(vec![run("a", &[1000])]);
    let mut json = serde_json::to_value(&report).unwrap();
    let run = &mut json["runs"][0];
    for (place, name) in [
        ("/parts/0/record/counters", "owed"),
        ("/parts/0/record/counters", "stalled"),
        ("/parts/0/record/counters", "unknown"),
        ("/generators/0/threads/0", "connecting"),
    ] {
        let map = run.pointer_mut(place).unwrap().as_object_mut().unwrap();
        assert!(map.remove(name).is_some(), "{name}");
    }
    let read = Report::from_json(&json.to_string()).unwrap();
    assert_eq!(read.get("p99"), report.get("p99"));
}

#[test]
fn a_generator_that_is_the_bottleneck_is_named() {
    let mut busy = run("a", &[1000]);
    busy.generators[0].threads[0].busy = 0.9;
    busy.generators[0].threads[0].waited = 0.3;
    busy.generators[0].threads[0].connecting = 0.95;
    busy.burst_ms = 8;
    let warnings = report(vec![busy]).warnings.join("\n");
    for part in [
        "bottleneck",
        "while sockets connected",
        "core of its own",
        "--burst-ms 0",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
}

#[test]
fn the_generators_own_delay_is_told() {
    let late = |measure: Measure, whole: Measure, late_ms: u64| {
        let mut run = run("a", &[1000]);
        for (measure, ms) in [(measure, late_ms), (whole, 8)] {
            let mut latencies = Latencies::precise();
            latencies.record(ms * 1_000_000);
            run.parts[0].record.latencies.insert(measure, latencies);
        }
        report(vec![run])
    };
    let messages = late(Measure::Late, Measure::Delivery, 4);
    assert!(messages.warnings[0].contains("4.0 ms or more for one message in 100"));
    let connections = late(Measure::LateConnect, Measure::Connect, 4);
    let told = &connections.warnings;
    assert!(
        told[0].contains("4.0 ms or more for one connection in 100"),
        "{told:?}"
    );
    assert!((connections.get("late_connect_p99").unwrap() / 4e3 - 1.0).abs() < 0.01);
    assert!(
        connections
            .to_string()
            .contains("generator late to connect by, p99")
    );
    for (measure, whole) in [
        (Measure::Late, Measure::Delivery),
        (Measure::LateConnect, Measure::Connect),
    ] {
        assert_eq!(late(measure, whole, 1).warnings, [] as [String; 0]);
    }
}

#[test]
fn a_rate_that_is_that_of_the_bursts_is_told() {
    let in_rounds_of = |ms: u64| {
        let mut run = run("a", &[1000]);
        run.burst_ms = 8;
        let mut rounds = Latencies::precise();
        rounds.record(ms * 1_000_000);
        run.parts[0].record.latencies.insert(Measure::Round, rounds);
        run
    };
    let warned = |run: Run| report(vec![run]).warnings.join("\n");
    let short = warned(in_rounds_of(16));
    assert!(short.contains("its rates are the generator's"), "{short}");
    let long = warned(in_rounds_of(30));
    assert!(!long.contains("the generator's"), "{long}");
    let mut at_once = in_rounds_of(16);
    at_once.burst_ms = 0;
    assert_eq!(warned(at_once), "");
    // Whatever the latency is that a part is about.
    let mut chat = in_rounds_of(30);
    chat.parts[0].main = Measure::Ack;
    assert!(warned(chat).contains("next burst of reading"));
    let mut idle = in_rounds_of(30);
    (idle.parts[0].main, idle.parts[0].scenario) = (Measure::Connect, "idle".to_owned());
    assert_eq!(warned(idle), "");
}

/// A run over TLS, of forty handshakes.
pub(super) fn run_over_tls(generator: &str, verified: bool) -> Run {
    let mut run = run(generator, &[1000]);
    run.generators[0].tls = Some(Tls {
        verified,
        suite: Some("TLSv1_3 TLS13_AES_256_GCM_SHA384".to_owned()),
        handshakes: 40,
        resumed: 10,
    });
    run
}

#[test]
fn tls_is_told_with_what_it_means_for_the_figures() {
    let told = report(vec![run_over_tls("a", true)]);
    assert_eq!(told.get("tls_resumed_percent"), Some(25.0));
    let [warning] = &told.warnings[..] else {
        panic!("{:?}", told.warnings)
    };
    assert!(warning.contains("TLS13_AES_256_GCM_SHA384"), "{warning}");
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(Report::from_json(&json).unwrap(), told);
    let unsure = report(vec![run_over_tls("a", false)]).warnings.join("\n");
    assert!(unsure.contains("--insecure"), "{unsure}");
    // Older versions of the tool read what has nothing new in it.
    let plain = report(vec![run("a", &[1000])]);
    let json = serde_json::to_string(&plain).unwrap();
    assert!(!json.contains("\"tls\""), "{json}");
    assert_eq!(plain.get("tls_resumed_percent"), None);
}

#[test]
fn html_is_self_contained_and_quotes_what_it_shows() {
    let mut one = run("a", &[1000, 2000]);
    one.aborted = Some("<script>alert(1)</script>".to_owned());
    let page = html(&report(vec![one]));
    assert!(page.starts_with("<!doctype html>"));
    assert!(!page.contains("<script>alert"));
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing is loaded"
    );
    for title in ["Latency", "Throughput", "CPU", "Memory", "Distribution"] {
        assert!(page.contains(title), "{title}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(!page.contains("not drawn"));
    let mut many = run("a", &[1000]);
    many.generators[0].threads = vec![many.generators[0].threads[0].clone(); 9];
    let page = html(&report(vec![many]));
    // With the server's they are ten.
    assert!(page.contains("and 4 more, not drawn"));
}
