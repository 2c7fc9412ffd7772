//! Reads what is logged.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{Dispatch, subscriber::DefaultGuard};

use super::logs::{LogFormat, subscriber};

/// What this thread logs from now on, as JSON.
pub(crate) struct Logged {
    lines: Lines,
    _guard: DefaultGuard,
    _other: Dispatch,
}

impl Logged {
    /// A filter is as that of the setting `logging.filter`.
    pub(crate) fn with_filter(filter: &str) -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        // While only one subscriber exists, tracing asks the current thread's whether a new line of
        // code is of interest, and the other tests' threads have none. So there are two.
        let other = subscriber("trace", LogFormat::Text, std::io::sink).unwrap();
        let other = Dispatch::new(other);
        let subscriber = subscriber(filter, LogFormat::Json, move || writer.clone()).unwrap();
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
            _other: other,
        }
    }

    /// So far.
    pub(crate) fn text(&self) -> String {
        self.lines.text()
    }
}

/// What a subscriber writes to.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// So far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
