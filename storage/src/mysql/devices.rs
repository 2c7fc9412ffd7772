//! Devices that are in use, and forgetting those that are not.

use async_trait::async_trait;

use super::{
    MySqlStore,
    fault::{Fault, Sql},
    pool::{Db, run, transact},
    row::{self, Columns},
};
use crate::{DeviceId, DeviceStore, Person, StoreError, Timestamp};

/// Devices of which nothing was said, taken up at once.
const UNSAID: i64 = 1_000;

#[async_trait]
impl DeviceStore for MySqlStore {
    async fn devices_used(
        &self,
        mut devices: Vec<(Person, DeviceId)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        // Everybody locks rows in one order.
        devices.sort_unstable();
        let sql = "UPDATE devices SET used_at = ?
                   WHERE workspace = ? AND user = ? AND device = ? AND used_at < ?";
        for some in devices.chunks(100) {
            transact!(self.pool, |db| {
                for (person, device) in some {
                    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
                    let key = (at.0, workspace, user, device.as_str(), at.0);
                    db.run(sql, key).await?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn forget_unused_devices(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        let sql = "UPDATE devices SET used_at = ? WHERE used_at = 0 LIMIT ?";
        transact!(self.pool, |db| db.run(sql, (now.0, UNSAID)).await).await?;
        let sql = "SELECT workspace, user, device FROM devices
                   WHERE used_at > 0 AND used_at < ? ORDER BY used_at LIMIT ?";
        let key = (before.0, row::rows(limit));
        let unused = run!(self.pool, |db| db.all(sql, key, device).await).await?;
        let mut whose = Vec::new();
        for (person, device) in unused {
            let gone = transact!(self.pool, |db| {
                forget(db, &person, &device, before).await
            });
            if gone.await? {
                whose.push(person);
            }
        }
        Ok(whose)
    }

    async fn forget_excess_devices(&self, person: &Person, most: usize) -> Result<u64, StoreError> {
        let sql = "SELECT workspace, user, device FROM devices WHERE workspace = ? AND user = ?
                   ORDER BY used_at = 0 DESC, used_at DESC, device LIMIT 1000 OFFSET ?";
        let key = (
            person.workspace.as_str(),
            person.user.as_str(),
            row::rows(most),
        );
        let excess = run!(self.pool, |db| db.all(sql, key, device).await).await?;
        let mut gone = 0;
        for (person, device) in excess {
            let forgotten = transact!(self.pool, |db| {
                forget(db, &person, &device, Timestamp(i64::MAX)).await
            });
            gone += u64::from(forgotten.await?);
        }
        Ok(gone)
    }
}

fn device(row: &mut mysql_async::Row) -> Sql<(Person, DeviceId)> {
    let person = Person {
        workspace: row.workspace(0)?,
        user: row.user(1)?,
    };
    let device = DeviceId::new(row.string(2)?);
    Ok((
        person,
        device.map_err(|error| Fault::Corrupt(error.to_string()))?,
    ))
}

/// Forgets a device that has not been in use since; whether it has not. Its row goes first: who
/// writes a cursor makes sure of that row first, and waits.
async fn forget(
    db: &mut Db<'_>,
    person: &Person,
    device: &DeviceId,
    before: Timestamp,
) -> Sql<bool> {
    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
    let sql = "DELETE FROM devices
               WHERE workspace = ? AND user = ? AND device = ? AND used_at < ?";
    let key = (workspace, user, device.as_str(), before.0);
    if db.run(sql, key).await? == 0 {
        return Ok(false);
    }
    for rows in [
        "DELETE FROM device_cursors WHERE workspace = ? AND user = ? AND device = ?",
        "DELETE FROM stream_cursors WHERE workspace = ? AND user = ? AND device = ?",
    ] {
        db.run(rows, (workspace, user, device.as_str())).await?;
    }
    Ok(true)
}
