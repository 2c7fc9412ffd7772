//! Between rows and records: integers for kinds, blobs for ids, and the small query helpers.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Params, Row};
use uuid::Uuid;

use super::fault::{Fault, Sql};
pub(super) use crate::numbered::Numbered;
use crate::{
    Conversation, ConversationId, Entry, EntryId, Epoch, Key16, Member, Seq, Timestamp, UserId,
    WorkspaceId,
};

/// The first row of a query.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Sql<T>,
) -> Sql<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

/// All rows of a query.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut decode: impl FnMut(&Row<'_>) -> Sql<T>,
) -> Sql<Vec<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(decode(row)?);
    }
    Ok(out)
}

/// Runs a statement that returns nothing; says how many rows it changed.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Sql<usize> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

/// A statement that is prepared when it is first needed, and kept.
pub(super) struct Kept<'c> {
    sql: &'static str,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Kept<'c> {
    pub(super) fn new(sql: &'static str) -> Self {
        let statement = None;
        Self { sql, statement }
    }

    pub(super) fn prepared(&mut self, conn: &'c Connection) -> Sql<&mut CachedStatement<'c>> {
        Ok(match &mut self.statement {
            Some(statement) => statement,
            none => none.insert(conn.prepare_cached(self.sql)?),
        })
    }
}

/// SQLite's integers are signed; what does not fit (nothing real) is capped.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A limit as a number of rows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Typed columns.
pub(super) trait Columns {
    /// A count.
    fn count(&self, index: usize) -> Sql<u64>;
    /// A place; NULL is none.
    fn maybe_seq(&self, index: usize) -> Sql<Option<Seq>>;
    /// Shared text.
    fn text(&self, index: usize) -> Sql<Arc<str>>;
    /// A person's id.
    fn user(&self, index: usize) -> Sql<UserId>;
    /// A UUID; NULL is none.
    fn maybe_uuid(&self, index: usize) -> Sql<Option<Uuid>>;
    /// A blob of known size.
    fn bytes<const N: usize>(&self, index: usize) -> Sql<[u8; N]>;
    /// One of the numbered kinds.
    fn one_of<T: Numbered>(&self, index: usize) -> Sql<T>;

    /// A place.
    fn seq(&self, index: usize) -> Sql<Seq> {
        self.count(index).map(Seq)
    }

    /// A UUID.
    fn uuid(&self, index: usize) -> Sql<Uuid> {
        self.maybe_uuid(index)?
            .ok_or_else(|| Fault::Corrupt(format!("column {index} holds no id")))
    }
}

impl Columns for Row<'_> {
    fn count(&self, index: usize) -> Sql<u64> {
        let value: i64 = self.get(index)?;
        u64::try_from(value)
            .map_err(|_| Fault::Corrupt(format!("column {index} holds the count {value}")))
    }

    fn maybe_seq(&self, index: usize) -> Sql<Option<Seq>> {
        match self.get::<_, Option<i64>>(index)? {
            None => Ok(None),
            Some(_) => self.seq(index).map(Some),
        }
    }

    fn text(&self, index: usize) -> Sql<Arc<str>> {
        let text = self.get_ref(index)?.as_str();
        text.map(Arc::from)
            .map_err(|error| Fault::Corrupt(error.to_string()))
    }

    fn user(&self, index: usize) -> Sql<UserId> {
        UserId::new(self.text(index)?).map_err(|error| Fault::Corrupt(error.to_string()))
    }

    fn maybe_uuid(&self, index: usize) -> Sql<Option<Uuid>> {
        match self.get::<_, Option<[u8; 16]>>(index)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(Uuid::from_bytes(bytes))),
        }
    }

    fn bytes<const N: usize>(&self, index: usize) -> Sql<[u8; N]> {
        Ok(self.get(index)?)
    }

    fn one_of<T: Numbered>(&self, index: usize) -> Sql<T> {
        let number: i64 = self.get(index)?;
        T::from_number(number)
            .ok_or_else(|| Fault::Corrupt(format!("column {index} holds the kind {number}")))
    }
}

/// The columns that [`entry`] reads, of `entries` as `e`.
macro_rules! entry_columns {
    () => {
        "e.seq, e.id, e.kind, e.sender, e.key, e.hash, e.epoch, e.n, \
         e.target_id, e.target_seq, e.payload, e.at"
    };
}
pub(super) use entry_columns;

/// Decodes the columns of `entry_columns!`.
pub(super) fn entry(row: &Row<'_>) -> Sql<Entry> {
    let target = match (row.maybe_uuid(8)?, row.maybe_seq(9)?) {
        (Some(id), Some(seq)) => Some((EntryId(id), seq)),
        _ => None,
    };
    Ok(Entry {
        seq: row.seq(0)?,
        id: EntryId(row.uuid(1)?),
        kind: row.one_of(2)?,
        sender: row.user(3)?,
        key: Key16(row.bytes(4)?),
        hash: row.bytes(5)?,
        epoch: Epoch(row.count(6)?),
        n: row.count(7)?,
        target,
        payload: row.text(10)?,
        at: Timestamp(row.get(11)?),
    })
}

/// The columns that [`conversation`] reads, of `conversations` as `c`.
macro_rules! conversation_columns {
    () => {
        "c.id, c.workspace, c.kind, c.name, c.created_by, c.created_at, c.tail, c.n, c.epoch"
    };
}
pub(super) use conversation_columns;

/// Decodes the columns of `conversation_columns!`.
pub(super) fn conversation(row: &Row<'_>) -> Sql<Conversation> {
    Ok(Conversation {
        id: ConversationId::from_stored(row.text(0)?),
        workspace: WorkspaceId::new(row.text(1)?)
            .map_err(|error| Fault::Corrupt(error.to_string()))?,
        kind: row.one_of(2)?,
        name: row.get(3)?,
        created_by: row.user(4)?,
        created_at: Timestamp(row.get(5)?),
        tail: row.seq(6)?,
        n: row.count(7)?,
        epoch: Epoch(row.count(8)?),
    })
}

/// Decodes `user, from_seq, to_seq, role`.
pub(super) fn member(row: &Row<'_>) -> Sql<Member> {
    Ok(Member {
        user: row.user(0)?,
        from_seq: row.seq(1)?,
        to_seq: row.maybe_seq(2)?,
        role: row.one_of(3)?,
    })
}

/// The row number of a conversation, which every other table uses.
pub(super) fn conversation_row(conn: &Connection, id: &ConversationId) -> Sql<Option<i64>> {
    let sql = "SELECT conv FROM conversations WHERE id = ?1";
    first(conn, sql, [id.as_str()], |row| Ok(row.get(0)?))
}
