//! Rates over time, and the moments at which something is due under them.
//!
//! A schedule is fixed before the run: what is late is late against it, whatever the server does
//! (no coordinated omission).

use std::{fmt, str::FromStr};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::mark::mix;

/// `1000` (for ever), `500:10s,500..5000:30s,5000:1m`: rates per second, constant or a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StagesText", into = "String")]
pub struct Stages(Vec<Stage>);

/// In a file, a constant rate may be a plain number.
#[derive(Deserialize)]
#[serde(untagged)]
enum StagesText {
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Stage {
    from: f64,
    to: f64,
    /// `None` only for the last.
    seconds: Option<f64>,
}

impl Stages {
    /// Seconds until the last stage ends, if it does.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.0.iter().map(|stage| stage.seconds).sum()
    }

    /// The first rate, for as long as one likes.
    pub(crate) fn opening(&self) -> Self {
        let rate = self.0[0].from;
        Self(vec![Stage {
            from: rate,
            to: rate,
            seconds: None,
        }])
    }

    /// The same course, so many times as high.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let scale = |stage: &Stage| Stage {
            from: stage.from * factor,
            to: stage.to * factor,
            ..*stage
        };
        Self(self.0.iter().map(scale).collect())
    }

    /// The highest rate.
    pub(crate) fn peak(&self) -> f64 {
        let rates = self.0.iter().map(|stage| stage.from.max(stage.to));
        rates.fold(0.0, f64::max)
    }

    /// The second at which `count` events have been due.
    pub(crate) fn time_of(&self, mut count: f64) -> Option<f64> {
        let mut start = 0.0;
        for stage in &self.0 {
            let Some(seconds) = stage.seconds else {
                return (stage.from > 0.0).then(|| start + count / stage.from);
            };
            let total = (stage.from + stage.to) / 2.0 * seconds;
            if count < total {
                return Some(start + stage.time_of(count, seconds));
            }
            count -= total;
            start += seconds;
        }
        None
    }
}

impl Stage {
    /// Solves `from t + (to - from) / 2 T t^2 = count`.
    fn time_of(&self, count: f64, seconds: f64) -> f64 {
        let slope = (self.to - self.from) / seconds;
        let root = (self.from * self.from + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        // Of the two forms of the solution, this one is exact also for a slope of 0.
        let sum = self.from + root;
        if sum > 0.0 { 2.0 * count / sum } else { 0.0 }
    }
}

impl FromStr for Stages {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let stages: Vec<Stage> = text
            .split(',')
            .map(|stage| parse_stage(stage.trim()).with_context(|| format!("rate `{stage}`")))
            .collect::<anyhow::Result<_>>()?;
        let endless = stages.iter().position(|stage| stage.seconds.is_none());
        if let Some(at) = endless {
            ensure!(
                at + 1 == stages.len(),
                "rate `{text}`: only the last stage may go without a duration"
            );
        }
        Ok(Self(stages))
    }
}

fn parse_stage(text: &str) -> anyhow::Result<Stage> {
    let (rates, duration) = match text.split_once(':') {
        Some((rates, duration)) => (rates, Some(duration)),
        None => (text, None),
    };
    let seconds = duration.map(humantime::parse_duration).transpose()?;
    let seconds = seconds.map(|duration| duration.as_secs_f64());
    let (from, to) = match rates.split_once("..") {
        Some((from, to)) if seconds.is_some() => (parse_rate(from)?, parse_rate(to)?),
        Some(_) => bail!("a ramp needs a duration, as in `100..2000:30s`"),
        None => (parse_rate(rates)?, parse_rate(rates)?),
    };
    ensure!(seconds != Some(0.0), "a stage lasts longer than nothing");
    ensure!(from + to > 0.0 || seconds.is_some(), "a rate is above 0");
    Ok(Stage { from, to, seconds })
}

fn parse_rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.trim().parse().context("not a number")?;
    ensure!(
        rate.is_finite() && (0.0..=1e8).contains(&rate),
        "not a rate per second"
    );
    Ok(rate)
}

impl TryFrom<StagesText> for Stages {
    type Error = String;

    fn try_from(text: StagesText) -> Result<Self, String> {
        let text = match text {
            StagesText::Number(rate) => rate.to_string(),
            StagesText::Text(text) => text,
        };
        text.parse().map_err(|error| format!("{error:#}"))
    }
}

impl From<Stages> for String {
    fn from(stages: Stages) -> Self {
        stages.to_string()
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Stage { from, to, seconds }) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            write!(f, "{from}")?;
            if from != to {
                write!(f, "..{to}")?;
            }
            if let Some(seconds) = seconds {
                write!(f, ":{}ms", (seconds * 1000.0).round())?;
            }
        }
        Ok(())
    }
}

/// How events lie within a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// At equal distances.
    #[default]
    Even,
    /// As independent people would: a Poisson process, drawn from the seed.
    Poisson,
}

/// The moments at which one worker's share of the events is due. Every worker computes the whole
/// schedule, and keeps each `of`th event.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    stages: Stages,
    arrivals: Arrivals,
    random: u64,
    /// How much of the rate has passed at the next event: its number, or a random sum.
    count: f64,
    number: u64,
    share: Share,
}

/// Which events are a worker's: those whose number leaves `which` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) which: u64,
    pub(crate) of: u64,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Due {
    /// Its number in the whole schedule, from 0.
    pub(crate) number: u64,
    /// Seconds since the schedule's start.
    pub(crate) at: f64,
}

impl Schedule {
    pub(crate) fn new(stages: Stages, arrivals: Arrivals, seed: u64, share: Share) -> Self {
        let mut schedule = Self {
            stages,
            arrivals,
            random: mix(seed),
            count: 0.0,
            number: 0,
            share,
        };
        if arrivals == Arrivals::Poisson {
            schedule.count = schedule.gap();
        }
        schedule
    }

    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => {
                self.random = mix(self.random);
                // 53 bits, never 0.
                let uniform = ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                -uniform.ln()
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let due = Due {
                number: self.number,
                at: self.stages.time_of(self.count)?,
            };
            self.number += 1;
            self.count += self.gap();
            if due.number % self.share.of == self.share.which {
                return Some(due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ALL: Share = Share { which: 0, of: 1 };

    fn times(stages: &str, count: usize) -> Vec<f64> {
        let schedule = Schedule::new(stages.parse().unwrap(), Arrivals::Even, 1, ALL);
        let times = schedule.take(count).map(|due| (due.at * 1e6).round() / 1e6);
        times.collect()
    }

    #[test]
    fn a_constant_rate_is_even() {
        assert_eq!(times("4", 4), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(times("2:1s,10", 4), [0.0, 0.5, 1.0, 1.1]);
        assert_eq!(times("2:1s", 9), [0.0, 0.5], "the schedule ends");
        assert_eq!(times("0:2s,1", 2), [2.0, 3.0], "a pause");
    }

    #[test]
    fn a_ramp_has_the_area_under_it() {
        let ramp = times("0..10:10s", 1000);
        assert_eq!(ramp.len(), 50);
        let first_half = ramp.iter().filter(|at| **at < 5.0).count();
        assert_eq!(first_half, 13, "a quarter of 50, and the first at 0");
        assert!(ramp.is_sorted());
        let down = times("10..0:10s", 1000);
        assert_eq!(down.len(), 50);
        assert_eq!(down.iter().filter(|at| **at < 5.0).count(), 38);
    }

    #[test]
    fn workers_share_one_schedule() {
        let share = |which| {
            let stages = "100:1s".parse().unwrap();
            Schedule::new(stages, Arrivals::Poisson, 7, Share { which, of: 3 })
        };
        let mut shares: Vec<Due> = (0..3).flat_map(share).collect();
        shares.sort_by_key(|due| due.number);
        let whole: Vec<Due> =
            Schedule::new("100:1s".parse().unwrap(), Arrivals::Poisson, 7, ALL).collect();
        assert_eq!(shares, whole);
        assert!((60..140).contains(&whole.len()), "{}", whole.len());
        let other = Schedule::new("100:1s".parse().unwrap(), Arrivals::Poisson, 8, ALL);
        assert_ne!(other.collect::<Vec<_>>(), whole, "the seed matters");
    }

    #[test]
    fn texts() {
        for text in ["1000", "500:10000ms,500..5000:30000ms", "1:1000ms,2"] {
            assert_eq!(text.parse::<Stages>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("x", "not a number"),
            ("-1", "not a rate"),
            ("0", "above 0"),
            ("1..2", "a ramp needs a duration"),
            ("1,2:1s", "only the last stage"),
            ("1:0s", "longer than nothing"),
            ("1:1", "time unit"),
        ] {
            let error = format!("{:#}", text.parse::<Stages>().unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!("1:2s,3:4s".parse::<Stages>().unwrap().seconds(), Some(6.0));
        assert_eq!("1:2s,3".parse::<Stages>().unwrap().seconds(), None);
        assert_eq!("1..7:2s,3".parse::<Stages>().unwrap().peak(), 7.0);
    }
}
