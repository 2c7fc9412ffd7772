//! The store-and-forward queue. A row is there while some device lacks the entry.

use async_trait::async_trait;
use hashbrown::{HashMap, hash_map::Entry as MapEntry};
use rusqlite::{Connection, Row};

use super::{
    EmbeddedStore, detached,
    fault::{Fault, Sql},
    projections,
    row::{self, Columns, int},
    stream,
};
use crate::{
    Backlog, ConversationId, DeviceId, PendingConversation, PendingEntry, PendingQueue, Person,
    ProjectionStep, QueueStore, Seq, StoreError, StreamCursor, Timestamp, UserId, WorkspaceId,
};

#[async_trait]
impl QueueStore for EmbeddedStore {
    async fn enqueue(
        &self,
        step: &ProjectionStep,
        workspace: &WorkspaceId,
        entries: Vec<PendingEntry>,
        cap: usize,
    ) -> Result<bool, StoreError> {
        let (step, workspace) = (step.clone(), workspace.clone());
        self.write(move |conn| {
            let Some(conv) = projections::advance(conn, &step)? else {
                return Ok(false);
            };
            enqueue(conn, conv, &workspace, &entries, cap)?;
            Ok(true)
        })
        .await
    }

    async fn trim_queue(
        &self,
        acknowledged: Vec<(Person, Option<ConversationId>)>,
    ) -> Result<(), StoreError> {
        if acknowledged.is_empty() {
            return Ok(());
        }
        self.write(move |conn| {
            let mut each = acknowledged.iter();
            each.try_for_each(|(person, id)| trim(conn, person, id.as_ref()))
        })
        .await
    }

    async fn queue(&self, person: &Person, limit: usize) -> Result<PendingQueue, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let sql = "SELECT coalesce(c.id, d.id), min(p.seq), max(p.seq), count(*), min(p.at),
                              max(p.urgent)
                       FROM pending p LEFT JOIN conversations c ON c.conv = p.conv
                                      LEFT JOIN detached_logs d ON d.conv = p.conv
                       WHERE p.workspace = ?1 AND p.user = ?2
                       GROUP BY p.conv ORDER BY max(p.urgent) DESC, min(p.pos) LIMIT ?3";
            let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
            let key = (workspace, user, row::rows(limit));
            Ok(PendingQueue {
                total: total(conn, workspace, user)?,
                conversations: row::all(conn, sql, key, pending)?,
            })
        })
        .await
    }

    async fn devices(&self, person: &Person) -> Result<Vec<DeviceId>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let sql = "SELECT device FROM devices WHERE workspace = ?1 AND user = ?2
                       ORDER BY device";
            let key = (person.workspace.as_str(), person.user.as_str());
            row::all(conn, sql, key, |row| {
                DeviceId::new(row.text(0)?).map_err(|error| Fault::Corrupt(error.to_string()))
            })
        })
        .await
    }

    async fn recount_queues(
        &self,
        after: Option<&Person>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        let after = after.cloned();
        self.write(move |conn| {
            let people = queued(conn, after.as_ref(), limit)?;
            people.iter().try_for_each(|person| recount(conn, person))?;
            Ok(people)
        })
        .await
    }

    async fn expire_queue(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(move |conn| {
            let sql = "DELETE FROM pending WHERE (workspace, user, conv, seq) IN
                           (SELECT workspace, user, conv, seq FROM pending
                            WHERE at < ?1 ORDER BY at LIMIT ?2)
                       RETURNING workspace, user";
            let gone = row::all(conn, sql, (before.0, row::rows(limit)), owner)?;
            count_out(conn, gone)
        })
        .await
    }

    async fn backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        let Some(after) = stream::parse(self.place.store_id(), after) else {
            return Ok(None);
        };
        let person = person.clone();
        self.read(move |conn| {
            if after > stream::newest(conn)? {
                return Ok(None);
            }
            stream::backlog(conn, &person, after, enough).map(Some)
        })
        .await
    }

    async fn lacking(
        &self,
        id: &ConversationId,
        seq: Seq,
        workspace: &WorkspaceId,
        people: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        let (id, workspace, people) = (id.clone(), workspace.clone(), people.to_vec());
        self.read(move |conn| {
            let Some(conv) = detached::any_row(conn, &id)? else {
                return Ok(people.clone());
            };
            let pos = position(conn, conv, seq)?.unwrap_or(u64::MAX);
            let mut lacking = Vec::new();
            for user in &people {
                let devices = devices(conn, conv, &workspace, user)?;
                if devices.is_empty() || devices.iter().any(|device| device.lacks(seq, pos)) {
                    lacking.push(user.clone());
                }
            }
            Ok(lacking)
        })
        .await
    }
}

/// Where a device stands in a conversation, and in its person's stream.
struct Device {
    seq: Seq,
    pos: u64,
}

impl Device {
    fn lacks(&self, seq: Seq, pos: u64) -> bool {
        seq > self.seq && pos > self.pos
    }
}

fn devices(
    conn: &Connection,
    conv: i64,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Sql<Vec<Device>> {
    let sql = "SELECT coalesce(c.seq, 0), coalesce(s.pos, 0) FROM devices d
               LEFT JOIN device_cursors c ON c.workspace = d.workspace AND c.user = d.user
                                         AND c.device = d.device AND c.conv = ?3
               LEFT JOIN stream_cursors s ON s.workspace = d.workspace AND s.user = d.user
                                         AND s.device = d.device
               WHERE d.workspace = ?1 AND d.user = ?2";
    let key = (workspace.as_str(), user.as_str(), conv);
    row::all(conn, sql, key, |row| {
        Ok(Device {
            seq: row.seq(0)?,
            pos: row.count(1)?,
        })
    })
}

/// The position of an entry; `None` if the log is in another store, whose stream cursors cannot
/// be compared with it.
fn position(conn: &Connection, conv: i64, seq: Seq) -> Sql<Option<u64>> {
    if seq == Seq(0) {
        return Ok(Some(0));
    }
    if conv < 0 {
        return Ok(None);
    }
    let sql = "SELECT pos FROM entries WHERE conv = ?1 AND seq = ?2";
    row::first(conn, sql, (conv, int(seq.0)), |row| row.count(0))?
        .map(Some)
        .ok_or_else(|| Fault::Invalid(format!("no entry at {seq}")))
}

/// Where it has no position of its own, an entry goes behind what its person's queue holds.
fn behind(conn: &Connection, workspace: &str, user: &str) -> Sql<u64> {
    let sql = "SELECT coalesce(max(pos), 0) + 1 FROM pending WHERE workspace = ?1 AND user = ?2";
    let pos = row::first(conn, sql, (workspace, user), |row| row.count(0))?;
    Ok(pos.unwrap_or(1))
}

fn enqueue(
    conn: &Connection,
    conv: i64,
    workspace: &WorkspaceId,
    entries: &[PendingEntry],
    cap: usize,
) -> Sql<()> {
    // Hashed cheaply: it is asked for each member once for each message, and lasts as long as this.
    let mut people: HashMap<&UserId, (Vec<Device>, u64)> = HashMap::new();
    // Of the entry before: what is queued for many comes entry by entry.
    let mut known = None;
    for entry in entries {
        let (devices, added) = match people.entry(&entry.user) {
            MapEntry::Occupied(person) => person.into_mut(),
            MapEntry::Vacant(person) => {
                person.insert((devices(conn, conv, workspace, &entry.user)?, 0))
            }
        };
        if devices.is_empty() {
            continue;
        }
        let pos = match known {
            Some((seq, pos)) if seq == entry.seq => pos,
            _ => position(conn, conv, entry.seq)?,
        };
        known = Some((entry.seq, pos));
        let pos = match pos {
            Some(pos) => pos,
            None => behind(conn, workspace.as_str(), entry.user.as_str())?,
        };
        if devices.iter().any(|device| device.lacks(entry.seq, pos)) {
            *added += u64::from(insert(conn, conv, workspace, entry, pos)?);
        }
    }
    for (user, (_, added)) in people {
        if added > 0 {
            count_in(conn, workspace.as_str(), user.as_str(), added)?;
            keep_to_cap(conn, workspace.as_str(), user.as_str(), cap)?;
        }
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    conv: i64,
    workspace: &WorkspaceId,
    entry: &PendingEntry,
    pos: u64,
) -> Sql<bool> {
    let inserted = row::run(
        conn,
        "INSERT OR IGNORE INTO pending (workspace, user, conv, seq, pos, at, urgent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            workspace.as_str(),
            entry.user.as_str(),
            conv,
            int(entry.seq.0),
            int(pos),
            entry.at.0,
            entry.urgent,
        ),
    )?;
    Ok(inserted > 0)
}

fn count_in(conn: &Connection, workspace: &str, user: &str, added: u64) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO pending_totals (workspace, user, total) VALUES (?1, ?2, ?3)
         ON CONFLICT (workspace, user) DO UPDATE SET total = total + excluded.total",
        (workspace, user, int(added)),
    )?;
    Ok(())
}

/// Who has a total, a queue, or both.
fn queued(conn: &Connection, after: Option<&Person>, limit: usize) -> Sql<Vec<Person>> {
    let sql = "SELECT * FROM (SELECT workspace, user FROM pending_totals
                              WHERE (workspace, user) > (?1, ?2)
                              ORDER BY workspace, user LIMIT ?3)
               UNION
               SELECT * FROM (SELECT DISTINCT workspace, user FROM pending
                              WHERE (workspace, user) > (?1, ?2)
                              ORDER BY workspace, user LIMIT ?3)
               ORDER BY workspace, user LIMIT ?3";
    let (workspace, user) = after.map_or(("", ""), |person| {
        (person.workspace.as_str(), person.user.as_str())
    });
    row::all(conn, sql, (workspace, user, row::rows(limit)), |row| {
        let workspace = WorkspaceId::new(row.text(0)?);
        Ok(Person {
            workspace: workspace.map_err(|error| Fault::Corrupt(error.to_string()))?,
            user: row.user(1)?,
        })
    })
}

fn recount(conn: &Connection, person: &Person) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO pending_totals (workspace, user, total)
         SELECT ?1, ?2, count(*) FROM pending WHERE workspace = ?1 AND user = ?2
         ON CONFLICT (workspace, user) DO UPDATE SET total = excluded.total",
        (person.workspace.as_str(), person.user.as_str()),
    )?;
    Ok(())
}

fn total(conn: &Connection, workspace: &str, user: &str) -> Sql<u64> {
    let sql = "SELECT total FROM pending_totals WHERE workspace = ?1 AND user = ?2";
    let total = row::first(conn, sql, (workspace, user), |row| row.count(0))?;
    Ok(total.unwrap_or(0))
}

fn keep_to_cap(conn: &Connection, workspace: &str, user: &str, cap: usize) -> Sql<()> {
    let excess = total(conn, workspace, user)?.saturating_sub(cap as u64);
    if excess == 0 {
        return Ok(());
    }
    let sql = "DELETE FROM pending WHERE workspace = ?1 AND user = ?2 AND (conv, seq) IN
                   (SELECT conv, seq FROM pending
                    WHERE workspace = ?1 AND user = ?2 ORDER BY pos LIMIT ?3)
               RETURNING workspace, user";
    let gone = row::all(conn, sql, (workspace, user, int(excess)), owner)?;
    count_out(conn, gone).map(drop)
}

macro_rules! trim_query {
    ($which:literal) => {
        concat!(
            "DELETE FROM pending WHERE workspace = ?1 AND user = ?2 AND ",
            $which,
            " AND NOT EXISTS (
                SELECT 1 FROM devices d
                LEFT JOIN device_cursors c ON c.workspace = d.workspace AND c.user = d.user
                                          AND c.device = d.device AND c.conv = pending.conv
                LEFT JOIN stream_cursors s ON s.workspace = d.workspace AND s.user = d.user
                                          AND s.device = d.device
                WHERE d.workspace = ?1 AND d.user = ?2
                  AND pending.seq > coalesce(c.seq, 0) AND pending.pos > coalesce(s.pos, 0))
              RETURNING workspace, user"
        )
    };
}

fn trim(conn: &Connection, person: &Person, id: Option<&ConversationId>) -> Sql<()> {
    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
    if total(conn, workspace, user)? == 0 {
        return Ok(());
    }
    let gone = match id {
        None => row::all(conn, trim_query!("?3"), (workspace, user, true), owner)?,
        Some(id) => {
            let Some(conv) = detached::any_row(conn, id)? else {
                return Ok(());
            };
            let sql = trim_query!("conv = ?3");
            row::all(conn, sql, (workspace, user, conv), owner)?
        }
    };
    count_out(conn, gone).map(drop)
}

/// Empties a conversation's part of all queues.
pub(super) fn forget(conn: &Connection, conv: i64) -> Sql<()> {
    let sql = "DELETE FROM pending WHERE conv = ?1 RETURNING workspace, user";
    let gone = row::all(conn, sql, [conv], owner)?;
    count_out(conn, gone).map(drop)
}

fn owner(row: &Row<'_>) -> Sql<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Rows of these people are gone; how many.
fn count_out(conn: &Connection, gone: Vec<(String, String)>) -> Sql<u64> {
    let mut counts: HashMap<(String, String), u64> = HashMap::new();
    let all = gone.len() as u64;
    for owner in gone {
        *counts.entry(owner).or_default() += 1;
    }
    for ((workspace, user), count) in counts {
        let sql = "UPDATE pending_totals SET total = total - ?3 WHERE workspace = ?1 AND user = ?2";
        row::run(conn, sql, (workspace, user, int(count)))?;
    }
    Ok(all)
}

fn pending(row: &Row<'_>) -> Sql<PendingConversation> {
    Ok(PendingConversation {
        conversation: ConversationId::from_stored(row.text(0)?),
        first: row.seq(1)?,
        last: row.seq(2)?,
        count: row.count(3)?,
        oldest: Timestamp(row.get(4)?),
        urgent: row.get(5)?,
    })
}
