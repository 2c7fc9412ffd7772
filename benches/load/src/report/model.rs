//! The data of a report. docs/benchmarking.md describes the JSON.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Figure, Outcome, figures};
use crate::{
    engine::Phase,
    histogram::Latencies,
    meter::Usage,
    record::{Measure, Record},
};

/// The version of the JSON.
pub const SCHEMA: u32 = 1;

/// A report: one or several runs of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form.
    pub schema: u32,
    /// The version of the tool.
    pub tool: String,
    /// The name of the plan.
    pub name: String,
    /// Everything arrived as it should, in every run.
    #[serde(default, skip_deserializing)]
    pub passed: bool,
    /// What had to hold besides, and whether it did.
    pub thresholds: Vec<Outcome>,
    /// The figures: medians over the runs. Computed from the raw data, and not read back.
    #[serde(default, skip_deserializing)]
    pub figures: Vec<Figure>,
    /// What there is to say about the figures. Computed, too.
    #[serde(default, skip_deserializing)]
    pub warnings: Vec<String>,
    /// What merging found out. Not computed anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The plan as it was run.
    pub plan: Value,
    /// The raw data.
    pub runs: Vec<Run>,
}

/// One run of a plan, by one or several generators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Seconds since 1970; the origin of all other times of the run.
    pub started_at: f64,
    /// Seconds of an interval.
    pub interval: f64,
    /// Milliseconds between bursts of reading, which are part of all latencies.
    pub burst_ms: u64,
    /// The phases.
    pub spans: Vec<Span>,
    /// What each part did.
    pub parts: Vec<PartReport>,
    /// What the servers used.
    pub servers: Vec<Server>,
    /// Who loaded them.
    pub generators: Vec<Generator>,
    /// Why the run ended before its time.
    pub aborted: Option<String>,
    /// Its generators connected at different times, so that what connecting cost is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected_apart: bool,
}

/// When a phase began and ended, in seconds since the run's origin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Which.
    pub phase: Phase,
    /// Its begin.
    pub begin: f64,
    /// Its end.
    pub end: f64,
}

/// What one part of the plan did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartReport {
    /// Its name, unique in the plan.
    pub name: String,
    /// Its scenario.
    pub scenario: String,
    /// The latency that it is about.
    pub main: Measure,
    /// What was counted and timed.
    pub record: Record,
}

/// What a server process used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Host and process id, or the URL of its metrics.
    pub name: String,
    /// Its course.
    pub samples: Vec<Sample>,
    /// Its use at the begin and the end of each phase.
    pub spans: Vec<SpanUsage>,
}

/// What a process had used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Seconds since the run's origin.
    pub at: f64,
    /// What it had used.
    pub usage: Usage,
}

/// What a process used in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanUsage {
    /// Which phase.
    pub phase: Phase,
    /// At its begin.
    pub before: Usage,
    /// At its end.
    pub after: Usage,
}

/// A process that generated load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Its name.
    pub name: String,
    /// Its workers' threads.
    pub threads: Vec<Thread>,
    /// How its sockets spoke TLS, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How the sockets of a generator spoke TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate was checked.
    pub verified: bool,
    /// Version and cipher suite of the first handshake; none where none was completed.
    pub suite: Option<String>,
    /// Handshakes that were completed, in all phases.
    pub handshakes: u64,
    /// Those of them that resumed a session.
    pub resumed: u64,
}

/// What a worker's thread used in the measured time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thread {
    /// The share of the time on a CPU.
    pub busy: f64,
    /// The share of the time on a CPU while sockets connected.
    #[serde(default)]
    pub connecting: f64,
    /// The share of the time in which it could have run and others did.
    pub waited: f64,
    /// Moments (seconds since the run's origin) and the share since the one before.
    pub course: Vec<(f64, f64)>,
}

impl Report {
    /// A report with its figures.
    pub(crate) fn new(
        name: &str,
        plan: Value,
        thresholds: &[super::Threshold],
        runs: Vec<Run>,
    ) -> Self {
        let thresholds = thresholds.iter().cloned().map(Outcome::open).collect();
        let report = Self {
            schema: SCHEMA,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            passed: false,
            thresholds,
            figures: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            plan,
            runs,
        };
        report.computed()
    }

    /// Computes what follows from the raw data.
    pub(crate) fn computed(mut self) -> Self {
        self.passed = self.runs.iter().all(Run::passed);
        self.figures = figures::of_runs(&self.runs);
        self.warnings = self.notes.clone();
        self.warnings.extend(figures::warnings(&self.runs));
        for outcome in &mut self.thresholds {
            outcome.judge(&self.figures);
        }
        self
    }

    /// Reads a report from a file.
    ///
    /// # Errors
    /// When there is none, or one of another version.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| shown.clone())?;
        Self::from_json(&text).context(shown)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_json(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } =
            serde_json::from_str(text).context("not a report of quikapp bench")?;
        ensure!(
            schema == SCHEMA,
            "a report of version {schema}; this tool reads version {SCHEMA}"
        );
        let report: Self = serde_json::from_str(text)?;
        ensure!(!report.runs.is_empty(), "a report without runs");
        let mut runs = report.runs.iter();
        let is_known = runs.all(|run| !run.generators.is_empty());
        ensure!(is_known, "a run without a generator");
        Ok(report.computed())
    }

    /// The median of a figure over the runs.
    pub fn get(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        Some(figure.value)
    }

    /// The percentile distribution of the main latency of the first part, over all runs, in the
    /// text form of HdrHistogram's plotter.
    pub fn distribution(&self) -> String {
        let mut sum = Latencies::precise();
        for part in self.runs.iter().filter_map(|run| run.parts.first()) {
            if let Some(latencies) = part.record.latencies.get(&part.main) {
                sum.add(latencies);
            }
        }
        sum.distribution()
    }

    /// Some generator spoke TLS.
    pub(crate) fn is_over_tls(&self) -> bool {
        let mut generators = self.runs.iter().flat_map(|run| &run.generators);
        generators.any(|generator| generator.tls.is_some())
    }

    /// All thresholds hold.
    pub fn meets_thresholds(&self) -> bool {
        self.thresholds.iter().all(|outcome| outcome.holds)
    }
}

impl Run {
    /// Everything arrived as it should.
    pub fn passed(&self) -> bool {
        let mut parts = self.parts.iter();
        self.aborted.is_none() && parts.all(|part| part.record.violations.is_empty())
    }

    /// When a phase began and ended, in seconds since 1970.
    pub(crate) fn window(&self, phase: Phase) -> Option<(f64, f64)> {
        let span = self.spans.iter().find(|span| span.phase == phase)?;
        Some((self.started_at + span.begin, self.started_at + span.end))
    }

    /// Seconds of a phase.
    pub(crate) fn seconds(&self, phase: Phase) -> f64 {
        let spans = self.spans.iter().filter(|span| span.phase == phase);
        spans.map(|span| span.end - span.begin).sum()
    }

    /// What all servers used in a phase, if all tell: CPU seconds, and those in user mode.
    pub(crate) fn server_cpu(&self, phase: Phase) -> Option<(f64, Option<f64>)> {
        let spans: Vec<_> = self.spans_of(phase).collect();
        if spans.is_empty() {
            return None;
        }
        let total = spans
            .iter()
            .map(|span| Some(span.after.cpu? - span.before.cpu?));
        let user = spans
            .iter()
            .map(|span| Some(span.after.user? - span.before.user?));
        Some((total.sum::<Option<f64>>()?, user.sum()))
    }

    /// Resident bytes of all servers before anybody came.
    pub(crate) fn memory_before(&self) -> Option<f64> {
        let mut spans = self.spans_of(Phase::Connect).peekable();
        spans.peek()?;
        spans.map(|span| span.before.rss).sum()
    }

    /// Resident bytes of all servers at the end of the measured time.
    pub(crate) fn memory_after(&self) -> Option<f64> {
        let mut spans = self.spans_of(Phase::Measure).peekable();
        spans.peek()?;
        spans.map(|span| span.after.rss).sum()
    }

    fn spans_of(&self, phase: Phase) -> impl Iterator<Item = &SpanUsage> {
        let spans = self.servers.iter().flat_map(|server| &server.spans);
        spans.filter(move |span| span.phase == phase)
    }
}
