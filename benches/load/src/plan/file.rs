//! Scenario files.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::{RunOptions, Scenario, TargetOptions};

/// A scenario file (TOML); docs/benchmarking.md describes it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: Option<String>,
    pub(crate) target: TargetOptions,
    pub(crate) run: RunOptions,
    #[serde(rename = "part")]
    pub(crate) parts: Vec<Scenario>,
}

pub(crate) fn read_file(path: &Path) -> anyhow::Result<File> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| shown.clone())?;
    toml::from_str(&text).context(shown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<File, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file() {
        let file = read(
            r#"
            name = "evening"
            [target]
            protocol = "phoenix"
            topic = "room:{room}"
            headers = ["X-Key: s3cret"]
            [run]
            seconds = 30
            thresholds = ["p99 < 10ms"]
            [[part]]
            scenario = "rooms"
            rooms = 7
            rate = "100..500:30s"
            [[part]]
            scenario = "idle"
            "#,
        )
        .unwrap();
        assert_eq!(file.name.as_deref(), Some("evening"));
        assert_eq!(file.run.seconds, Some(30.0));
        assert_eq!(file.target.headers, ["X-Key: s3cret".parse().unwrap()]);
        let Scenario::Rooms(rooms) = &file.parts[0] else {
            panic!("{:?}", file.parts)
        };
        assert_eq!((rooms.rooms, rooms.members), (7, 10), "the rest is as ever");
        assert_eq!(rooms.rate.as_ref().unwrap().peak(), 500.0);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for (text, name) in [
            ("nam = 1", "nam"),
            ("[target]\nurll = \"x\"", "urll"),
            ("[run]\nsecond = 1", "second"),
            ("[[part]]\nscenario = \"rooms\"\nroms = 1", "roms"),
            ("[[part]]\nscenario = \"room\"", "room"),
            ("[run]\nthresholds = [\"p98 < 1ms\"]", "p98"),
            (
                "[[part]]\nscenario = \"rooms\"\nrate = \"x\"",
                "not a number",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(name), "{text}: {error}");
        }
    }
}
