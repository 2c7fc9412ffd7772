//! A small report for the tests of this module, and its way through JSON.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    engine::Phase,
    meter::Usage,
    record::{Measure, Recorder},
};

/// A run of one generator that measured one second and received these deliveries.
pub(super) fn run(generator: &str, latencies: &[u64]) -> Run {
    let second = 1_000_000_000;
    let mut recorder = Recorder::new(Measure::Delivery, second);
    recorder.advance(Phase::Measure, second / 2);
    for latency in latencies {
        recorder.sent();
        recorder.delivered(second / 2, second / 2 + latency);
    }
    let mut record = recorder.finish();
    record.counters.sockets = 10;
    let usage = |cpu: f64| Usage {
        cpu,
        user: Some(cpu / 2.0),
        rss: 1e6 * (1.0 + cpu),
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
            samples: [0.0, 0.5, 1.5]
                .map(|at| Sample {
                    at,
                    usage: usage(at),
                })
                .to_vec(),
            spans: vec![
                spent(Phase::Connect, 0.0, 0.1),
                spent(Phase::Measure, 0.1, 0.4),
            ],
        }],
        generators: vec![Generator {
            name: generator.to_owned(),
            threads: vec![Thread {
                busy: 0.5,
                waited: 0.0,
                course: vec![(1.0, 0.5)],
            }],
            tls: None,
        }],
        aborted: None,
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
fn a_generator_that_is_the_bottleneck_is_named() {
    let mut busy = run("a", &[1000]);
    busy.generators[0].threads[0].busy = 0.9;
    busy.generators[0].threads[0].waited = 0.3;
    busy.burst_ms = 8;
    let warnings = report(vec![busy]).warnings.join("\n");
    for part in ["bottleneck", "core of its own", "--burst-ms 0"] {
        assert!(warnings.contains(part), "{warnings}");
    }
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
}
