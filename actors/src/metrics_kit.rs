//! Reading what was counted, in tests of one thread.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// Collects what this thread counts while [`collecting`](Self::collecting) is held.
pub(crate) struct Metrics(PrometheusRecorder);

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    /// From here on, until the guard is dropped.
    pub(crate) fn collecting(&self) -> metrics::LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    /// The value of a series, named as the page names it: `name{label="value"}`.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let page = self.0.handle().render();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.strip_prefix(' ')?.parse().ok())
    }
}
