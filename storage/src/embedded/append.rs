//! Taking a conversation, appending to its log, letting it go.

use hashbrown::HashSet;
use rusqlite::{Connection, named_params};

use super::{
    effects,
    fault::{Fault, Sql},
    marks,
    row::{self, Columns, Kept, Numbered, int},
    writer::Guard,
};
use crate::{
    AcquireError, Append, AppendError, Appended, Claim, ConversationId, Epoch, NewEntry, Seq,
    Timestamp,
};

/// The head of a log while a batch is appended to it.
pub(super) struct Head {
    /// The conversation's row.
    pub(super) conv: i64,
    /// Its tenant.
    pub(super) workspace: String,
    /// The place of the newest entry.
    pub(super) tail: Seq,
    /// Messages on the main timeline up to the tail.
    pub(super) n: u64,
    /// The version of the marks changed last.
    pub(super) marks_version: u64,
    epoch: Epoch,
}

/// Appends several parts; each fails on its own.
pub(super) fn append_all(
    conn: &Connection,
    guard: Guard,
    parts: &[Append],
) -> Sql<Vec<Result<Appended, AppendError>>> {
    let mut results = Vec::with_capacity(parts.len());
    for part in parts {
        let result = guard.run(conn, |conn| append(conn, part))?;
        results.push(result.unwrap_or_else(|error| Err(error.into())));
    }
    Ok(results)
}

/// Appends one part. Every refusal comes before the first write.
fn append(conn: &Connection, part: &Append) -> Sql<Result<Appended, AppendError>> {
    if part.entries.is_empty() {
        return Err(Fault::Invalid("an empty batch".to_owned()));
    }
    let Some(mut head) = head(conn, &part.conversation)? else {
        return Ok(Err(AppendError::Fenced));
    };
    if head.epoch != part.epoch {
        return Ok(Err(AppendError::Fenced));
    }
    if let Some(index) = taken_key(conn, head.conv, &part.entries)? {
        return Ok(Err(AppendError::DuplicateKey { index }));
    }
    if head.tail != part.tail {
        return Ok(Err(AppendError::TailMoved { tail: head.tail }));
    }
    let mut newest = (0, Timestamp(0));
    let mut batch = Batch::on(conn);
    for entry in &part.entries {
        newest = (write_entry(&mut batch, &mut head, entry)?, entry.at);
    }
    let (pos, at) = newest;
    move_head(conn, &head, part, pos, at)?;
    Ok(Ok(Appended {
        first: part.tail.next(),
        tail: head.tail,
        n: head.n,
    }))
}

fn head(conn: &Connection, id: &ConversationId) -> Sql<Option<Head>> {
    let sql = "SELECT conv, workspace, tail, n, marks_version, epoch
               FROM conversations WHERE id = ?1";
    row::first(conn, sql, [id.as_str()], |row| {
        Ok(Head {
            conv: row.get(0)?,
            workspace: row.get(1)?,
            tail: row.seq(2)?,
            n: row.count(3)?,
            marks_version: row.count(4)?,
            epoch: Epoch(row.count(5)?),
        })
    })
}

/// The index of the first entry whose key the log, or an earlier entry of the batch, has.
fn taken_key(conn: &Connection, conv: i64, entries: &[NewEntry]) -> Sql<Option<usize>> {
    let mut lookup = conn.prepare_cached("SELECT 1 FROM entries WHERE conv = ?1 AND key = ?2")?;
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let repeated = entries.len() > 1 && !seen.insert(entry.keys.key);
        if repeated {
            return Ok(Some(index));
        }
        for key in entry.keys.iter() {
            if lookup.exists((conv, &key.0[..]))? {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}

const INSERT_ENTRY: &str = "INSERT INTO entries
         (conv, seq, id, kind, sender, key, hash, epoch, n, target_id, target_seq, at, payload)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// What nearly every entry runs, prepared once for all of a batch: finding a statement again by its
/// text costs a tenth of running it.
pub(super) struct Batch<'c> {
    pub(super) conn: &'c Connection,
    entry: Kept<'c>,
    pub(super) view: Kept<'c>,
    pub(super) marks: Kept<'c>,
}

impl<'c> Batch<'c> {
    fn on(conn: &'c Connection) -> Self {
        Self {
            conn,
            entry: Kept::new(INSERT_ENTRY),
            view: Kept::new(effects::PUT_VIEW),
            marks: Kept::new(marks::PUT),
        }
    }
}

/// Writes the next entry of the log, with what commits together with it, and moves the head to it.
/// Returns its position.
fn write_entry(batch: &mut Batch<'_>, head: &mut Head, entry: &NewEntry) -> Sql<i64> {
    head.tail = head.tail.next();
    head.n += u64::from(entry.counts);
    let target = entry.target;
    batch
        .entry
        .prepared(batch.conn)?
        .execute(rusqlite::params![
            head.conv,
            int(head.tail.0),
            &entry.id.0.as_bytes()[..],
            entry.kind.number(),
            entry.sender.as_str(),
            &entry.keys.key.0[..],
            &entry.hash[..],
            int(head.epoch.0),
            int(head.n),
            target.as_ref().map(|(id, _)| &id.0.as_bytes()[..]),
            target.map(|(_, seq)| int(seq.0)),
            entry.at.0,
            &*entry.payload,
        ])?;
    let pos = batch.conn.last_insert_rowid();
    for effect in &entry.effects {
        effects::apply(batch, head, entry, pos, effect)?;
    }
    Ok(pos)
}

/// Moves the tail, if epoch and tail are where the batch was decided. In an immediate
/// transaction nobody can have moved them since [`head`] read them; the guard stays because a
/// hole or a double in a log could never be repaired.
fn move_head(conn: &Connection, head: &Head, part: &Append, pos: i64, at: Timestamp) -> Sql<()> {
    let moved = row::run(
        conn,
        "UPDATE conversations
         SET tail = tail + :count, n = :n, tail_pos = :pos, active_at = :at,
             marks_version = :marks_version
         WHERE conv = :conv AND epoch = :epoch AND tail = :tail",
        named_params! {
            ":count": row::rows(part.entries.len()),
            ":n": int(head.n),
            ":pos": pos,
            ":at": at.0,
            ":marks_version": int(head.marks_version),
            ":conv": head.conv,
            ":epoch": int(part.epoch.0),
            ":tail": int(part.tail.0),
        },
    )?;
    match moved {
        1 => Ok(()),
        _ => Err(Fault::Corrupt(format!(
            "the head of {} moved within a transaction",
            part.conversation
        ))),
    }
}

/// Takes a conversation; the new epoch.
pub(super) fn acquire(
    conn: &Connection,
    id: &ConversationId,
    claim: Claim,
) -> Sql<Result<Epoch, AcquireError>> {
    let sql = "SELECT conv, epoch, owner, taken_at, hot FROM conversations WHERE id = ?1";
    let holder = row::first(conn, sql, [id.as_str()], |row| {
        let owner = row.maybe_uuid(2)?.filter(|_| row.get(4) == Ok(true));
        Ok((
            row.get::<_, i64>(0)?,
            row.count(1)?,
            owner,
            row.get::<_, i64>(3)?,
        ))
    })?;
    let Some((conv, epoch, owner, taken_at)) = holder else {
        return Ok(Err(AcquireError::NotFound));
    };
    // A clock that went back must not make a tenure last for ever, so its sign does not count.
    let held_for_ms = claim.now.0.abs_diff(taken_at);
    if owner.is_some_and(|owner| owner != claim.owner.0) && held_for_ms < claim.min_tenure_ms {
        return Ok(Err(AcquireError::Held { held_for_ms }));
    }
    row::run(
        conn,
        "UPDATE conversations SET epoch = ?2, owner = ?3, taken_at = ?4, hot = 1
         WHERE conv = ?1",
        (
            conv,
            int(epoch + 1),
            &claim.owner.0.as_bytes()[..],
            claim.now.0,
        ),
    )?;
    Ok(Ok(Epoch(epoch + 1)))
}

/// Clears `hot`, if nothing has happened since.
pub(super) fn release(conn: &Connection, id: &ConversationId, epoch: Epoch, tail: Seq) -> Sql<()> {
    row::run(
        conn,
        "UPDATE conversations SET hot = 0 WHERE id = ?1 AND epoch = ?2 AND tail = ?3",
        (id.as_str(), int(epoch.0), int(tail.0)),
    )?;
    Ok(())
}
