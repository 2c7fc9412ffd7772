//! Figures: what people compare, computed from a run's raw data.

use std::fmt;

use serde::Serialize;

use super::model::{Generator, PartReport, Run};
use crate::{
    engine::Phase,
    histogram::Latencies,
    record::{Measure, Record},
};

/// A thread that is busier than this may be what limits the figures.
const BUSY: f64 = 0.85;

/// One that waits for its CPU this much cannot keep its times.
const WAITED: f64 = 0.2;

/// A closed loop whose rounds take fewer bursts of reading than this waits for the generator more
/// than for the server.
const BURSTS_OF_A_ROUND: f64 = 3.0;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Things.
    #[serde(rename = "")]
    Count,
    /// Things per second.
    #[serde(rename = "per s")]
    Rate,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Thousands of bytes.
    #[serde(rename = "kB")]
    Kilobytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "",
            Self::Rate => "per s",
            Self::Micros => "us",
            Self::Seconds => "s",
            Self::Percent => "%",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
        })
    }
}

/// One number of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// As in thresholds: `p99`, or `chat.p99` where there are several parts.
    pub name: String,
    /// What it is.
    pub label: String,
    /// Of what.
    pub unit: Unit,
    /// The median of all runs.
    pub value: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// Those of the runs, in their order.
    pub values: Vec<f64>,
}

/// A figure of one run.
struct Single {
    name: String,
    label: String,
    unit: Unit,
    value: f64,
}

/// Figures that each part may have, beside [`QUANTILES`] of [`MEASURES`].
const OF_PARTS: [(&str, Unit); 14] = [
    ("sockets", Unit::Count),
    ("connects", Unit::Count),
    ("deferred", Unit::Count),
    ("cut", Unit::Count),
    ("owed", Unit::Count),
    ("unknown", Unit::Count),
    ("back_s", Unit::Seconds),
    ("messages", Unit::Count),
    ("messages_per_s", Unit::Rate),
    ("deliveries", Unit::Count),
    ("deliveries_per_s", Unit::Rate),
    ("acknowledged", Unit::Count),
    ("acknowledged_per_s", Unit::Rate),
    ("rounds", Unit::Count),
];

/// Figures of the whole run.
const OF_RUNS: [(&str, Unit); 13] = [
    ("connects_per_s", Unit::Rate),
    ("cpu_us_per_connect", Unit::Micros),
    ("cpu_user_us_per_connect", Unit::Micros),
    ("cpu_us_per_delivery", Unit::Micros),
    ("cpu_user_us_per_delivery", Unit::Micros),
    ("cpu_us_per_message", Unit::Micros),
    ("cpu_user_us_per_message", Unit::Micros),
    ("server_cpu_percent", Unit::Percent),
    ("rss_mb", Unit::Megabytes),
    ("rss_kb_per_socket", Unit::Kilobytes),
    ("generator_busy_percent", Unit::Percent),
    ("generator_waited_percent", Unit::Percent),
    ("tls_resumed_percent", Unit::Percent),
];

const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

const MEASURES: [(Measure, &str, &str); 8] = [
    (Measure::Delivery, "delivery", "delivery"),
    (Measure::Round, "round", "until all have it"),
    (Measure::Ack, "ack", "acknowledgement"),
    (Measure::Connect, "connect", "connect and join"),
    (Measure::Presence, "presence", "until seen present"),
    (Measure::Gone, "gone", "until seen gone"),
    (Measure::Late, "late", "generator late by"),
    (
        Measure::LateConnect,
        "late_connect",
        "generator late to connect by",
    ),
];

/// What a figure's name is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// Every part, or the run.
    All,
    /// The part of this name.
    Part(&'a str),
}

/// A name that a threshold may use, whether or not this run has such a figure, and its unit.
pub(super) fn known(name: &str) -> Option<(Scope<'_>, Unit)> {
    let find = |of: &[(&str, Unit)], name: &str| {
        let (_, unit) = of.iter().find(|(known, _)| *known == name)?;
        Some(*unit)
    };
    let of_part = |name: &str| {
        let is_quantile = |name: &str| QUANTILES.iter().any(|(known, _)| *known == name);
        let is_latency = is_quantile(name)
            || name.rsplit_once('_').is_some_and(|(measure, quantile)| {
                MEASURES.iter().any(|(_, known, _)| *known == measure) && is_quantile(quantile)
            });
        is_latency
            .then_some(Unit::Micros)
            .or_else(|| find(&OF_PARTS, name))
    };
    // `p99.9` has a point of its own.
    if let Some(unit) = of_part(name).or_else(|| find(&OF_RUNS, name)) {
        return Some((Scope::All, unit));
    }
    let (part, name) = name.split_once('.')?;
    Some((Scope::Part(part), of_part(name)?))
}

/// The figures of all runs: of each part, and of the whole.
pub(super) fn of_runs(runs: &[Run]) -> Vec<Figure> {
    let singles: Vec<Vec<Single>> = runs.iter().map(|run| of_run(run, &runs[0])).collect();
    let Some((first, others)) = singles.split_first() else {
        return Vec::new();
    };
    let figures = first.iter().map(|single| {
        let same = |other: &&Single| other.name == single.name;
        let others = others.iter().filter_map(|run| run.iter().find(same));
        let values = std::iter::once(single).chain(others).map(|s| s.value);
        Figure::of(single, values.collect())
    });
    figures.collect()
}

impl Figure {
    fn of(single: &Single, values: Vec<f64>) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Self {
            name: single.name.clone(),
            label: single.label.clone(),
            unit: single.unit,
            value: median,
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            values,
        }
    }
}

/// Collects figures, with the part's name before theirs where there are several.
struct Figures {
    prefix: String,
    all: Vec<Single>,
}

impl Figures {
    fn add(&mut self, name: &str, label: &str, unit: Unit, value: f64) {
        if value.is_finite() {
            self.all.push(Single {
                name: format!("{}{name}", self.prefix),
                label: label.to_owned(),
                unit,
                value,
            });
        }
    }
}

fn of_run(run: &Run, first: &Run) -> Vec<Single> {
    let mut figures = Figures {
        prefix: String::new(),
        all: Vec::new(),
    };
    for part in &run.parts {
        if run.parts.len() > 1 {
            figures.prefix = format!("{}.", part.name);
        }
        of_part(part, run, &mut figures);
    }
    figures.prefix.clear();
    of_servers(run, &mut figures);
    of_memory(run, first, &mut figures);
    of_generators(run, &mut figures);
    figures.all
}

fn of_part(part: &PartReport, run: &Run, figures: &mut Figures) {
    let Record {
        counters,
        latencies,
        ..
    } = &part.record;
    let seconds = run.seconds(Phase::Measure);
    figures.add("sockets", "sockets", Unit::Count, counters.sockets as f64);
    let deferred = counters.deferred as f64;
    figures.add("deferred", "told to come back later", Unit::Count, deferred);
    if counters.stalled + counters.cut > 0 {
        let cut = counters.cut as f64;
        figures.add("cut", "stalled readers that were cut", Unit::Count, cut);
    }
    if matches!(part.scenario.as_str(), "storm" | "presence") {
        let owed = counters.owed as f64;
        figures.add("owed", "should have left and could not", Unit::Count, owed);
    }
    if matches!(part.main, Measure::Delivery | Measure::Ack) {
        let unknown = counters.unknown as f64;
        figures.add("unknown", "under way at the end", Unit::Count, unknown);
    }
    let is_crowd = part.main == Measure::Connect;
    if is_crowd {
        let connects = counters.connects as f64;
        figures.add("connects", "connects", Unit::Count, connects);
        if let Some(rounds) = latencies.get(&Measure::Round) {
            let back = rounds.max_us() / 1e6;
            figures.add("back_s", "all back after", Unit::Seconds, back);
        }
    }
    let counted = [
        ("messages", "messages", counters.messages),
        ("acknowledged", "acknowledged", counters.acknowledged),
        ("deliveries", "deliveries", counters.deliveries),
    ];
    for (name, label, count) in counted.into_iter().filter(|(.., count)| *count > 0) {
        figures.add(name, label, Unit::Count, count as f64);
        let rate = format!("{name}_per_s");
        figures.add(&rate, label, Unit::Rate, count as f64 / seconds);
    }
    if counters.rounds > 0 && !is_crowd {
        figures.add("rounds", "rounds", Unit::Count, counters.rounds as f64);
    }
    if let Some(main) = latencies.get(&part.main) {
        let (_, _, label) = describe(part.main);
        quantiles("", label, main, &QUANTILES, figures);
    }
    for (measure, latencies) in latencies {
        if is_crowd && *measure == Measure::Round {
            continue;
        }
        let (_, name, label) = describe(*measure);
        let shown = match *measure == part.main {
            true => &QUANTILES[..0],
            false => &QUANTILES[..],
        };
        quantiles(&format!("{name}_"), label, latencies, shown, figures);
    }
}

fn describe(measure: Measure) -> (Measure, &'static str, &'static str) {
    let known = MEASURES.iter().find(|(known, ..)| *known == measure);
    *known.expect("every measure is described")
}

fn quantiles(
    prefix: &str,
    label: &str,
    latencies: &Latencies,
    wanted: &[(&str, f64)],
    figures: &mut Figures,
) {
    for (name, quantile) in wanted {
        let value = match *quantile {
            1.0 => latencies.max_us(),
            quantile => latencies.quantile_us(quantile),
        };
        let label = format!("{label}, {name}");
        figures.add(&format!("{prefix}{name}"), &label, Unit::Micros, value);
    }
}

/// What the run cost its servers, by what there was most of.
fn of_servers(run: &Run, figures: &mut Figures) {
    let sum = |count: fn(&Record) -> u64| -> f64 {
        let counts = run.parts.iter().map(|part| count(&part.record));
        counts.sum::<u64>() as f64
    };
    let sockets = sum(|record| record.counters.sockets);
    if !run.connected_apart {
        let rate = sockets / run.seconds(Phase::Connect);
        figures.add("connects_per_s", "connected and joined", Unit::Rate, rate);
    }
    let per = |phase, count: f64, name: &str, label: &str, figures: &mut Figures| {
        let Some((total, user)) = run.server_cpu(phase).filter(|_| count > 0.0) else {
            return;
        };
        if let Some(user) = user {
            let name = format!("cpu_user_us_per_{name}");
            let label = format!("server CPU per {label}, user");
            figures.add(&name, &label, Unit::Micros, user * 1e6 / count);
        }
        let (name, label) = (
            format!("cpu_us_per_{name}"),
            format!("server CPU per {label}, total"),
        );
        figures.add(&name, &label, Unit::Micros, total * 1e6 / count);
    };
    if !run.connected_apart {
        let label = "connect and join";
        per(Phase::Connect, sockets, "connect", label, figures);
    }
    let deliveries = sum(|record| record.counters.deliveries);
    per(Phase::Measure, deliveries, "delivery", "delivery", figures);
    let messages = sum(|record| record.counters.messages);
    per(Phase::Measure, messages, "message", "message", figures);
    if let Some((total, _)) = run.server_cpu(Phase::Measure) {
        let share = total / run.seconds(Phase::Measure) * 100.0;
        figures.add("server_cpu_percent", "server CPU", Unit::Percent, share);
    }
}

/// What the run's sockets took, counted from before the first run on the same servers: what that
/// left behind, a later one uses again.
fn of_memory(run: &Run, first: &Run, figures: &mut Figures) {
    let Some(after) = run.memory_after() else {
        return;
    };
    figures.add("rss_mb", "server memory", Unit::Megabytes, after / 1e6);
    let names = |run: &Run| -> Vec<String> {
        let names = run.servers.iter().map(|server| server.name.clone());
        names.collect()
    };
    let origin = if names(run) == names(first) {
        first
    } else {
        run
    };
    let Some(before) = origin.memory_before() else {
        return;
    };
    let sockets: u64 = run.parts.iter().map(|p| p.record.counters.sockets).sum();
    let each = (after - before).max(0.0) / sockets as f64 / 1e3;
    let label = "server memory per socket";
    figures.add("rss_kb_per_socket", label, Unit::Kilobytes, each);
}

fn of_generators(run: &Run, figures: &mut Figures) {
    let threads = || run.generators.iter().flat_map(|one| &one.threads);
    let busy = threads().map(|thread| thread.busy).fold(0.0, f64::max);
    let waited = threads().map(|thread| thread.waited).fold(0.0, f64::max);
    figures.add(
        "generator_busy_percent",
        "generator's busiest thread",
        Unit::Percent,
        busy * 100.0,
    );
    figures.add(
        "generator_waited_percent",
        "generator waited for a CPU",
        Unit::Percent,
        waited * 100.0,
    );
    let tls = || run.generators.iter().filter_map(|one| one.tls.as_ref());
    let handshakes: u64 = tls().map(|tls| tls.handshakes).sum();
    let resumed: u64 = tls().map(|tls| tls.resumed).sum();
    if handshakes > 0 {
        figures.add(
            "tls_resumed_percent",
            "TLS handshakes that resumed",
            Unit::Percent,
            resumed as f64 / handshakes as f64 * 100.0,
        );
    }
}

/// What has to be known to read the figures.
pub(super) fn warnings(runs: &[Run]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    if runs.len() > 1 && runs.iter().any(|run| run.memory_after().is_some()) {
        warnings.push(
            "memory is counted from before the first run, and later ones find what it left: for \
             rss_kb_per_socket start a fresh server for each"
                .to_owned(),
        );
    }
    for run in runs {
        for warning in of_one(run) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

fn of_one(run: &Run) -> Vec<String> {
    let generators = run.generators.iter();
    let mut warnings: Vec<String> = generators.flat_map(of_one_generator).collect();
    if run.connected_apart {
        warnings.push(
            "the generators connected at different times: what connecting took and cost is not \
             known"
                .to_owned(),
        );
    }
    warnings.extend(of_bursts(run));
    for part in &run.parts {
        if part.record.counters.unknown > 0 {
            warnings.push(format!(
                "{}: {} deliveries or acknowledgements were under way when a socket closed or the \
                 run ended: whether they would have come is not known, so they do not count as lost",
                part.name, part.record.counters.unknown
            ));
        }
        if part.record.counters.owed > 0 {
            warnings.push(format!(
                "{}: {} times somebody should have left, and all were still on their way back: \
                 what they would have met is in no latency; use a lower --churn, or more sockets",
                part.name, part.record.counters.owed
            ));
        }
        warnings.extend(of_lateness(part));
    }
    warnings
}

/// The generator's own part in what was measured: of messages (and of leaving, where that is what is
/// due), and of connections.
fn of_lateness(part: &PartReport) -> Vec<String> {
    let kinds = [
        (Measure::Late, part.main, "message"),
        (Measure::LateConnect, Measure::Connect, "connection"),
    ];
    let at_99 = |measure: Measure| {
        let latencies = part.record.latencies.get(&measure)?;
        Some(latencies.quantile_us(0.99))
    };
    let told = kinds.into_iter().filter_map(|(late, whole, what)| {
        let (late, whole) = (at_99(late)?, at_99(whole)?);
        (late > 1000.0 && late > whole / 4.0).then(|| {
            format!(
                "{}: the generator itself was late by {:.1} ms or more for one {what} in 100",
                part.name,
                late / 1e3
            )
        })
    });
    told.collect()
}

/// What reading in bursts does to the figures.
fn of_bursts(run: &Run) -> Vec<String> {
    let mut warnings = Vec::new();
    if run.burst_ms == 0 {
        return warnings;
    }
    // Sockets connect without bursts, and idle ones do nothing more.
    if run.parts.iter().any(|part| part.scenario != "idle") {
        warnings.push(format!(
            "latencies contain up to {} ms of waiting for the next burst of reading; for \
             latencies use --burst-ms 0",
            run.burst_ms
        ));
    }
    for part in &run.parts {
        let Some(rounds) = part.record.latencies.get(&Measure::Round) else {
            continue;
        };
        let typical = rounds.quantile_us(0.5) / 1e3;
        if part.main != Measure::Connect && typical < BURSTS_OF_A_ROUND * run.burst_ms as f64 {
            warnings.push(format!(
                "{}: a round took {typical:.1} ms, and the generator read every {} ms: its rates \
                 are the generator's; for the highest rate use --burst-ms 0 or a larger --in-flight",
                part.name, run.burst_ms
            ));
        }
    }
    warnings
}

fn of_one_generator(generator: &Generator) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = &generator.name;
    let threads = || generator.threads.iter();
    if threads().any(|thread| thread.busy > BUSY) {
        warnings.push(format!(
            "the generator {name} was the bottleneck: a thread was busy for more than 85 % of the \
             time; give it more --threads, or share the load between several generators"
        ));
    } else if threads().any(|thread| thread.course.iter().any(|(_, busy)| *busy > BUSY)) {
        warnings.push(format!(
            "a thread of the generator {name} was busy for more than 85 % of the time now and then"
        ));
    }
    if threads().any(|thread| thread.connecting > BUSY) {
        warnings.push(format!(
            "a thread of the generator {name} was busy for more than 85 % of the time while sockets \
             connected: what is said of connecting may be its own"
        ));
    }
    if threads().any(|thread| thread.waited > WAITED) {
        warnings.push(format!(
            "the generator {name} waited for a CPU for more than 20 % of the time: give it a core \
             of its own"
        ));
    }
    if let Some(tls) = &generator.tls {
        let suite = tls.suite.as_deref().unwrap_or("no handshake was completed");
        warnings.push(format!(
            "the generator {name} spoke TLS ({suite}): latencies contain its own encrypting and \
             decrypting"
        ));
        if !tls.verified {
            warnings.push(format!(
                "the generator {name} did not check the server's certificate (--insecure): who \
                 answered is not known"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_figures() {
        for name in [
            "p99",
            "p99.9",
            "chat.p99.9",
            "rooms-2.deliveries_per_s",
            "round_p50",
            "chat.ack_max",
            "cpu_us_per_delivery",
            "late_connect_p99.9",
            "storm.late_connect_max",
        ] {
            assert!(known(name).is_some(), "{name}");
        }
        for name in ["p98", "chat.", "", "round_p98", "x.y", "cpu", "chat.rss_mb"] {
            assert!(known(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_median_and_the_spread() {
        let single = Single {
            name: "p99".to_owned(),
            label: String::new(),
            unit: Unit::Micros,
            value: 0.0,
        };
        let figure = Figure::of(&single, vec![3.0, 1.0, 2.0]);
        assert_eq!((figure.value, figure.min, figure.max), (2.0, 1.0, 3.0));
        let figure = Figure::of(&single, vec![4.0, 1.0]);
        assert!((figure.value - 2.5).abs() < 1e-9);
    }
}
