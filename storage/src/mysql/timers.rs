//! Timers.

use async_trait::async_trait;
use mysql_async::Row;

use super::{
    MySqlStore,
    fault::Sql,
    pool::{run, transact},
    row::{self, Columns, Numbered, int},
};
use crate::{Fired, NewTimer, StoreError, Timer, TimerKind, TimerStore, Timestamp};

const TIMER: &str = "SELECT kind, id, grp, shard, due_at, payload, version FROM timers";

#[async_trait]
impl TimerStore for MySqlStore {
    async fn put_timer(&self, timer: NewTimer) -> Result<bool, StoreError> {
        let sql = "INSERT IGNORE INTO timers (kind, id, grp, shard, due_at, version, payload)
                   VALUES (?, ?, ?, ?, ?, 1, ?)";
        let record = (
            timer.kind.number(),
            timer.id.as_str(),
            timer.group.as_str(),
            timer.shard,
            timer.due_at.0,
            &*timer.payload,
        );
        transact!(self.pool, |db| Ok(db.run(sql, record).await? > 0)).await
    }

    async fn move_timer(
        &self,
        fired: &Fired,
        due_at: Timestamp,
        payload: &str,
    ) -> Result<Option<u64>, StoreError> {
        let sql = "UPDATE timers SET due_at = ?, payload = ?, version = version + 1
                   WHERE kind = ? AND id = ? AND version = ?";
        let (kind, id) = (fired.kind.number(), fired.id.as_str());
        let key = (due_at.0, payload, kind, id, int(fired.version));
        let moved = transact!(self.pool, |db| db.run(sql, key).await);
        Ok((moved.await? > 0).then_some(fired.version + 1))
    }

    async fn delete_timer(&self, fired: &Fired) -> Result<bool, StoreError> {
        let sql = "DELETE FROM timers WHERE kind = ? AND id = ? AND version = ?";
        let key = (fired.kind.number(), fired.id.as_str(), int(fired.version));
        let deleted = transact!(self.pool, |db| db.run(sql, key).await);
        Ok(deleted.await? > 0)
    }

    async fn timer(&self, kind: TimerKind, id: &str) -> Result<Option<Timer>, StoreError> {
        let sql = format!("{TIMER} WHERE kind = ? AND id = ?");
        let key = (kind.number(), id);
        run!(self.pool, |db| db.first(&sql, key, timer).await).await
    }

    async fn due_timers(
        &self,
        shard: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let sql = format!("{TIMER} WHERE shard = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?");
        let key = (shard, now.0, row::rows(limit));
        run!(self.pool, |db| db.all(&sql, key, timer).await).await
    }

    async fn timers_of(
        &self,
        kind: TimerKind,
        group: &str,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let sql = format!("{TIMER} WHERE kind = ? AND grp = ? ORDER BY due_at, id LIMIT ?");
        let key = (kind.number(), group, row::rows(limit));
        run!(self.pool, |db| db.all(&sql, key, timer).await).await
    }
}

fn timer(row: &mut Row) -> Sql<Timer> {
    Ok(Timer {
        kind: row.one_of(0)?,
        id: row.string(1)?,
        group: row.string(2)?,
        shard: row.value(3)?,
        due_at: row.at(4)?,
        payload: row.text(5)?,
        version: row.count(6)?,
    })
}
