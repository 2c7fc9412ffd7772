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
    limit: f64,
    /// The limit is in microseconds.
    is_time: bool,
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

/// Units that a limit may have, whether of time, and what they are worth.
const UNITS: [(&str, bool, f64); 7] = [
    ("ns", true, 1e-3),
    ("us", true, 1.0),
    ("ms", true, 1e3),
    ("s", true, 1e6),
    ("%", false, 1.0),
    ("kB", false, 1.0),
    ("MB", false, 1.0),
];

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
    ensure!(figures::is_known(name), "there is no figure `{name}`");
    let digits = limit.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = limit.split_at(digits.unwrap_or(limit.len()));
    let number: f64 = number
        .parse()
        .with_context(|| format!("`{number}` is not a number"))?;
    let (is_time, factor) = match unit.trim() {
        "" => (false, 1.0),
        unit => match UNITS.iter().find(|(known, ..)| *known == unit) {
            Some((_, is_time, factor)) => (*is_time, *factor),
            None => bail!("`{unit}` is not a unit"),
        },
    };
    Ok(Threshold {
        text: text.to_owned(),
        name: name.to_owned(),
        relation,
        limit: number * factor,
        is_time,
    })
}

impl Threshold {
    /// The figures that it is about.
    fn concerns(&self, figure: &Figure) -> bool {
        let own = figure.name.strip_suffix(&self.name);
        own.is_some_and(|part| part.is_empty() || part.ends_with('.'))
    }

    fn holds(&self, figure: &Figure) -> bool {
        // `back_s < 60s`: a limit with a unit of time is in microseconds.
        let limit = match (self.is_time, figure.unit) {
            (true, Unit::Seconds) => self.limit / 1e6,
            _ => self.limit,
        };
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
        ];
        for condition in [
            "p99 < 10ms",
            "p99<10000",
            "p99 <= 9.999 ms",
            "deliveries_per_s >= 50000",
            "back_s < 60s",
            "back_s < 60",
        ] {
            assert!(holds(condition, &figures), "{condition}");
        }
        for condition in [
            "p99 < 9ms",
            "p99 > 10 ms",
            "deliveries_per_s > 50000",
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
        for text in ["p99", "p98 < 1ms", "p99 < x", "p99 < 1 parsec", "p99 = 1"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
