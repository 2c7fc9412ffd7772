//! What is to be run: read from the command line or a file, completed with defaults, and laid out
//! over the workers. All of this happens before any socket is opened.

mod file;
mod header;
mod layout;
mod options;
mod scenario;
mod talk;

pub use header::Header;
pub use options::{RunOptions, Settings, TargetOptions};
pub use scenario::Scenario;

pub(crate) use file::read_file;
pub(crate) use header::read_headers;
pub(crate) use layout::{Layout, Part, Play, Society};
pub(crate) use talk::Words;

use anyhow::ensure;
use serde::Serialize;

/// A complete plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What the whole is called.
    pub name: String,
    /// Whom it is run against.
    pub target: TargetOptions,
    /// How it is run.
    pub run: Settings,
    /// What is done, all at the same time.
    pub parts: Vec<Scenario>,
}

impl Plan {
    /// Completes what was asked for.
    ///
    /// # Errors
    /// When something is missing or does not fit.
    pub fn new(
        name: Option<String>,
        target: TargetOptions,
        run: &RunOptions,
        scenarios: Vec<Scenario>,
    ) -> anyhow::Result<Self> {
        ensure!(!scenarios.is_empty(), "the plan has no [[part]]");
        let name = name.unwrap_or_else(|| scenarios[0].name().to_owned());
        let parts: Vec<Scenario> = scenarios.into_iter().flat_map(Scenario::expand).collect();
        read_headers(&target.headers)?;
        for part in &parts {
            part.check(target.language())?;
            match part {
                Scenario::Pingpong(pingpong) if target.has_product_topics() => {
                    pingpong.check_limits()?;
                }
                _ => {}
            }
        }
        let run = Settings::complete(run, &parts)?;
        let plan = Self {
            name,
            target,
            run,
            parts,
        };
        let names = plan.part_names();
        for threshold in &plan.run.thresholds {
            threshold.check(&names)?;
        }
        Ok(plan)
    }

    /// The names of the parts, each another.
    pub(crate) fn part_names(&self) -> Vec<String> {
        let names = self.parts.iter().enumerate().map(|(at, part)| {
            let before = self.parts[..at].iter();
            match before.filter(|other| other.name() == part.name()).count() {
                0 => part.name().to_owned(),
                same => format!("{}-{}", part.name(), same + 1),
            }
        });
        names.collect()
    }
}
