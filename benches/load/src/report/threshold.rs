//! Conditions that a run has to meet: `p99 < 10ms`.

use std::{fmt, str::FromStr};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Figure, Unit, figures};

/// A condition on a figure. Without the name of a part, it has to hold in every part that has
/// the figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Threshold {
    text: String,
    name: String,
    relation: Relation,
    /// In the figure's unit.
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
}

const RELATIONS: [(&str, Relation); 4] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Below),
    (">", Relation::Above),
];

/// What is measured in units that can be converted into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    /// In microseconds.
    Time,
    /// In bytes.
    Memory,
    Percent,
    /// Things, and things per second.
    Count,
}

/// Units that a limit may have, and what they are worth.
const UNITS: [(&str, Dimension, f64); 8] = [
    ("ns", Dimension::Time, 1e-3),
    ("us", Dimension::Time, 1.0),
    ("ms", Dimension::Time, 1e3),
    ("s", Dimension::Time, 1e6),
    ("%", Dimension::Percent, 1.0),
    ("kB", Dimension::Memory, 1e3),
    ("MB", Dimension::Memory, 1e6),
    ("GB", Dimension::Memory, 1e9),
];

/// What a figure measures, and what its unit is worth.
fn dimension(unit: Unit) -> (Dimension, f64) {
    match unit {
        Unit::Micros => (Dimension::Time, 1.0),
        Unit::Seconds => (Dimension::Time, 1e6),
        Unit::Kilobytes => (Dimension::Memory, 1e3),
        Unit::Megabytes => (Dimension::Memory, 1e6),
        Unit::Percent => (Dimension::Percent, 1.0),
        Unit::Count | Unit::Rate => (Dimension::Count, 1.0),
    }
}

impl FromStr for Threshold {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parsed = parse(text);
        parsed.with_context(|| format!("`{text}` is no condition like `p99 < 10ms`"))
    }
}

fn parse(text: &str) -> anyhow::Result<Threshold> {
    let found = RELATIONS
        .iter()
        .find_map(|(sign, relation)| Some((text.split_once(sign)?, *relation)));
    let ((name, limit), relation) = found.context("it has none of < <= > >=")?;
    let (name, limit) = (name.trim(), limit.trim());
    let (_, unit) = figures::known(name).with_context(|| format!("there is no figure `{name}`"))?;
    let digits = limit.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, given) = limit.split_at(digits.unwrap_or(limit.len()));
    let number: f64 = number
        .parse()
        .with_context(|| format!("`{number}` is not a number"))?;
    let factor = match given.trim() {
        "" => 1.0,
        given => convert(given, unit).with_context(|| format!("`{name}`"))?,
    };
    Ok(Threshold {
        text: text.to_owned(),
        name: name.to_owned(),
        relation,
        limit: number * factor,
    })
}

/// How many of a figure's units one of the given unit is.
fn convert(given: &str, unit: Unit) -> anyhow::Result<f64> {
    let known = UNITS.iter().find(|(known, ..)| *known == given);
    let Some((_, of, worth)) = known else {
        bail!("`{given}` is not a unit")
    };
    let (dimension, each) = dimension(unit);
    ensure!(*of == dimension, "`{given}` is no unit of it");
    Ok(worth / each)
}

impl Threshold {
    /// Fits a plan of these parts: what does not is told before anything runs.
    ///
    /// # Errors
    /// When it names a part that is none of them, or one of which there is no such figure.
    pub(crate) fn check(&self, parts: &[String]) -> anyhow::Result<()> {
        let Some((scope, _)) = figures::known(&self.name) else {
            return Ok(());
        };
        let figures::Scope::Part(part) = scope else {
            return Ok(());
        };
        let known = parts.join(", ");
        ensure!(
            parts.iter().any(|name| name == part),
            "threshold `{self}`: there is no part `{part}`, only {known}"
        );
        ensure!(
            parts.len() > 1,
            "threshold `{self}`: `{part}` is the only part; its figures go without its name"
        );
        Ok(())
    }

    /// The figures that it is about.
    fn concerns(&self, figure: &Figure) -> bool {
        let own = figure.name.strip_suffix(&self.name);
        own.is_some_and(|part| part.is_empty() || part.ends_with('.'))
    }

    fn holds(&self, figure: &Figure) -> bool {
        let limit = self.limit;
        match self.relation {
            Relation::Below => figure.value < limit,
            Relation::AtMost => figure.value <= limit,
            Relation::Above => figure.value > limit,
            Relation::AtLeast => figure.value >= limit,
        }
    }
}

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error:#}"))
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> Self {
        threshold.text
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A condition, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The condition.
    pub condition: Threshold,
    /// The figures that it was held against.
    pub found: Vec<(String, f64)>,
    /// It holds, for at least one figure and for all.
    pub holds: bool,
}

impl Outcome {
    /// Nothing has been measured yet.
    pub(crate) fn open(condition: Threshold) -> Self {
        Self {
            condition,
            found: Vec::new(),
            holds: false,
        }
    }

    pub(crate) fn judge(&mut self, figures: &[Figure]) {
        let concerned: Vec<_> = figures
            .iter()
            .filter(|figure| self.condition.concerns(figure))
            .collect();
        let found = concerned.iter().map(|f| (f.name.clone(), f.value));
        self.found = found.collect();
        self.holds = !concerned.is_empty() && concerned.iter().all(|f| self.condition.holds(f));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn figure(name: &str, unit: Unit, value: f64) -> Figure {
        Figure {
            name: name.to_owned(),
            label: String::new(),
            unit,
            value,
            min: value,
            max: value,
            values: vec![value],
        }
    }

    fn holds(condition: &str, figures: &[Figure]) -> bool {
        let mut outcome = Outcome::open(condition.parse().unwrap());
        outcome.judge(figures);
        outcome.holds
    }

    #[test]
    fn conditions() {
        let figures = [
            figure("p99", Unit::Micros, 9_999.0),
            figure("deliveries_per_s", Unit::Rate, 50_000.0),
            figure("back_s", Unit::Seconds, 59.0),
            figure("rss_mb", Unit::Megabytes, 400.0),
            figure("rss_kb_per_socket", Unit::Kilobytes, 3.1),
        ];
        for condition in [
            "p99 < 10ms",
            "p99<10000",
            "p99 <= 9.999 ms",
            "deliveries_per_s >= 50000",
            "back_s < 60s",
            "back_s < 60",
            "rss_mb < 401",
            "rss_mb < 0.5GB",
            "rss_mb > 399999 kB",
            "rss_kb_per_socket < 0.0032 MB",
        ] {
            assert!(holds(condition, &figures), "{condition}");
        }
        for condition in [
            "p99 < 9ms",
            "p99 > 10 ms",
            "deliveries_per_s > 50000",
            "rss_mb < 500kB",
            "back_s < 900ms",
            "cpu_us_per_delivery < 1",
        ] {
            assert!(!holds(condition, &figures), "{condition}");
        }
    }

    #[test]
    fn every_part_or_one() {
        let figures = [
            figure("chat.p99", Unit::Micros, 5.0),
            figure("rooms.p99", Unit::Micros, 50.0),
        ];
        assert!(holds("chat.p99 < 10us", &figures));
        assert!(!holds("p99 < 10us", &figures));
        assert!(holds("p99 < 60us", &figures));
    }

    #[test]
    fn what_is_no_condition() {
        for text in [
            "p99",
            "p98 < 1ms",
            "p99 < x",
            "p99 < 1 parsec",
            "p99 = 1",
            "deliveries_per_s > 50ms",
            "rss_mb < 5s",
            "p99 < 5 %",
            "generator_busy_percent < 5MB",
            "chat.rss_mb < 5",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_part_that_there_is() {
        let check = |condition: &str, parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|name| (*name).to_owned()).collect();
            let checked = condition.parse::<Threshold>().unwrap().check(&parts);
            checked.map_err(|error| error.to_string())
        };
        for condition in ["chat.p99 < 1ms", "p99.9 < 1ms", "rss_mb < 9", "p50 < 1"] {
            assert_eq!(check(condition, &["chat", "rooms"]), Ok(()), "{condition}");
        }
        let unknown = check("chta.p99.9 < 1ms", &["chat", "rooms"]).unwrap_err();
        assert!(
            unknown.contains("no part `chta`, only chat, rooms"),
            "{unknown}"
        );
        let only = check("chat.p99 < 1ms", &["chat"]).unwrap_err();
        assert!(only.contains("the only part"), "{only}");
    }
}
