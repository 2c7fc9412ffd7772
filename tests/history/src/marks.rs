//! The marks of one person in one conversation: up to where they have read, and from where on they
//! want it to be unread.

use std::collections::BTreeSet;

use crate::{Line, Mark, Rule, Verdict};

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The highest place up to which reading was acknowledged, and was asked for.
    read: Option<(u64, Line)>,
    asked_read: u64,
    asked_unread: BTreeSet<u64>,
    /// The unread mark, while it is certain: it was acknowledged, and nothing that moves it was
    /// under way since it was asked for.
    unread: Option<(u64, Line)>,
    /// Attempts under way that move marks, and how many there have been.
    under_way: u32,
    begun: u64,
    /// An attempt that nobody answered may have its effect until then.
    in_doubt_until: u64,
}

/// An attempt that moves marks, as it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    number: u64,
    is_alone: bool,
}

impl Marks {
    /// Something that moves them is asked for: a mark, or a message, since sending reads.
    pub(crate) fn begin(&mut self, at: u64) -> Move {
        let is_alone = self.under_way == 0 && at > self.in_doubt_until;
        self.under_way += 1;
        self.begun += 1;
        self.unread = None;
        let number = self.begun;
        Move { number, is_alone }
    }

    /// A mark is asked for.
    pub(crate) fn asked(&mut self, at: u64, mark: Mark, seq: u64) -> Move {
        match mark {
            Mark::Read => self.asked_read = self.asked_read.max(seq),
            Mark::Unread => drop(self.asked_unread.insert(seq)),
        }
        self.begin(at)
    }

    /// An attempt has ended.
    pub(crate) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// It may have its effect until then.
    pub(crate) fn end_in_doubt(&mut self, until: u64) {
        self.end();
        self.in_doubt_until = self.in_doubt_until.max(until);
    }

    /// A mark was acknowledged.
    pub(crate) fn moved(&mut self, line: Line, by: Move, mark: Mark, seq: u64) {
        self.end();
        match mark {
            Mark::Read => self.read = self.read.max(Some((seq, line))),
            Mark::Unread if by.is_alone && by.number == self.begun => {
                self.unread = Some((seq, line));
            }
            Mark::Unread => {}
        }
    }

    /// Compares with what is told at the end. Without being asked, marks go up to `by_the_log` at
    /// most.
    pub(crate) fn judge(&self, line: Line, told: Told<'_>, by_the_log: u64, verdict: &mut Verdict) {
        let (user, read) = (told.user, told.read);
        if let Some((seq, acknowledged)) = self.read
            && read < seq
        {
            let detail = format!("{user} had read up to {seq}, and has up to {read}");
            verdict.broke(Rule::MarksAreKept, &[acknowledged, line], detail);
        }
        if let Some((seq, acknowledged)) = self.unread
            && told.unread_from != Some(seq)
        {
            let is = told.unread_from;
            let detail = format!("{user} marked {seq} unread, and it is {is:?}");
            verdict.broke(Rule::MarksAreKept, &[acknowledged, line], detail);
        }
        if read > self.asked_read.max(by_the_log) {
            let detail = format!("{user} has read up to {read} without doing so");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
        if let Some(seq) = told.unread_from
            && !self.asked_unread.contains(&seq)
        {
            let detail = format!("{user} never marked {seq} unread");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }
}

/// What a person is told of their marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) user: &'a str,
    pub(crate) read: u64,
    pub(crate) unread_from: Option<u64>,
    pub(crate) unread: u64,
}
