//! Moving pages from the write-ahead log into the database, beside the writer.
//!
//! A checkpoint on the writer's own thread would make every caller wait for it. So a thread with a
//! connection of its own does most of the work; only when the log has grown far (a checkpoint
//! never quite catches up with a busy writer, and only a log without remainder can begin anew)
//! the writer does the rest itself, which the thread has kept short by then.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use rusqlite::Connection;

use super::place::{Link, Place};
use crate::StoreError;

/// Pages in the log that are worth a checkpoint (32 MB). A page that is written again and again is
/// moved once, so fewer checkpoints move fewer pages.
const WORTH: i64 = 8192;
/// The same once the log is half as long as it may become (4 MB).
const WORTH_OF_A_LONG_LOG: i64 = 1024;
/// Pages in the log at which the writer lends a hand (256 MB).
const LIMIT: i64 = 65_536;

/// Only says how the log stands.
const LOOK: &str = "PRAGMA wal_checkpoint(NOOP)";
/// Moves what can be moved without waiting for anybody.
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Moves everything, waiting for readers, and cuts the log to nothing.
const EMPTY: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// The writer's end: says when there is something to do. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// One nudge may wait; what it is about includes everything that comes before it is heard.
    nudge: mpsc::SyncSender<()>,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(place: Arc<Place>) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (nudge, nudges) = mpsc::sync_channel(1);
        let link = Link::new(place, 1024);
        let thread = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || run(link, &nudges))?;
        Ok((Self { nudge }, thread))
    }

    /// Called by the writer between two transactions.
    pub(super) fn after_commit(&self, conn: &Connection) {
        let Ok(log) = Log::after(conn, LOOK) else {
            return;
        };
        metrics::gauge!("quikapp_store_log_pages").set(log.pages_f64());
        if log.left() >= log.worth() {
            self.nudge();
        }
        if log.pages >= LIMIT {
            passive(conn);
        }
    }

    /// Called by the writer when a commit has failed. If the disk is full, it may be so of the log.
    pub(super) fn nudge(&self) {
        // Full means that the thread has a nudge to hear already.
        let _ = self.nudge.try_send(());
    }
}

fn run(mut link: Link, nudges: &mpsc::Receiver<()>) {
    while nudges.recv().is_ok() {
        match link.get() {
            Ok(conn) => passive(conn),
            Err(error) => tracing::debug!(%error, "no checkpoint"),
        }
    }
}

/// A failure (a full disk) leaves the pages
/// in the log, where they are as safe.
fn passive(conn: &Connection) {
    if let Err(error) = Log::after(conn, MOVE) {
        tracing::debug!(%error, "the checkpoint failed");
    }
}

/// Moves everything into the database and cuts the log, so that no earlier version of a page is
/// left in it. The writer waits only for the rest that came meanwhile.
pub(super) fn empty(place: Arc<Place>) -> Result<(), StoreError> {
    let mut link = Link::new(place, 1024);
    let conn = link.get()?;
    passive(conn);
    let is_busy: bool = conn
        .query_row(EMPTY, [], |row| row.get(0))
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    if is_busy {
        return Err(StoreError::Overloaded);
    }
    Ok(())
}

struct Log {
    pages: i64,
    moved: i64,
}

impl Log {
    /// How the log stands after a statement that says so.
    fn after(conn: &Connection, checkpoint: &str) -> rusqlite::Result<Self> {
        conn.prepare_cached(checkpoint)?.query_row([], |row| {
            Ok(Self {
                pages: row.get(1)?,
                moved: row.get(2)?,
            })
        })
    }

    fn left(&self) -> i64 {
        self.pages - self.moved
    }

    /// How many pages are worth a checkpoint.
    fn worth(&self) -> i64 {
        if self.pages < LIMIT / 2 {
            WORTH
        } else {
            WORTH_OF_A_LONG_LOG
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for a gauge")]
    fn pages_f64(&self) -> f64 {
        self.pages as f64
    }
}
