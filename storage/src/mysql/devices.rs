//! Devices that are in use, and forgetting those that are not.

use std::collections::HashMap;

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
/// Devices of one person that are forgotten at once.
const EXCESS: usize = 1_000;
/// After every use.
const NEVER: Timestamp = Timestamp(i64::MAX);

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
            match gone.await {
                Ok(true) => whose.push(person),
                Ok(false) => {}
                // Whose devices are gone already has to be known.
                Err(_) if !whose.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(whose)
    }

    async fn forget_excess_devices(
        &self,
        person: &Person,
        most: usize,
        in_hand: &[DeviceId],
    ) -> Result<u64, StoreError> {
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        let sql = "SELECT CAST(COUNT(*) AS SIGNED) FROM devices WHERE workspace = ? AND user = ?";
        let count = run!(self.pool, |db| {
            db.first(sql, (workspace, user), |row| row.value::<i64>(0))
                .await
        });
        let count = usize::try_from(count.await?.unwrap_or_default()).unwrap_or_default();
        let excess = count.saturating_sub(most).min(EXCESS);
        if excess == 0 {
            return Ok(0);
        }
        let sql = "SELECT device, used_at FROM devices WHERE workspace = ? AND user = ?
                   ORDER BY used_at = 0, used_at, device DESC LIMIT ?";
        let key = (workspace, user, row::rows(excess + in_hand.len()));
        let oldest = run!(self.pool, |db| db.all(sql, key, use_of).await).await?;
        let free = oldest.into_iter().filter(|(it, _)| !in_hand.contains(it));
        let mut gone = 0;
        for (device, used_at) in free.take(excess) {
            // Unless somebody used it meanwhile.
            let before = Timestamp(used_at.0.saturating_add(1));
            let forgotten = transact!(self.pool, |db| {
                forget(db, person, &device, before).await
            });
            gone += u64::from(forgotten.await?);
        }
        Ok(gone)
    }

    async fn forget_device(&self, person: &Person, device: &DeviceId) -> Result<bool, StoreError> {
        transact!(self.pool, |db| forget(db, person, device, NEVER).await).await
    }

    async fn last_used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let sql = "SELECT device, used_at FROM devices
                   WHERE workspace = ? AND user = ? AND used_at > 0";
        let key = (person.workspace.as_str(), person.user.as_str());
        let used = run!(self.pool, |db| db.all(sql, key, use_of).await);
        let used: HashMap<_, _> = used.await?.into_iter().collect();
        Ok(devices.iter().map(|it| used.get(it).copied()).collect())
    }
}

fn use_of(row: &mut mysql_async::Row) -> Sql<(DeviceId, Timestamp)> {
    let device = DeviceId::new(row.string(0)?);
    let device = device.map_err(|error| Fault::Corrupt(error.to_string()))?;
    Ok((device, Timestamp(row.value(1)?)))
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
