//! What one device was shown of one conversation.

use crate::{Line, Rule, Verdict, fold::Visible};

/// A device. It keeps intervals, not entries: as many as there were interruptions.
#[derive(Debug)]
pub(crate) struct Device {
    user: String,
    next: Next,
    /// Where it stands: it was shown, or said to have, everything up to here, save the gaps.
    high: Option<u64>,
    acked: Option<u64>,
    /// The same, as the server was told.
    told: Option<u64>,
    runs: Vec<Interval>,
    gaps: Vec<Interval>,
    /// The line that says that it has everything, and up to where.
    settled: Option<(Line, Option<u64>)>,
}

/// What may be shown next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// It has not been said where the device begins.
    Anything,
    /// This or something before: the server goes by the device's cursor.
    AtMost(u64),
    /// Just this.
    Exactly(u64),
}

/// Places from one to another, and the line that told the last of them.
#[derive(Debug, Clone, Copy)]
struct Interval {
    from: u64,
    to: u64,
    line: Line,
}

impl Device {
    pub(crate) fn of(user: String) -> Self {
        Self {
            user,
            next: Next::Anything,
            high: None,
            acked: None,
            told: None,
            runs: Vec::new(),
            gaps: Vec::new(),
            settled: None,
        }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// It is about to acknowledge; the server learns of it, unless the device keeps its cursor
    /// itself.
    pub(crate) fn acked(&mut self, seq: u64, is_told: bool) {
        self.acked = self.acked.max(Some(seq));
        if is_told {
            self.told = self.told.max(Some(seq));
        }
    }

    /// Whether the server may know that the device has a place.
    pub(crate) fn may_have(&self, seq: u64) -> bool {
        self.told.is_some_and(|told| seq <= told)
    }

    pub(crate) fn settled(&mut self, line: Line, up_to: Option<u64>) {
        self.settled = Some((line, up_to));
    }

    pub(crate) fn resumed(&mut self, line: Line, after: Option<u64>) {
        self.next = match (after, self.acked.or(self.high)) {
            (Some(after), _) => {
                if let Some(high) = self.high {
                    self.skips(high + 1, after, line);
                }
                self.high = self.high.max(Some(after));
                Next::Exactly(after + 1)
            }
            (None, Some(cursor)) => Next::AtMost(cursor + 1),
            (None, None) => Next::Anything,
        };
    }

    pub(crate) fn shown(&mut self, line: Line, name: &str, seq: u64, verdict: &mut Verdict) {
        match self.next {
            Next::Exactly(next) if seq < next => return self.again(line, name, seq, verdict),
            Next::Exactly(next) | Next::AtMost(next) => self.skips(next, seq - 1, line),
            Next::Anything => {}
        }
        self.next = Next::Exactly(seq + 1);
        self.high = self.high.max(Some(seq));
        match self.runs.last_mut() {
            Some(run) if run.to + 1 == seq => (run.to, run.line) = (seq, line),
            _ => self.runs.push(Interval {
                from: seq,
                to: seq,
                line,
            }),
        }
    }

    /// Compares with the log, of which the device's person sees a part.
    pub(crate) fn judge(&self, name: &str, visible: &Visible, tail: u64, verdict: &mut Verdict) {
        for gap in &self.gaps {
            if let Some(missed) = visible.first_in(gap.from, gap.to.min(tail)) {
                let (from, to) = (gap.from, gap.to);
                let detail = format!("{name} was not shown {missed} (of {from} to {to})");
                verdict.broke(Rule::NothingIsMissed, &[gap.line], detail);
            }
        }
        for run in &self.runs {
            if visible.has_before_all(run.from) {
                let (from, user) = (run.from, &self.user);
                let detail = format!("{from} was shown to {name}, but {user} was no member yet");
                verdict.broke(Rule::OnlyMembers, &[run.line], detail);
            }
        }
        let after = self.high.map_or(0, |high| high + 1);
        if let Some((line, up_to)) = self.settled
            && visible.is_open()
            && let Some(missed) = visible.first_in(after, up_to.unwrap_or(tail).min(tail))
        {
            let detail = format!("{name} was never shown {missed}, and had had time");
            verdict.broke(Rule::NothingIsMissed, &[line], detail);
        }
    }

    /// Places that are passed over; whether they were visible is known once the log is.
    fn skips(&mut self, from: u64, to: u64, line: Line) {
        if from <= to {
            self.gaps.push(Interval { from, to, line });
        }
    }

    /// A place below the next: either late, or a second time.
    fn again(&mut self, line: Line, name: &str, seq: u64, verdict: &mut Verdict) {
        let skipped = |gap: &Interval| gap.from <= seq && seq <= gap.to;
        let Some(index) = self.gaps.iter().position(skipped) else {
            let detail = format!("{name} was shown {seq} again");
            return verdict.broke(Rule::ShownOnce, &[line], detail);
        };
        let gap = self.gaps.swap_remove(index);
        self.skips(gap.from, seq - 1, gap.line);
        self.skips(seq + 1, gap.to, gap.line);
        let detail = format!("{name} was shown {seq} after what follows it");
        verdict.broke(Rule::InOrder, &[gap.line, line], detail);
    }
}
