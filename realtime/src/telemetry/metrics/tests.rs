#![allow(clippy::unwrap_used)]
use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::*;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names in `counter!("..")`, `gauge!("..")` and `histogram!("..")` of every crate.
fn names_in_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in [
        "src",
        "actors/src",
        "realtime/src",
        "storage/src",
        "config/src",
    ] {
        names_under(&workspace().join(folder), &mut found);
    }
    found
}

fn names_under(folder: &Path, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_under(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(names_of(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn names_of(source: &str) -> Vec<String> {
    ["counter!(", "gauge!(", "histogram!("]
        .iter()
        .flat_map(|call| source.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"'))
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| name.starts_with("quikapp_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_table_names_exactly_the_metrics_of_the_code() {
    let table: BTreeSet<String> = METRICS
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    let mut code = names_in_code();
    code.insert(CPU_SECONDS.name.to_owned());
    let missing: Vec<_> = code.difference(&table).collect();
    let stale: Vec<_> = table.difference(&code).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "realtime/src/telemetry/metrics/table.rs lacks {missing:?} and names unused {stale:?}"
    );
    assert!(METRICS.is_sorted_by_key(|metric| metric.name));
}

#[test]
fn the_reference_in_docs_is_current() {
    let path = workspace().join("docs/metrics.md");
    let current = reference_markdown();
    if std::env::var_os("QUIKAPP_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, current, "run the tests with QUIKAPP_BLESS=1");
}

/// The rules of `promtool check metrics`.
#[test]
fn names_follow_the_conventions_of_prometheus() {
    let units = [
        "_milliseconds",
        "_ms",
        "_minutes",
        "_kilobytes",
        "_megabytes",
        "_percent",
    ];
    for metric in METRICS {
        let name = metric.name;
        let is_counter = metric.kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{name}"
        );
        assert!(!units.iter().any(|unit| name.contains(unit)), "{name}");
        assert!(
            !["counter", "gauge", "histogram"]
                .iter()
                .any(|kind| name.contains(kind)),
            "{name}"
        );
        assert!(!metric.help.is_empty(), "{name}");
        assert!(
            !["_count", "_sum", "_bucket", "_info"]
                .iter()
                .any(|s| name.ends_with(s))
                || name == "quikapp_build_info",
            "{name}"
        );
    }
}

/// Every metric of the table with a value, as `/metrics` renders it.
fn rendered_table() -> String {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        for Metric { name, kind, .. } in METRICS {
            match kind {
                Kind::Counter => metrics::counter!(*name).increment(1),
                Kind::Gauge => metrics::gauge!(*name).set(1.0),
                Kind::Histogram => metrics::histogram!(*name).record(1.0),
            }
        }
    });
    handle.render()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: promtool is not installed (Debian: prometheus)");
        return;
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(rendered_table().as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn everything_rendered_has_help_and_type() {
    let recorder = recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        metrics::counter!("quikapp_http_requests_total", "method" => "GET", "status" => "2xx")
            .increment(2);
        metrics::histogram!("quikapp_http_request_duration_seconds", "method" => "GET").record(0.3);
        observe_process();
    });
    let text = handle.render();
    for line in [
        "# TYPE quikapp_http_requests_total counter",
        "# HELP quikapp_http_requests_total HTTP requests answered, by class of status.",
        r#"quikapp_http_requests_total{method="GET",status="2xx"} 2"#,
        "# TYPE quikapp_http_request_duration_seconds histogram",
        r#"quikapp_http_request_duration_seconds_bucket{method="GET",le="0.25"} 0"#,
        r#"quikapp_http_request_duration_seconds_bucket{method="GET",le="0.5"} 1"#,
        "# TYPE quikapp_resident_memory_bytes gauge",
    ] {
        assert!(
            text.lines().any(|rendered| rendered == line),
            "{line} not in\n{text}"
        );
    }
}
