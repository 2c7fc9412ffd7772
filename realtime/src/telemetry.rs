//! What the node tells its operators: logs, and metrics at `/metrics`.
//!
//! A secret never reaches a log line: paths are logged without their queries, and what may be
//! shown of a query or of headers goes through [`redact`].

pub mod logs;
pub mod metrics;
pub mod redact;
#[cfg(test)]
pub(crate) mod test_kit;

pub use logs::{BadFilter, LogFormat};
pub use metrics::{METRICS, Metric, Metrics};
