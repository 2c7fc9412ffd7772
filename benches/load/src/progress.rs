//! The line that tells how a run goes.

use std::io::{IsTerminal as _, Write as _, stderr};

use crate::run::Progress;

/// Writes to standard error, over itself.
pub(crate) struct ProgressLine {
    is_shown: bool,
    is_terminal: bool,
    width: usize,
    before: (u64, u64),
}

impl ProgressLine {
    /// A line on a terminal, or lines anywhere if they are asked for.
    pub(crate) fn new(is_asked_for: bool) -> Self {
        let is_terminal = stderr().is_terminal();
        Self {
            is_shown: is_terminal || is_asked_for,
            is_terminal,
            width: 0,
            before: (0, 0),
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        if !self.is_shown {
            return;
        }
        let text = describe(progress, self.before);
        self.before = (progress.totals.messages, progress.totals.deliveries);
        let mut out = stderr().lock();
        // Nobody to tell is no reason to stop.
        let _ = match self.is_terminal {
            true => write!(out, "\r{text:<width$}", width = self.width),
            false => writeln!(out, "{text}"),
        };
        let _ = out.flush();
        self.width = text.len();
    }

    /// Leaves the terminal as it was.
    pub(crate) fn clear(&mut self) {
        if self.is_shown && self.is_terminal {
            let _ = write!(stderr().lock(), "\r{:<width$}\r", "", width = self.width);
        }
        self.before = (0, 0);
    }
}

fn describe(progress: &Progress, before: (u64, u64)) -> String {
    let totals = &progress.totals;
    let mut text = format!(
        "{} {:.0} s: {}/{} sockets",
        progress.phase, progress.since, totals.live, progress.sockets
    );
    let rate = |count: u64, before: u64| {
        let more = count.saturating_sub(before) as f64;
        (progress.passed > 0.0).then(|| more / progress.passed)
    };
    let rates = [
        ("messages", rate(totals.messages, before.0)),
        ("deliveries", rate(totals.deliveries, before.1)),
    ];
    for (name, rate) in rates {
        if let Some(rate) = rate.filter(|rate| *rate > 0.0) {
            text += &format!(", {rate:.0} {name}/s");
        }
    }
    if totals.p99 > 0 {
        text += &format!(", p99 {:.2} ms", totals.p99 as f64 / 1e6);
    }
    if let Some(server) = progress.server {
        text += &format!(", server {:.0} % CPU", server * 100.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Phase, Totals};

    #[test]
    fn a_line() {
        let progress = Progress {
            phase: Phase::Measure,
            since: 3.2,
            totals: Totals {
                live: 9,
                messages: 30,
                deliveries: 300,
                p99: 1_500_000,
            },
            sockets: 10,
            passed: 2.0,
            server: Some(0.25),
        };
        assert_eq!(
            describe(&progress, (10, 100)),
            "measure 3 s: 9/10 sockets, 10 messages/s, 100 deliveries/s, p99 1.50 ms, \
             server 25 % CPU"
        );
    }
}
