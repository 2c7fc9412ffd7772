//! Log lines on standard error: text for people, or one JSON object a line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Libraries that print frames, headers or key material at their talkative levels. A filter can
/// still raise each of them by name.
const QUIET: &str =
    "hyper=info,h2=info,rustls=info,tungstenite=info,tokio_tungstenite=info,reqwest=info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with the fields of all spans around it.
    Json,
}

/// The filter cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("bad log filter: {0}")]
pub struct BadFilter(#[from] ParseError);

/// Starts logging for the whole process; a second call changes nothing.
pub fn init(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    let subscriber = subscriber(filter, format, std::io::stderr)?;
    // Fails when a logger is there already, which then stays.
    let _ = subscriber.try_init();
    Ok(())
}

/// The subscriber that [`init`] installs, with another place to write to.
pub fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, BadFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))?;
    let lines = fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    Ok(match format {
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(false))),
        LogFormat::Json => {
            Box::new(registry.with(lines.json().flatten_event(true).with_current_span(false)))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::telemetry::test_kit::Lines;

    fn logged(filter: &str, format: LogFormat, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter, format, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        lines.text()
    }

    #[test]
    fn json_lines_carry_the_fields_of_their_spans() {
        let text = logged("info", LogFormat::Json, || {
            let _request = tracing::info_span!("request", id = "r-1").entered();
            tracing::info!(status = 200, "answered");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "answered");
        assert_eq!(line["status"], 200);
        assert_eq!(line["spans"][0]["id"], "r-1");
    }

    #[test]
    fn libraries_that_print_frames_stay_quiet_unless_named() {
        let act = || tracing::trace!(target: "tungstenite::protocol", "frame");
        assert_eq!(logged("trace", LogFormat::Text, act), "");
        assert!(logged("tungstenite=trace", LogFormat::Text, act).contains("frame"));
    }

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(subscriber("quikapp=loud", LogFormat::Text, std::io::sink).is_err());
    }
}
