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
/// Devices of one person that are forgotten at once.
const EXCESS: usize = 1_000;

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

    async fn forget_excess_devices(
        &self,
        person: &Person,
        most: usize,
        in_hand: &[DeviceId],
    ) -> Result<u64, StoreError> {
        let person = person.clone();
        let in_hand = in_hand.to_vec();
        let has_excess = {
            let person = person.clone();
            self.read(move |conn| Ok(excess_of(conn, &person, most)? > 0))
        };
        if !has_excess.await? {
            return Ok(0);
        }
        self.write(move |conn| {
            let excess = excess(conn, &person, most, &in_hand)?;
            for (person, device) in &excess {
                forget(conn, person, device)?;
            }
            Ok(excess.len() as u64)
        })
        .await
    }

    async fn forget_device(&self, person: &Person, device: &DeviceId) -> Result<bool, StoreError> {
        let (person, device) = (person.clone(), device.clone());
        self.write(move |conn| forget(conn, &person, &device)).await
    }

    async fn last_used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let (person, devices) = (person.clone(), devices.to_vec());
        self.read(move |conn| {
            let sql = "SELECT used_at FROM devices
                       WHERE workspace = ?1 AND user = ?2 AND device = ?3 AND used_at > 0";
            let used = devices.iter().map(|device| {
                let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
                let key = (workspace, user, device.as_str());
                row::first(conn, sql, key, |row| Ok(Timestamp(row.get(0)?)))
            });
            used.collect()
        })
        .await
    }
}

/// How many devices a person has beyond so many.
fn excess_of(conn: &Connection, person: &Person, most: usize) -> Sql<usize> {
    let sql = "SELECT count(*) FROM devices WHERE workspace = ?1 AND user = ?2";
    let key = (person.workspace.as_str(), person.user.as_str());
    let count = row::first(conn, sql, key, |row| row.count(0))?;
    let count = usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    Ok(count.saturating_sub(most))
}

/// A person's oldest devices, as many as are too many, but for some.
fn excess(
    conn: &Connection,
    person: &Person,
    most: usize,
    in_hand: &[DeviceId],
) -> Sql<Vec<(Person, DeviceId)>> {
    let excess = excess_of(conn, person, most)?.min(EXCESS);
    let sql = "SELECT workspace, user, device FROM devices WHERE workspace = ?1 AND user = ?2
               ORDER BY used_at = 0, used_at, device DESC LIMIT ?3";
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        row::rows(excess + in_hand.len()),
    );
    let oldest = row::all(conn, sql, key, device)?.into_iter();
    let free = oldest.filter(|(_, device)| !in_hand.contains(device));
    Ok(free.take(excess).collect())
}

fn device(row: &rusqlite::Row<'_>) -> Sql<(Person, DeviceId)> {
    let corrupt = |error: crate::IdError| Fault::Corrupt(error.to_string());
    let person = Person {
        workspace: WorkspaceId::new(row.text(0)?).map_err(corrupt)?,
        user: row.user(1)?,
    };
    Ok((person, DeviceId::new(row.text(2)?).map_err(corrupt)?))
}

/// Forgets a device; whether it was known.
fn forget(conn: &Connection, person: &Person, device: &DeviceId) -> Sql<bool> {
    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
    let key = (workspace, user, device.as_str());
    let sql = "DELETE FROM devices WHERE workspace = ?1 AND user = ?2 AND device = ?3";
    let was_known = row::run(conn, sql, key)? > 0;
    for rows in [
        "DELETE FROM device_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
        "DELETE FROM stream_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
        "DELETE FROM detached_stream_cursors WHERE workspace = ?1 AND user = ?2 AND device = ?3",
    ] {
        row::run(conn, rows, key)?;
    }
    Ok(was_known)
}
