//! The places where the server answers on purpose otherwise than the recorded Phoenix.
//!
//! Each stands in `exceptions.toml` with its reason and with what comes instead, which is compared
//! as strictly as a recording: a server that goes back to the recorded behaviour fails too.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::recording::{Line, Recording, Step};

/// All exceptions of the suite.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    scenario: String,
    /// The lines of the recording that this is about.
    lines: Vec<usize>,
    /// What comes instead of them, in the recordings' own format; the first of them stands where
    /// the first line stood.
    instead: Option<Vec<String>>,
    /// The lines come in any order: Phoenix itself does not fix it.
    #[serde(default)]
    any_order: bool,
    reason: String,
}

/// What a line of a recording has become.
#[derive(Debug)]
pub struct Expected {
    pub line: usize,
    pub conn: String,
    pub what: crate::recording::Incoming,
    /// Replaced by an exception.
    pub excepted: bool,
    /// Neighbours of one number may come in any order.
    pub any_order: Option<usize>,
}

impl Exceptions {
    pub fn load(path: &Path) -> Result<Self> {
        let all: Self = toml::from_str(&std::fs::read_to_string(path)?)?;
        for exception in &all.exception {
            let at = format!("{} {:?}", exception.scenario, exception.lines);
            ensure!(
                !exception.reason.trim().is_empty(),
                "{at}: an exception has a reason"
            );
            ensure!(
                !exception.lines.is_empty(),
                "{at}: an exception names lines"
            );
            ensure!(
                exception.any_order != exception.instead.is_some(),
                "{at}: either any_order or instead"
            );
        }
        Ok(all)
    }

    /// Exceptions must not outlive the recordings that they are about.
    pub fn check_all_are_used(&self, recordings: &[Recording]) -> Result<()> {
        for exception in &self.exception {
            let recording = recordings
                .iter()
                .find(|recording| recording.name == exception.scenario)
                .with_context(|| format!("no recording {}", exception.scenario))?;
            for number in &exception.lines {
                let line = recording.lines.iter().find(|line| line.number == *number);
                let received = line.is_some_and(|line| matches!(line.step, Step::Receive(_)));
                ensure!(
                    received,
                    "{} line {number} is nothing that a server said",
                    recording.name
                );
            }
        }
        Ok(())
    }

    /// What is expected where `line` stands: usually just that.
    pub fn apply(&self, scenario: &str, line: &Line) -> Result<Vec<Expected>> {
        let Step::Receive(what) = &line.step else {
            return Ok(Vec::new());
        };
        let mut as_recorded = Expected {
            line: line.number,
            conn: line.conn.clone(),
            what: what.clone(),
            excepted: false,
            any_order: None,
        };
        let found = self.exception.iter().enumerate().find(|(_, exception)| {
            exception.scenario == scenario && exception.lines.contains(&line.number)
        });
        let Some((index, exception)) = found else {
            return Ok(vec![as_recorded]);
        };
        let Some(instead) = &exception.instead else {
            as_recorded.any_order = Some(index);
            return Ok(vec![as_recorded]);
        };
        if exception.lines.first() != Some(&line.number) {
            return Ok(Vec::new());
        }
        instead.iter().map(|text| replacement(text, line)).collect()
    }
}

fn replacement(text: &str, line: &Line) -> Result<Expected> {
    let parsed = Line::parse(text, line.number, false)
        .with_context(|| format!("instead of line {}", line.number))?;
    let Step::Receive(what) = parsed.step else {
        anyhow::bail!("{text} is nothing that a server says")
    };
    Ok(Expected {
        line: line.number,
        conn: parsed.conn,
        what,
        excepted: true,
        any_order: None,
    })
}
