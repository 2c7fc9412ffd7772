//! Timers.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    EmbeddedStore,
    fault::Sql,
    row::{self, Columns, Numbered, int},
};
use crate::{Fired, NewTimer, StoreError, Timer, TimerKind, TimerStore, Timestamp};

macro_rules! timer_query {
    ($rest:literal) => {
        concat!(
            "SELECT kind, id, grp, shard, due_at, payload, version FROM timers WHERE ",
            $rest
        )
    };
}

#[async_trait]
impl TimerStore for EmbeddedStore {
    async fn put_timer(&self, timer: NewTimer) -> Result<bool, StoreError> {
        self.write(move |conn| put(conn, &timer)).await
    }

    async fn move_timer(
        &self,
        fired: &Fired,
        due_at: Timestamp,
        payload: &str,
    ) -> Result<Option<u64>, StoreError> {
        let (fired, payload) = (fired.clone(), payload.to_owned());
        self.write(move |conn| {
            let moved = row::run(
                conn,
                "UPDATE timers SET due_at = ?4, payload = ?5, version = version + 1
                 WHERE kind = ?1 AND id = ?2 AND version = ?3",
                params![
                    fired.kind.number(),
                    fired.id,
                    int(fired.version),
                    due_at.0,
                    payload
                ],
            )?;
            Ok((moved > 0).then_some(fired.version + 1))
        })
        .await
    }

    async fn delete_timer(&self, fired: &Fired) -> Result<bool, StoreError> {
        let fired = fired.clone();
        self.write(move |conn| {
            let sql = "DELETE FROM timers WHERE kind = ?1 AND id = ?2 AND version = ?3";
            let key = (fired.kind.number(), &fired.id, int(fired.version));
            Ok(row::run(conn, sql, key)? > 0)
        })
        .await
    }

    async fn timer(&self, kind: TimerKind, id: &str) -> Result<Option<Timer>, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| {
            let sql = timer_query!("kind = ?1 AND id = ?2");
            row::first(conn, sql, (kind.number(), id), timer)
        })
        .await
    }

    async fn due_timers(
        &self,
        shard: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        self.read(move |conn| {
            let sql = timer_query!("shard = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3");
            row::all(conn, sql, (shard, now.0, row::rows(limit)), timer)
        })
        .await
    }

    async fn timers_of(
        &self,
        kind: TimerKind,
        group: &str,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let group = group.to_owned();
        self.read(move |conn| {
            let sql = timer_query!("kind = ?1 AND grp = ?2 ORDER BY due_at, id LIMIT ?3");
            row::all(conn, sql, (kind.number(), group, row::rows(limit)), timer)
        })
        .await
    }
}

fn put(conn: &Connection, timer: &NewTimer) -> Sql<bool> {
    let kept = row::run(
        conn,
        "INSERT INTO timers (kind, id, grp, shard, due_at, version, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) ON CONFLICT (kind, id) DO NOTHING",
        params![
            timer.kind.number(),
            timer.id,
            timer.group,
            timer.shard,
            timer.due_at.0,
            &*timer.payload
        ],
    )?;
    Ok(kept > 0)
}

fn timer(row: &Row<'_>) -> Sql<Timer> {
    Ok(Timer {
        kind: row.one_of(0)?,
        id: row.get(1)?,
        group: row.get(2)?,
        shard: row.get(3)?,
        due_at: Timestamp(row.get(4)?),
        payload: row.text(5)?,
        version: row.count(6)?,
    })
}
