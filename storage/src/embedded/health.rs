//! Whether the store takes writes: found out by writing, at most once a second.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

use super::{fault::Sql, row, writer::Writer};
use crate::{Health, StoreError};

/// A result is good for this long.
const FRESH: Duration = Duration::from_secs(1);
/// A write that takes longer than this counts as failed.
const DEADLINE: Duration = Duration::from_secs(3);
/// What an ordinary probe writes, in bytes.
const TINY: usize = 8;
/// After a failure more is asked, or the last free page of a full disk would look like recovery.
const AFTER_FAILURE: usize = 64 * 1024;

/// Probes, one at a time; callers that come meanwhile share the result.
#[derive(Debug, Default)]
pub(super) struct Probe {
    last: Mutex<Option<(Instant, Health)>>,
}

impl Probe {
    /// How the store is.
    pub(super) async fn health(&self, writer: &Writer) -> Health {
        let mut last = self.last.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < FRESH
            // A commit has failed since: what was found then no longer holds.
            && (!health.writable || writer.trouble().get().is_none())
        {
            return health.clone();
        }
        let health = probe(writer).await;
        *last = Some((Instant::now(), health.clone()));
        health
    }
}

async fn probe(writer: &Writer) -> Health {
    let trouble = writer.trouble().get();
    let size = if trouble.is_some() {
        AFTER_FAILURE
    } else {
        TINY
    };
    let started = Instant::now();
    let outcome = tokio::time::timeout(DEADLINE, writer.write(move |conn| fill(conn, size))).await;
    let detail = match outcome {
        Ok(Ok(())) => {
            writer.trouble().clear();
            None
        }
        // A full queue says that the writer is busy, not that it is broken.
        Ok(Err(StoreError::Overloaded)) => trouble,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("a write took longer than {} s", DEADLINE.as_secs())),
    };
    Health {
        writable: detail.is_none(),
        detail,
        latency_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

fn fill(conn: &rusqlite::Connection, size: usize) -> Sql<()> {
    row::run(
        conn,
        "UPDATE store SET probe = randomblob(?1)",
        [row::rows(size)],
    )?;
    Ok(())
}
