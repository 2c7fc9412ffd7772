//! What is said and not kept: each device hears it at most once, and soon or never.

use std::collections::{BTreeMap, HashSet};

use crate::{Line, Rule, Verdict, checker::tag};

/// Everything of that kind in one conversation, by the tag of person and key.
#[derive(Debug, Default)]
pub(crate) struct Ephemeral(BTreeMap<u64, Saying>);

#[derive(Debug)]
struct Saying {
    line: Line,
    answered: Option<(u64, Line)>,
    heard: Option<Line>,
    by: HashSet<u64>,
}

/// A device hears something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) line: Line,
    pub(crate) at: u64,
    pub(crate) device: &'a str,
    pub(crate) user: &'a str,
    pub(crate) key: &'a str,
}

impl Ephemeral {
    pub(crate) fn said(&mut self, line: Line, user: &str, key: &str) -> Result<(), String> {
        let saying = Saying {
            line,
            answered: None,
            heard: None,
            by: HashSet::new(),
        };
        match self.0.insert(tag(&(user, key)), saying) {
            None => Ok(()),
            Some(_) => Err(format!("{user} said {key} before")),
        }
    }

    pub(crate) fn answered(&mut self, user: &str, key: &str, at: u64, line: Line) {
        if let Some(saying) = self.0.get_mut(&tag(&(user, key))) {
            saying.answered = Some((at, line));
        }
    }

    pub(crate) fn refused(&mut self, user: &str, key: &str, line: Line, verdict: &mut Verdict) {
        let saying = self.0.remove(&tag(&(user, key)));
        if let Some(heard) = saying.and_then(|saying| saying.heard) {
            let detail = format!("{key} of {user} was heard, and refused");
            verdict.broke(Rule::RefusedIsNotDone, &[heard, line], detail);
        }
    }

    pub(crate) fn heard(&mut self, heard: Heard<'_>, bound_ms: u64, verdict: &mut Verdict) {
        let (line, device, key) = (heard.line, heard.device, heard.key);
        let Some(saying) = self.0.get_mut(&tag(&(heard.user, key))) else {
            let detail = format!("{device} heard {key}, which nobody said or which was refused");
            return verdict.broke(Rule::RefusedIsNotDone, &[line], detail);
        };
        saying.heard = Some(line);
        if !saying.by.insert(tag(&device)) {
            let detail = format!("{device} heard {key} again");
            verdict.broke(Rule::ShownOnce, &[line], detail);
        }
        if let Some((at, answered)) = saying.answered
            && heard.at > at.saturating_add(bound_ms)
        {
            let detail = format!("{device} heard {key} longer than the bound after its answer");
            verdict.broke(Rule::EphemeralIsNotKept, &[answered, line], detail);
        }
    }

    /// The log has an entry of this person and key.
    pub(crate) fn logged(&self, key: u64, seq: u64, line: Line, verdict: &mut Verdict) {
        if let Some(saying) = self.0.get(&key) {
            let detail = format!("what was not to be kept stands at {seq}");
            verdict.broke(Rule::EphemeralIsNotKept, &[saying.line, line], detail);
        }
    }
}
