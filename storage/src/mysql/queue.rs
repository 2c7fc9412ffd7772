//! The store-and-forward queue. A row is there while some device lacks the entry.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::{
    MySqlStore,
    fault::{Fault, Sql},
    head,
    pool::{Db, run, transact},
    projections,
    row::{self, Columns, int, p},
    stream,
};
use crate::{
    Backlog, ConversationId, DeviceId, PendingConversation, PendingEntry, PendingQueue, Person,
    ProjectionStep, QueueStore, Seq, StoreError, StreamCursor, Timestamp, UserId, WorkspaceId,
    position,
};

#[async_trait]
impl QueueStore for MySqlStore {
    async fn enqueue(
        &self,
        step: &ProjectionStep,
        workspace: &WorkspaceId,
        entries: Vec<PendingEntry>,
        cap: usize,
    ) -> Result<bool, StoreError> {
        transact!(self.pool, |db| {
            let Some(conv) = projections::advance(db, step).await? else {
                return Ok(false);
            };
            enqueue(db, conv, workspace, &entries, cap).await?;
            Ok(true)
        })
        .await
    }

    async fn trim_queue(
        &self,
        acknowledged: Vec<(Person, Option<ConversationId>)>,
    ) -> Result<(), StoreError> {
        for (person, id) in &acknowledged {
            let trimmed = transact!(self.pool, |db| trim(db, person, id.as_ref()).await);
            trimmed.await?;
        }
        Ok(())
    }

    async fn queue(&self, person: &Person, limit: usize) -> Result<PendingQueue, StoreError> {
        let sql = "SELECT c.id, MIN(p.seq), MAX(p.seq), COUNT(*), MIN(p.at), MAX(p.urgent)
                   FROM pending p JOIN conversations c ON c.conv = p.conv
                   WHERE p.workspace = ? AND p.user = ?
                   GROUP BY p.conv, c.id ORDER BY MAX(p.urgent) DESC, MIN(p.pos) LIMIT ?";
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        run!(self.pool, |db| {
            let key = (workspace, user, row::rows(limit));
            let conversations = db.all(sql, key, |row| {
                Ok(PendingConversation {
                    conversation: row.conversation_id(0)?,
                    first: row.seq(1)?,
                    last: row.seq(2)?,
                    count: row.count(3)?,
                    oldest: row.at(4)?,
                    urgent: row.value(5)?,
                })
            });
            let conversations = conversations.await?;
            Ok(PendingQueue {
                total: total(db, workspace, user).await?,
                conversations,
            })
        })
        .await
    }

    async fn devices(&self, person: &Person) -> Result<Vec<DeviceId>, StoreError> {
        let sql = "SELECT device FROM devices WHERE workspace = ? AND user = ? ORDER BY device";
        let key = (person.workspace.as_str(), person.user.as_str());
        let decode = |row: &mut mysql_async::Row| {
            DeviceId::new(row.string(0)?).map_err(|error| Fault::Corrupt(error.to_string()))
        };
        run!(self.pool, |db| db.all(sql, key, decode).await).await
    }

    async fn recount_queues(
        &self,
        after: Option<&Person>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        let people = run!(self.pool, |db| queued(db, after, limit).await).await?;
        for person in &people {
            transact!(self.pool, |db| recount(db, person).await).await?;
        }
        Ok(people)
    }

    async fn expire_queue(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let sql = "SELECT workspace, user, conv, seq FROM pending
                   WHERE at < ? ORDER BY at LIMIT ?";
        let key = (before.0, row::rows(limit));
        transact!(self.pool, |db| {
            let old = db.all(sql, key, gone).await?;
            remove(db, old).await
        })
        .await
    }

    async fn backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        let Some(after) = position::parse(self.store_id, after) else {
            return Ok(None);
        };
        run!(self.pool, |db| {
            stream::backlog(db, person, after, enough).await
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
        run!(self.pool, |db| {
            let Some(conv) = head::any_conv(db, id).await? else {
                return Ok(people.to_vec());
            };
            let pos = entry_position(db, conv, seq).await?.unwrap_or(u64::MAX);
            let mut lacking = Vec::new();
            for user in people {
                let devices = devices(db, conv, workspace, user).await?;
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

async fn devices(
    db: &mut Db<'_>,
    conv: i64,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Sql<Vec<Device>> {
    let sql = "SELECT COALESCE(c.seq, 0), COALESCE(s.pos, 0) FROM devices d
               LEFT JOIN device_cursors c ON c.workspace = d.workspace AND c.user = d.user
                                         AND c.device = d.device AND c.conv = ?
               LEFT JOIN stream_cursors s ON s.workspace = d.workspace AND s.user = d.user
                                         AND s.device = d.device
               WHERE d.workspace = ? AND d.user = ?";
    db.all(sql, (conv, workspace.as_str(), user.as_str()), |row| {
        Ok(Device {
            seq: row.seq(0)?,
            pos: row.count(1)?,
        })
    })
    .await
}

/// The position of an entry; `None` if the log is in another store, whose stream cursors cannot
/// be compared with it.
async fn entry_position(db: &mut Db<'_>, conv: i64, seq: Seq) -> Sql<Option<u64>> {
    if seq == Seq(0) {
        return Ok(Some(0));
    }
    let sql = "SELECT c.kind, e.pos FROM conversations c
               LEFT JOIN entries e ON e.conv = c.conv AND e.seq = ? WHERE c.conv = ?";
    let found = db.first(sql, (int(seq.0), conv), |row| {
        Ok((row.value::<i64>(0)?, row.value::<Option<i64>>(1)?))
    });
    match found.await? {
        Some((0, _)) => Ok(None),
        Some((_, Some(pos))) => Ok(u64::try_from(pos).ok()),
        _ => Err(Fault::Invalid(format!("no entry at {seq}"))),
    }
}

/// Where it has no position of its own, an entry goes behind what its person's queue holds.
async fn behind(db: &mut Db<'_>, workspace: &str, user: &str) -> Sql<u64> {
    let sql = "SELECT COALESCE(MAX(pos), 0) + 1 FROM pending WHERE workspace = ? AND user = ?";
    let pos = db.first(sql, (workspace, user), |row| row.count(0)).await?;
    Ok(pos.unwrap_or(1))
}

async fn enqueue(
    db: &mut Db<'_>,
    conv: i64,
    workspace: &WorkspaceId,
    entries: &[PendingEntry],
    cap: usize,
) -> Sql<()> {
    let mut positions: HashMap<Seq, Option<u64>> = HashMap::new();
    // People are locked (their totals) in the order of their ids.
    let mut people: BTreeMap<&UserId, Vec<&PendingEntry>> = BTreeMap::new();
    for entry in entries {
        people.entry(&entry.user).or_default().push(entry);
    }
    for (user, entries) in people {
        let devices = devices(db, conv, workspace, user).await?;
        let mut added = 0;
        for entry in entries {
            let pos = match positions.get(&entry.seq) {
                Some(pos) => *pos,
                None => entry_position(db, conv, entry.seq).await?,
            };
            positions.insert(entry.seq, pos);
            // What has no position is behind every stream cursor, as far as can be told.
            let known = pos.unwrap_or(u64::MAX);
            if devices.iter().any(|device| device.lacks(entry.seq, known)) {
                let pos = match pos {
                    Some(pos) => pos,
                    None => behind(db, workspace.as_str(), user.as_str()).await?,
                };
                added += insert(db, conv, workspace, entry, pos).await?;
            }
        }
        if added > 0 {
            count(db, workspace.as_str(), user.as_str(), int(added)).await?;
            keep_to_cap(db, workspace.as_str(), user.as_str(), cap).await?;
        }
    }
    Ok(())
}

async fn insert(
    db: &mut Db<'_>,
    conv: i64,
    workspace: &WorkspaceId,
    entry: &PendingEntry,
    pos: u64,
) -> Sql<u64> {
    let sql = "INSERT IGNORE INTO pending (workspace, user, conv, seq, pos, at, urgent)
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let record = vec![
        p(workspace.as_str()),
        p(entry.user.as_str()),
        p(conv),
        p(int(entry.seq.0)),
        p(int(pos)),
        p(entry.at.0),
        p(entry.urgent),
    ];
    db.run(sql, record).await
}

/// Adds to a person's total, or takes from it.
async fn count(db: &mut Db<'_>, workspace: &str, user: &str, change: i64) -> Sql<()> {
    let sql = "INSERT INTO pending_totals (workspace, user, total) VALUES (?, ?, ?)
               ON DUPLICATE KEY UPDATE total = total + VALUES(total)";
    db.run(sql, (workspace, user, change)).await.map(drop)
}

/// Who has a total, a queue, or both.
async fn queued(db: &mut Db<'_>, after: Option<&Person>, limit: usize) -> Sql<Vec<Person>> {
    let sql = "(SELECT workspace, user FROM pending_totals
                WHERE workspace > ? OR (workspace = ? AND user > ?)
                ORDER BY workspace, user LIMIT ?)
               UNION
               (SELECT DISTINCT workspace, user FROM pending
                WHERE workspace > ? OR (workspace = ? AND user > ?)
                ORDER BY workspace, user LIMIT ?)
               ORDER BY workspace, user LIMIT ?";
    let (workspace, user) = after.map_or(("", ""), |person| {
        (person.workspace.as_str(), person.user.as_str())
    });
    let limit = row::rows(limit);
    let part = [p(workspace), p(workspace), p(user), p(limit)];
    let key = [&part[..], &part[..], &[p(limit)]].concat();
    db.all(sql, key, |row| {
        Ok(Person {
            workspace: row.workspace(0)?,
            user: row.user(1)?,
        })
    })
    .await
}

/// Whoever adds rows or takes them counts them in the same transaction, and waits for the total
/// meanwhile: what can be seen once that is locked is what has been counted.
async fn recount(db: &mut Db<'_>, person: &Person) -> Sql<()> {
    let key = (person.workspace.as_str(), person.user.as_str());
    count(db, key.0, key.1, 0).await?;
    let sql = "SELECT COUNT(*) FROM pending WHERE workspace = ? AND user = ?";
    let rows = db.first(sql, key, |row| row.count(0)).await?;
    // Who was forgotten meanwhile is not known again by this.
    let Some(rows) = rows.filter(|rows| *rows > 0) else {
        let sql = "DELETE FROM pending_totals WHERE workspace = ? AND user = ?";
        return db.run(sql, key).await.map(drop);
    };
    let sql = "UPDATE pending_totals SET total = ? WHERE workspace = ? AND user = ?";
    db.run(sql, (int(rows), key.0, key.1)).await.map(drop)
}

async fn total(db: &mut Db<'_>, workspace: &str, user: &str) -> Sql<u64> {
    let sql = "SELECT total FROM pending_totals WHERE workspace = ? AND user = ?";
    let total = db.first(sql, (workspace, user), |row| row.count(0)).await?;
    Ok(total.unwrap_or(0))
}

async fn keep_to_cap(db: &mut Db<'_>, workspace: &str, user: &str, cap: usize) -> Sql<()> {
    let excess = total(db, workspace, user).await?.saturating_sub(cap as u64);
    if excess == 0 {
        return Ok(());
    }
    let sql = "SELECT workspace, user, conv, seq FROM pending
               WHERE workspace = ? AND user = ? ORDER BY pos LIMIT ?";
    let oldest = db.all(sql, (workspace, user, int(excess)), gone).await?;
    remove(db, oldest).await.map(drop)
}

async fn trim(db: &mut Db<'_>, person: &Person, id: Option<&ConversationId>) -> Sql<()> {
    let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
    if total(db, workspace, user).await? == 0 {
        return Ok(());
    }
    let mut key = vec![p(workspace), p(user)];
    let which = match id {
        None => "",
        Some(id) => {
            let Some(conv) = head::any_conv(db, id).await? else {
                return Ok(());
            };
            key.push(p(conv));
            "AND q.conv = ?"
        }
    };
    let sql = format!(
        "SELECT q.workspace, q.user, q.conv, q.seq FROM pending q
         JOIN conversations v ON v.conv = q.conv
         WHERE q.workspace = ? AND q.user = ? {which} AND NOT EXISTS (
             SELECT 1 FROM devices d
             LEFT JOIN stream_cursors s ON s.workspace = d.workspace AND s.user = d.user
                                       AND s.device = d.device
             WHERE d.workspace = q.workspace AND d.user = q.user
               AND q.seq > COALESCE((SELECT c.seq FROM device_cursors c
                                     WHERE c.workspace = d.workspace AND c.user = d.user
                                       AND c.device = d.device AND c.conv = q.conv), 0)
               AND (v.kind = 0 OR q.pos > COALESCE(s.pos, 0)))"
    );
    let reached = db.all(&sql, key, gone).await?;
    remove(db, reached).await.map(drop)
}

/// Empties a conversation's part of all queues.
pub(super) async fn forget(db: &mut Db<'_>, conv: i64) -> Sql<()> {
    let sql = "SELECT workspace, user, conv, seq FROM pending WHERE conv = ?";
    let all = db.all(sql, (conv,), gone).await?;
    remove(db, all).await.map(drop)
}

/// A row that leaves: whose, and which.
type Gone = ((String, String), i64, i64);

fn gone(row: &mut mysql_async::Row) -> Sql<Gone> {
    let owner = (row.string(0)?, row.string(1)?);
    Ok((owner, row.value(2)?, row.value(3)?))
}

/// Deletes rows, each counted by whoever deletes it; how many. In the order of their keys, as
/// everybody does.
async fn remove(db: &mut Db<'_>, mut rows: Vec<Gone>) -> Sql<u64> {
    rows.sort_unstable();
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    let sql = "DELETE FROM pending WHERE workspace = ? AND user = ? AND conv = ? AND seq = ?";
    for ((workspace, user), conv, seq) in rows {
        let key = (workspace.as_str(), user.as_str(), conv, seq);
        let deleted = db.run(sql, key).await?;
        *counts.entry((workspace, user)).or_default() += int(deleted);
    }
    let mut all = 0;
    for ((workspace, user), deleted) in counts {
        count(db, &workspace, &user, -deleted).await?;
        all += deleted.unsigned_abs();
    }
    Ok(all)
}
