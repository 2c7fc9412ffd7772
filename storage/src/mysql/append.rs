//! Appending many parts in one transaction, in a number of statements that does not grow with
//! the number of parts.
//!
//! Heads are locked first, then keys are looked up, and what is to be written is decided in memory.
//! Positions come from a row that stays locked until the commit: an AUTO_INCREMENT would be given
//! out before, and a reader could pass a position whose entry appears later. Last, the heads move,
//! if epoch and tail are where the decision was made.

use std::collections::{HashMap, HashSet};

use super::{
    effects::Effects,
    fault::{Fault, Sql},
    head::{self, Head},
    pool::Db,
    row::{self, Columns, Numbered, id, int, p},
};
use crate::{
    Append, AppendError, Appended, ConversationId, Epoch, Key16, NewEntry, Seq, StoreError,
    Timestamp,
};

/// Rows of one statement at most; a statement has 65,535 parameters at most.
const ROWS: usize = 500;

/// Appends several parts. A fault of one part is a fault of all: see [`append_each`].
pub(super) async fn append_all(
    db: &mut Db<'_>,
    parts: &[&Append],
    jump: u64,
) -> Sql<Vec<Result<Appended, AppendError>>> {
    let ids: Vec<&ConversationId> = parts.iter().map(|part| &part.conversation).collect();
    let mut heads = HashMap::new();
    for head in head::lock(db, &ids).await? {
        if head.workspace.is_some() {
            heads.insert(head.id.clone(), head);
        }
    }
    let taken = taken_keys(db, &heads, parts).await?;
    let mut plan = Plan::decide(parts, heads, taken);
    if plan.rows.is_empty() {
        return Ok(plan.results);
    }
    let base = positions(db, plan.rows.len() as u64, jump).await?;
    for (pos, row) in (base..).zip(&mut plan.rows) {
        row.pos = pos;
    }
    insert(db, &plan.rows).await?;
    let mut effects = Effects::default();
    for row in &plan.rows {
        let Some(moved) = plan.moved.get_mut(&row.conv) else {
            continue;
        };
        moved.pos = row.pos;
        moved.at = row.entry.at;
        effects.apply(db, &mut moved.head, row).await?;
    }
    effects.flush(db).await?;
    move_heads(db, &plan.moved).await?;
    Ok(plan.results)
}

/// The same with a savepoint for each part, so that a part that fails touches no other.
pub(super) async fn append_each(
    db: &mut Db<'_>,
    parts: &[&Append],
    jump: u64,
) -> Sql<Vec<Result<Appended, AppendError>>> {
    let mut results = Vec::with_capacity(parts.len());
    for part in parts {
        db.command("SAVEPOINT part").await?;
        let appended = append_all(db, std::slice::from_ref(part), jump).await;
        match appended {
            Ok(result) => results.extend(result),
            Err(fault) if fault.is_own() => {
                db.command("ROLLBACK TO SAVEPOINT part").await?;
                results.push(Err(AppendError::Store(StoreError::from(fault))));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(results)
}

async fn taken_keys(
    db: &mut Db<'_>,
    heads: &HashMap<ConversationId, Head>,
    parts: &[&Append],
) -> Sql<HashSet<(i64, Key16)>> {
    let mut keys = Vec::new();
    for part in parts {
        if let Some(head) = heads.get(&part.conversation) {
            let some = part.entries.iter().flat_map(|entry| entry.keys.iter());
            keys.extend(some.map(|key| (head.conv, key)));
        }
    }
    let mut taken = HashSet::new();
    for some in keys.chunks(ROWS) {
        let one = "(conv = ? AND key16 = ?)";
        let sql = format!(
            "SELECT conv, key16 FROM entries FORCE INDEX (entries_key) WHERE {}",
            vec![one; some.len()].join(" OR ")
        );
        let params = some
            .iter()
            .flat_map(|(conv, key)| [p(*conv), p(&key.0[..])]);
        let found = db.all(&sql, params.collect::<Vec<_>>(), |row| {
            Ok((row.value::<i64>(0)?, Key16(row.bytes(1)?)))
        });
        taken.extend(found.await?);
    }
    Ok(taken)
}

/// An entry with its place.
pub(super) struct Placed<'a> {
    /// The conversation's row.
    pub(super) conv: i64,
    /// Its place.
    pub(super) seq: Seq,
    /// Its position in the order of commits.
    pub(super) pos: u64,
    /// Messages on the main timeline up to it.
    pub(super) n: u64,
    /// Under which epoch.
    pub(super) epoch: Epoch,
    /// The entry.
    pub(super) entry: &'a NewEntry,
}

/// A head that moves.
struct Moved {
    head: Head,
    /// Where the tail was.
    from: Seq,
    pos: u64,
    at: Timestamp,
}

/// What will be written, and what the callers will be told.
struct Plan<'a> {
    results: Vec<Result<Appended, AppendError>>,
    rows: Vec<Placed<'a>>,
    moved: HashMap<i64, Moved>,
}

impl<'a> Plan<'a> {
    /// Decides part after part, each on the heads that those before it leave.
    fn decide(
        parts: &[&'a Append],
        mut heads: HashMap<ConversationId, Head>,
        mut taken: HashSet<(i64, Key16)>,
    ) -> Self {
        let mut plan = Self {
            results: Vec::with_capacity(parts.len()),
            rows: Vec::new(),
            moved: HashMap::new(),
        };
        for part in parts {
            let result = match heads.get_mut(&part.conversation) {
                _ if part.entries.is_empty() => {
                    Err(StoreError::Invalid("an empty batch".to_owned()).into())
                }
                None => Err(AppendError::Fenced),
                Some(head) => check(part, head, &mut taken).map(|()| plan.place(part, head)),
            };
            plan.results.push(result);
        }
        plan
    }

    fn place(&mut self, part: &'a Append, head: &mut Head) -> Appended {
        let first = head.tail.next();
        let from = head.tail;
        for entry in &part.entries {
            head.tail = head.tail.next();
            head.n += u64::from(entry.counts);
            self.rows.push(Placed {
                conv: head.conv,
                seq: head.tail,
                pos: 0,
                n: head.n,
                epoch: head.epoch,
                entry,
            });
        }
        let moved = self.moved.entry(head.conv).or_insert_with(|| Moved {
            head: head.clone(),
            from,
            pos: 0,
            at: Timestamp(0),
        });
        (moved.head.tail, moved.head.n) = (head.tail, head.n);
        Appended {
            first,
            tail: head.tail,
            n: head.n,
        }
    }
}

/// The epoch is looked at first, then the keys, then the tail.
fn check(part: &Append, head: &Head, taken: &mut HashSet<(i64, Key16)>) -> Result<(), AppendError> {
    if head.epoch != part.epoch {
        return Err(AppendError::Fenced);
    }
    let mut seen = HashSet::new();
    let is_taken = |entry: &NewEntry| {
        entry
            .keys
            .iter()
            .any(|key| taken.contains(&(head.conv, key)))
            || !seen.insert(entry.keys.key)
    };
    if let Some(index) = part.entries.iter().position(is_taken) {
        return Err(AppendError::DuplicateKey { index });
    }
    if head.tail != part.tail {
        return Err(AppendError::TailMoved { tail: head.tail });
    }
    taken.extend(part.entries.iter().map(|entry| (head.conv, entry.keys.key)));
    Ok(())
}

/// Takes so many positions; the first. After a new connection was made some are left out: a server
/// that died may have lost commits that a reader had seen, and their positions are not given out
/// again.
async fn positions(db: &mut Db<'_>, count: u64, jump: u64) -> Sql<u64> {
    let sql = "UPDATE counters SET value = LAST_INSERT_ID(value + ?) WHERE name = 'positions'";
    db.run(sql, (int(count + jump),)).await?;
    let last = db.made()?;
    Ok(last + 1 - count)
}

async fn insert(db: &mut Db<'_>, rows: &[Placed<'_>]) -> Sql<()> {
    for some in rows.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO entries
                 (conv, seq, pos, id, kind, sender, key16, hash, epoch, n, target_id, target_seq,
                  at, payload)
             VALUES {}",
            row::groups(some.len(), 14)
        );
        let mut params = Vec::with_capacity(some.len() * 14);
        for row in some {
            let entry = row.entry;
            params.extend([
                p(row.conv),
                p(int(row.seq.0)),
                p(int(row.pos)),
                id(&entry.id),
                p(entry.kind.number()),
                p(entry.sender.as_str()),
                p(&entry.keys.key.0[..]),
                p(&entry.hash[..]),
                p(int(row.epoch.0)),
                p(int(row.n)),
                entry
                    .target
                    .map_or(mysql_async::Value::NULL, |(target, _)| id(&target)),
                p(entry.target.map(|(_, seq)| int(seq.0))),
                p(entry.at.0),
                p(&*entry.payload),
            ]);
        }
        db.run(&sql, params).await?;
    }
    Ok(())
}

/// Moves the heads, if epoch and tail are where the parts were decided. They are locked, so nobody
/// can have moved them; the guard stays because a hole or a double in a log could never be
/// repaired.
async fn move_heads(db: &mut Db<'_>, moved: &HashMap<i64, Moved>) -> Sql<()> {
    let moved: Vec<&Moved> = moved.values().collect();
    for some in moved.chunks(ROWS) {
        let case = format!(
            "CASE conv {} END",
            vec!["WHEN ? THEN ?"; some.len()].join(" ")
        );
        let guard = vec!["(conv = ? AND epoch = ? AND tail = ?)"; some.len()].join(" OR ");
        let sql = format!(
            "UPDATE conversations
             SET n = {case}, tail_pos = {case}, active_at = {case}, marks_version = {case},
                 tail = {case}
             WHERE {guard}"
        );
        let columns: [fn(&Moved) -> i64; 5] = [
            |moved| int(moved.head.n),
            |moved| int(moved.pos),
            |moved| moved.at.0,
            |moved| int(moved.head.marks_version),
            |moved| int(moved.head.tail.0),
        ];
        let mut params = Vec::with_capacity(some.len() * 13);
        for column in columns {
            params.extend(
                some.iter()
                    .flat_map(|moved| [p(moved.head.conv), p(column(moved))]),
            );
        }
        for moved in some {
            let head = &moved.head;
            params.extend([p(head.conv), p(int(head.epoch.0)), p(int(moved.from.0))]);
        }
        if db.run(&sql, params).await? != some.len() as u64 {
            let what = "the head of a log moved within a transaction";
            return Err(Fault::Corrupt(what.to_owned()));
        }
    }
    Ok(())
}
