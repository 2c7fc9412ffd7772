//! Reading a history from a file, whatever is in it.

use std::io::{BufRead, Read};

use crate::{Checker, Event, Line, Verdict};

/// The longest line that is read. An entry is smaller by far.
const LONGEST: u64 = 1 << 20;

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("line {line}: {source}")]
    Unreadable {
        /// Where.
        line: Line,
        /// Why.
        source: std::io::Error,
    },
    /// A line is too long.
    #[error("line {line}: longer than {LONGEST} bytes")]
    TooLong {
        /// Which.
        line: Line,
    },
    /// A line is not an event.
    #[error("line {line}: {source}")]
    NotAnEvent {
        /// Which.
        line: Line,
        /// Why.
        source: serde_json::Error,
    },
    /// A line cannot follow what stands before it.
    #[error("line {line}: {problem}")]
    Nonsense {
        /// Which.
        line: Line,
        /// Why.
        problem: String,
    },
    /// The history ends too early, or says too little to be judged.
    #[error("the history is incomplete: {0}")]
    Incomplete(String),
}

/// Checks a whole history.
///
/// # Errors
/// When the history is no history. A broken promise is no error but a [`Violation`](crate::Violation).
pub fn check(mut history: impl BufRead) -> Result<Verdict, HistoryError> {
    let mut checker = Checker::default();
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        line += 1;
        bytes.clear();
        let mut limited = (&mut history).take(LONGEST + 1);
        let read = limited.read_until(b'\n', &mut bytes);
        let count = read.map_err(|source| HistoryError::Unreadable { line, source })?;
        if count == 0 {
            return checker.finish();
        }
        if count as u64 > LONGEST {
            return Err(HistoryError::TooLong { line });
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let event: Event = serde_json::from_slice(&bytes)
            .map_err(|source| HistoryError::NotAnEvent { line, source })?;
        checker.event(line, event)?;
    }
}
