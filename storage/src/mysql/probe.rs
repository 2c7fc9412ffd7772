//! Asks the server how it is, on a connection beside those of the pool: a pool that is full says
//! that the server is busy, not that it is broken, and nobody knows which it is who waits in line.

use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;

use super::{
    dial::Line,
    fault::{Fault, Sql},
    pool::Pool,
};
use crate::StoreError;

/// The connection, if the last probe was answered.
#[derive(Debug, Default)]
pub(super) struct ProbeLine(Mutex<Line>);

impl Pool {
    /// Runs a statement on the line. May be given up at any moment.
    pub(super) async fn probe(&self, sql: &str) -> Result<(), StoreError> {
        let mut kept = self.probe_line().0.lock().await;
        // Taken off, so that a line without an answer is not used again.
        let mut line = std::mem::take(&mut *kept);
        let had_one = line.0.is_some();
        let mut outcome = self.ask(&mut line, sql).await;
        if had_one && matches!(outcome, Err(Fault::Lost(_))) {
            // The server may have been restarted since.
            line = Line::default();
            outcome = self.ask(&mut line, sql).await;
        }
        if outcome.is_ok() {
            *kept = line;
        }
        outcome.map_err(|fault| self.clean(fault.into()))
    }

    async fn ask(&self, line: &mut Line, sql: &str) -> Sql<()> {
        let conn = match &mut line.0 {
            Some(conn) => conn,
            none => none.insert(self.dialer().dial_bare().await?),
        };
        conn.query_drop(sql).await.map_err(Fault::from)
    }
}
