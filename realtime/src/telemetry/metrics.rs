//! Prometheus metrics: one table of all there are, and their rendering.

mod table;

use std::{
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use table::CPU_SECONDS;
pub use table::METRICS;

/// How often samples of histograms are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds, from a fan-out within the process to a request that hits its timeout.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const COUNTS: [f64; 10] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0,
];

/// One metric of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with Prometheus' suffix.
    pub name: &'static str,
    /// What kind of series it is.
    pub kind: Kind,
    /// What it counts, for people.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// The kinds of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Samples in buckets.
    Histogram,
}

/// The metrics of this process, ready to be scraped.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    observer: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Metrics cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The exporter refuses its settings.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// Something in this process collects metrics already.
    #[error("metrics: a recorder is installed already")]
    Twice,
}

impl Metrics {
    /// Starts collecting for the whole process. Call it once, before anything is counted.
    pub fn install() -> Result<Self, InstallError> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| InstallError::Twice)?;
        describe();
        metrics::gauge!("quikapp_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self {
            handle,
            observer: None,
        })
    }

    /// Calls `observe` whenever somebody asks, to set the gauges that nobody keeps current.
    #[must_use]
    pub fn observing(mut self, observe: impl Fn() + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observe));
        self
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        observe_process();
        if let Some(observe) = &self.observer {
            observe();
        }
        let mut page = self.handle.render();
        write_cpu_seconds(&mut page);
        page
    }

    /// `GET /metrics`.
    pub fn routes(&self) -> Router {
        let metrics = self.clone();
        let render = async move || {
            let text = "text/plain; version=0.0.4; charset=utf-8";
            ([(CONTENT_TYPE, text)], metrics.render()).into_response()
        };
        Router::new().route("/metrics", get(render))
    }

    /// Keeps memory bounded while nobody scrapes, until `stop`.
    pub async fn upkeep(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

/// `docs/metrics.md`, made from the table.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\nGenerated from the code. `GET /metrics` on the main and the admin listener.\n\n\
         | metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in METRICS {
        let labels = metric.labels.join(", ");
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let (name, help) = (metric.name, metric.help);
        let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {help} |");
    }
    out
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new()
        .set_buckets(&COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .build_recorder())
}

fn describe() {
    for metric in METRICS {
        let unit = metric.unit();
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
}

impl Metric {
    /// The unit, which stands in the name.
    fn unit(&self) -> Unit {
        let base = self.name.trim_end_matches("_total");
        if base.ends_with("_seconds") {
            Unit::Seconds
        } else if base.ends_with("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        }
    }
}

/// Reads what only the operating system knows.
fn observe_process() {
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!("quikapp_resident_memory_bytes").set(bytes);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        #[expect(clippy::cast_precision_loss, reason = "a process has few descriptors")]
        metrics::gauge!("quikapp_open_descriptors").set(descriptors.count() as f64);
    }
}

/// Adds the CPU time that the process has used. The recorder's counters hold whole numbers, and
/// whole seconds would not do for a load test.
fn write_cpu_seconds(page: &mut String) {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = Duration::try_from(spent).unwrap_or_default().as_secs_f64();
    let Metric { name, help, .. } = CPU_SECONDS;
    let _ = write!(
        page,
        "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n\n"
    );
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

#[cfg(test)]
mod tests;
