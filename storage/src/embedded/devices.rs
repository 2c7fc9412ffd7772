//! Devices that are in use, and forgetting those that are not.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    EmbeddedStore,
    fault::{Fault, Sql},
    row::{self, Columns},
};
use crate::{DeviceId, DeviceStore, Person, StoreError, Timestamp, WorkspaceId};

/// Devices of which nothing was said, taken up at once.
const UNSAID: i64 = 1_000;

#[async_trait]
impl DeviceStore for EmbeddedStore {
    async fn devices_used(
        &self,
        devices: Vec<(Person, DeviceId)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if devices.is_empty() {
            return Ok(());
        }
        self.write(move |conn| {
            let sql = "UPDATE devices SET used_at = ?4
                       WHERE workspace = ?1 AND user = ?2 AND device = ?3 AND used_at < ?4";
            for (person, device) in &devices {
                let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
                row::run(conn, sql, (workspace, user, device.as_str(), at.0))?;
            }
            Ok(())
        })
        .await
    }

    async fn forget_unused_devices(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        self.write(move |conn| {
            let sql = "UPDATE devices SET used_at = ?1 WHERE (workspace, user, device) IN
                           (SELECT workspace, user, device FROM devices
                            WHERE used_at = 0 LIMIT ?2)";
            row::run(conn, sql, (now.0, UNSAID))?;
            let sql = "SELECT workspace, user, device FROM devices
                       WHERE used_at > 0 AND used_at < ?1 ORDER BY used_at LIMIT ?2";
            let unused = row::all(conn, sql, (before.0, row::rows(limit)), device)?;
            for (person, device) in &unused {
                forget(conn, person, device)?;
            }
            Ok(unused.into_iter().map(|(person, _)| person).collect())
        })
        .await
    }

    async fn forget_excess_devices(&self, person: &Person, most: usize) -> Result<u64, StoreError> {
        let person = person.clone();
        let excess = {
            let person = person.clone();
            self.read(move |conn| excess(conn, &person, most)).await?
        };
        if excess.is_empty() {
            return Ok(0);
        }
        self.write(move |conn| {
            let excess = self::excess(conn, &person, most)?;
            for (person, device) in &excess {
                forget(conn, person, device)?;
            }
            Ok(excess.len() as u64)
        })
        .await
    }
}

/// A person's devices but for the newest.
fn excess(conn: &Connection, person: &Person, most: usize) -> Sql<Vec<(Person, DeviceId)>> {
    let sql = "SELECT workspace, user, device FROM devices WHERE workspace = ?1 AND user = ?2
               ORDER BY used_at = 0 DESC, used_at DESC, device LIMIT -1 OFFSET ?3";
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        row::rows(most),
    );
    row::all(conn, sql, key, device)
}

fn device(row: &rusqlite::Row<'_>) -> Sql<(Person, DeviceId)> {
    let corrupt = |error: crate::IdError| Fault::Corrupt(error.to_string());
    let person = Person {
        workspace: WorkspaceId::new(row.text(0)?).map_err(corrupt)?,
        user: row.user(1)?,
    };
    Ok((person, DeviceId::new(row.text(2)?).map_err(corrupt)?))
}

fn forget(conn: &Connection, person: &Person, device: &DeviceId) -> Sql<()> {
    for rows in [
        "DELETE FROM devices WHERE workspace = ?1 AND user = ?2 AND device = ?3",
        "DELETE FROM device_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
        "DELETE FROM stream_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
        "DELETE FROM detached_stream_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
    ] {
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        row::run(conn, rows, (workspace, user, device.as_str()))?;
    }
    Ok(())
}
