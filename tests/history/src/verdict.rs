//! What a history comes to.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::Line;

/// Violations of one rule that are told in full; the rest is counted.
const TOLD: u64 = 50;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// What was acknowledged is in the log, at its place.
    AcknowledgedIsKept,
    /// What was delivered is in the log, at its place.
    DeliveredIsKept,
    /// A log has the places 1, 2, 3, ... to its tail.
    LogIsDense,
    /// A device has every entry that is visible to its person, from where it began.
    NothingIsMissed,
    /// A device is shown entries in the order of the log.
    InOrder,
    /// A device is shown an entry once for each time it asks.
    ShownOnce,
    /// No id stands twice.
    IdsAreUnique,
    /// No key stands twice, however often it was tried.
    AppliedOnce,
    /// What was refused is not in the log.
    RefusedIsNotDone,
    /// What is asked for after an acknowledgement comes after it in the log.
    RealTimeOrder,
    /// Only members are shown entries, and nobody after a removal and the bound.
    OnlyMembers,
    /// Views derived from the log equal a fold of it.
    ProjectionsFollow,
    /// An acknowledged mark stays until its person moves it.
    MarksAreKept,
    /// What a message said is forgotten as delivered only once every member has it.
    ForgottenWhenHad,
    /// What is not to be kept is in no log, and is heard soon or never.
    EphemeralIsNotKept,
    /// Of a message that is gone the log no longer says what it said.
    DeletedIsGone,
    /// Of somebody who was erased nothing stays but places, and that they were there.
    ErasedIsGone,
}

/// What a violation means to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Something acknowledged or shown is gone.
    Lost,
    /// Something is there twice.
    Duplicate,
    /// The order is wrong.
    Reordered,
    /// Something is missing in between.
    Gap,
    /// Something was done although it was refused.
    Phantom,
    /// Somebody saw what was not for them.
    Leaked,
    /// A derived view is wrong.
    Projection,
    /// Something is still there that was to go.
    Remaining,
}

impl Class {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 8] = [
        Self::Lost,
        Self::Duplicate,
        Self::Reordered,
        Self::Gap,
        Self::Phantom,
        Self::Leaked,
        Self::Projection,
        Self::Remaining,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicate => "duplicate",
            Self::Reordered => "reordered",
            Self::Gap => "gaps",
            Self::Phantom => "phantom",
            Self::Leaked => "leaked",
            Self::Projection => "projection",
            Self::Remaining => "remaining",
        }
    }
}

impl Rule {
    /// What breaking it means.
    pub fn class(self) -> Class {
        match self {
            Self::AcknowledgedIsKept
            | Self::DeliveredIsKept
            | Self::MarksAreKept
            | Self::ForgottenWhenHad => Class::Lost,
            Self::LogIsDense | Self::NothingIsMissed => Class::Gap,
            Self::InOrder | Self::RealTimeOrder => Class::Reordered,
            Self::ShownOnce | Self::IdsAreUnique | Self::AppliedOnce => Class::Duplicate,
            Self::RefusedIsNotDone => Class::Phantom,
            Self::OnlyMembers => Class::Leaked,
            Self::ProjectionsFollow => Class::Projection,
            Self::EphemeralIsNotKept | Self::DeletedIsGone | Self::ErasedIsGone => Class::Remaining,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedIsKept => "acknowledged_is_kept",
            Self::DeliveredIsKept => "delivered_is_kept",
            Self::LogIsDense => "log_is_dense",
            Self::NothingIsMissed => "nothing_is_missed",
            Self::InOrder => "in_order",
            Self::ShownOnce => "shown_once",
            Self::IdsAreUnique => "ids_are_unique",
            Self::AppliedOnce => "applied_once",
            Self::RefusedIsNotDone => "refused_is_not_done",
            Self::RealTimeOrder => "real_time_order",
            Self::OnlyMembers => "only_members",
            Self::ProjectionsFollow => "projections_follow",
            Self::MarksAreKept => "marks_are_kept",
            Self::ForgottenWhenHad => "forgotten_when_had",
            Self::EphemeralIsNotKept => "ephemeral_is_not_kept",
            Self::DeletedIsGone => "deleted_is_gone",
            Self::ErasedIsGone => "erased_is_gone",
        }
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// The lines that show it, in no particular order.
    pub lines: Vec<Line>,
    /// What happened.
    pub detail: String,
}

/// How much a history holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Conversations.
    pub conversations: u64,
    /// Devices.
    pub devices: u64,
    /// Entries in the logs.
    pub entries: u64,
    /// Messages among them.
    pub messages: u64,
    /// Attempts of clients.
    pub attempts: u64,
    /// Attempts that were acknowledged.
    pub acknowledged: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Attempts whose outcome nobody knows.
    pub unknown: u64,
    /// Entries shown to devices.
    pub deliveries: u64,
    /// Times a device began or went on to follow a conversation.
    pub resumes: u64,
    /// Faults injected.
    pub faults: u64,
    /// Messages in threads.
    pub threaded: u64,
    /// Pins, and pins taken back.
    pub pins: u64,
    /// Messages that were forgotten because everybody had them.
    pub forgotten: u64,
    /// Times that a device heard what is not kept.
    pub heard: u64,
    /// Acknowledged marks.
    pub marks: u64,
    /// People who were erased.
    pub erased: u64,
}

/// What a history comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What made it.
    pub title: String,
    /// What its random choices came from.
    pub seed: u64,
    /// How much it holds.
    pub counts: Counts,
    /// How often each broken rule was broken.
    pub broken: BTreeMap<Rule, u64>,
    /// The violations, of each rule the first ones.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn passed(&self) -> bool {
        self.broken.is_empty()
    }

    /// How often something of this class happened.
    pub fn count(&self, class: Class) -> u64 {
        let of_class = self.broken.iter().filter(|(rule, _)| rule.class() == class);
        of_class.map(|(_, count)| count).sum()
    }

    pub(crate) fn broke(&mut self, rule: Rule, lines: &[Line], detail: String) {
        let count = self.broken.entry(rule).or_default();
        *count += 1;
        if *count <= TOLD {
            self.violations.push(Violation {
                rule,
                lines: lines.to_vec(),
                detail,
            });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts;
        if !self.title.is_empty() {
            writeln!(f, "{} (seed {})", self.title, self.seed)?;
        }
        writeln!(
            f,
            "messages {}  entries {}  deliveries {}  faults {}  devices {}  conversations {}",
            counts.messages,
            counts.entries,
            counts.deliveries,
            counts.faults,
            counts.devices,
            counts.conversations,
        )?;
        writeln!(
            f,
            "attempts {}  acknowledged {}  refused {}  unknown {}  resumes {}",
            counts.attempts, counts.acknowledged, counts.refused, counts.unknown, counts.resumes,
        )?;
        writeln!(
            f,
            "threaded {}  pins {}  forgotten {}  heard {}  marks {}  erased {}",
            counts.threaded,
            counts.pins,
            counts.forgotten,
            counts.heard,
            counts.marks,
            counts.erased,
        )?;
        let totals = Class::ALL.map(|class| format!("{} {}", class.name(), self.count(class)));
        writeln!(f, "{}", totals.join("  "))?;
        for violation in &self.violations {
            let lines: Vec<_> = violation.lines.iter().map(Line::to_string).collect();
            let (rule, detail) = (violation.rule.name(), &violation.detail);
            writeln!(f, "{rule}: line {}: {detail}", lines.join(", "))?;
        }
        let total: u64 = self.broken.values().sum();
        let untold = total.saturating_sub(self.violations.len() as u64);
        if untold > 0 {
            writeln!(f, "... and {untold} more")?;
        }
        f.write_str(if self.passed() { "passed" } else { "FAILED" })
    }
}
