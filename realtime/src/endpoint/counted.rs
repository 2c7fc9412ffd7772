//! What is counted of every request.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// Methods as metric labels: a client may invent methods, but not labels.
const METHODS: [&str; 8] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "other",
];

/// Statuses as metric labels, by their first digit.
const CLASSES: [&str; 6] = ["?", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The handles of what is counted of requests. Each is taken when it is first needed, so that
/// nothing is shown of which there was none, and kept: finding it by its labels costs more than
/// counting. So the recorder has to be there before the first request.
#[derive(Clone, Default)]
pub(super) struct Counted(Arc<[OfMethod; METHODS.len()]>);

#[derive(Default)]
struct OfMethod {
    answered: [OnceLock<Counter>; CLASSES.len()],
    took: OnceLock<Histogram>,
}

impl Counted {
    /// A request was answered.
    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let last = METHODS.len() - 1;
        let known = METHODS[..last].iter().position(|name| *name == method);
        let (method, class) = (known.unwrap_or(last), usize::from(status.as_u16() / 100));
        let class = if class < CLASSES.len() { class } else { 0 };
        let counted = &self.0[method];
        let (method, status) = (METHODS[method], CLASSES[class]);
        counted.answered[class]
            .get_or_init(
                || counter!("quikapp_http_requests_total", "method" => method, "status" => status),
            )
            .increment(1);
        counted
            .took
            .get_or_init(|| histogram!("quikapp_http_request_duration_seconds", "method" => method))
            .record(took.as_secs_f64());
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn requests_are_counted_by_what_is_known_of_them() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let counted = Counted::default();
            let invented = Method::from_bytes(b"BREW").unwrap();
            for (method, status) in [
                (&Method::GET, 101),
                (&Method::GET, 101),
                (&Method::GET, 404),
                (&Method::HEAD, 200),
                (&invented, 999),
            ] {
                let status = StatusCode::from_u16(status).unwrap();
                counted.answered(method, status, Duration::from_millis(1));
            }
        });
        let shown = recorder.handle().render();
        let total = |labels: &str| format!("quikapp_http_requests_total{{{labels}}}");
        for line in [
            total(r#"method="GET",status="1xx""#) + " 2",
            total(r#"method="GET",status="4xx""#) + " 1",
            total(r#"method="HEAD",status="2xx""#) + " 1",
            total(r#"method="other",status="?""#) + " 1",
        ] {
            assert!(shown.contains(&line), "{line} in {shown}");
        }
        assert_eq!(shown.matches("quikapp_http_requests_total{").count(), 4);
    }
}
