//! Somebody in a conversation: their marks, whether they were removed, and what reached them then.

use crate::{Line, Rule, Verdict, fold::Visible, marks::Marks};

/// A person in one conversation.
#[derive(Debug, Default)]
pub(crate) struct Person {
    /// Acknowledged removals, in their order.
    removals: Vec<Removal>,
    is_gone: bool,
    pub(crate) marks: Marks,
}

#[derive(Debug)]
struct Removal {
    at: u64,
    line: Line,
    /// The highest place that was shown after the bound. Whether it was visible to the person
    /// before they were removed is known once the log is.
    late: Option<(u64, Line)>,
}

impl Person {
    pub(crate) fn is_being_added(&mut self) {
        self.is_gone = false;
    }

    /// The acknowledged removal that is longer ago than the bound, if they did not come back.
    pub(crate) fn gone_since(&self, at: u64, bound_ms: u64) -> Option<Line> {
        let removal = self.removals.last().filter(|_| self.is_gone)?;
        (at > removal.at.saturating_add(bound_ms)).then_some(removal.line)
    }

    pub(crate) fn was_removed(&mut self, at: u64, line: Line) {
        self.is_gone = true;
        self.removals.push(Removal {
            at,
            line,
            late: None,
        });
    }

    /// A device of theirs was shown an entry.
    pub(crate) fn was_shown(&mut self, at: u64, seq: u64, line: Line, bound_ms: u64) {
        if self.gone_since(at, bound_ms).is_none() {
            return;
        }
        if let Some(removal) = self.removals.last_mut()
            && removal.late.is_none_or(|(highest, _)| seq > highest)
        {
            removal.late = Some((seq, line));
        }
    }

    /// Compares with the log. Where the log has more removals than were acknowledged, nobody can
    /// say which is which, and only their number is checked.
    pub(crate) fn judge(&self, user: &str, visible: &Visible, verdict: &mut Verdict) {
        let closed = visible.closed();
        if closed.len() < self.removals.len() {
            let lines: Vec<_> = self.removals.iter().map(|it| it.line).collect();
            let (acknowledged, logged) = (lines.len(), closed.len());
            let detail = format!(
                "{acknowledged} removals of {user} were acknowledged, the log has {logged}"
            );
            verdict.broke(Rule::AcknowledgedIsKept, &lines, detail);
        } else if closed.len() == self.removals.len() {
            for (removal, to) in self.removals.iter().zip(closed) {
                removal.judge(user, to, verdict);
            }
        }
    }
}

impl Removal {
    fn judge(&self, user: &str, last_visible: u64, verdict: &mut Verdict) {
        if let Some((seq, line)) = self.late
            && seq > last_visible
        {
            let detail = format!(
                "{seq} was shown to {user}, whose removal stands at {last_visible} and was \
                 acknowledged longer ago than the bound"
            );
            verdict.broke(Rule::OnlyMembers, &[self.line, line], detail);
        }
    }
}
