//! Delivered and read marks: one row per member who has any, versioned per conversation.

use rusqlite::{Connection, Row, Statement};

use super::{
    append::Head,
    fault::Sql,
    row::{self, Columns, int},
};
use crate::{Marks, Seq, UserId};

/// A person's marks; all zero where there are none.
pub(super) fn load(conn: &Connection, conv: i64, user: &UserId) -> Sql<Marks> {
    let sql = "SELECT delivered, read, unread_from, version FROM marks
               WHERE conv = ?1 AND user = ?2";
    let marks = row::first(conn, sql, (conv, user.as_str()), |row| decode(row, 0))?;
    Ok(marks.unwrap_or_default())
}

/// Decodes `delivered, read, unread_from, version`, which begin at a column.
pub(super) fn decode(row: &Row<'_>, start: usize) -> Sql<Marks> {
    Ok(Marks {
        delivered: row.seq(start)?,
        read: row.seq(start + 1)?,
        unread_from: row.maybe_seq(start + 2)?,
        version: row.count(start + 3)?,
    })
}

/// Puts a person's marks in place of those they had.
pub(super) const PUT: &str = "INSERT INTO marks (conv, user, delivered, read, unread_from, version)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
     ON CONFLICT (conv, user) DO UPDATE SET
         delivered = excluded.delivered, read = excluded.read,
         unread_from = excluded.unread_from, version = excluded.version";

/// Replaces a person's marks.
pub(super) fn store(conn: &Connection, conv: i64, user: &UserId, marks: &Marks) -> Sql<()> {
    put(&mut *conn.prepare_cached(PUT)?, conv, user, marks)
}

fn put(statement: &mut Statement<'_>, conv: i64, user: &UserId, marks: &Marks) -> Sql<()> {
    statement.execute((
        conv,
        user.as_str(),
        int(marks.delivered.0),
        int(marks.read.0),
        marks.unread_from.map(|seq| int(seq.0)),
        int(marks.version),
    ))?;
    Ok(())
}

/// Raises the read mark to the entry just written, which no mark can have reached before. The
/// statement is [`PUT`].
pub(super) fn read_up_to_tail(
    statement: &mut Statement<'_>,
    head: &mut Head,
    user: &UserId,
) -> Sql<()> {
    let marks = next(head, head.tail);
    put(statement, head.conv, user, &marks)
}

/// Raises the read mark to the place before the entry just written: nothing is unread to a
/// new member.
pub(super) fn read_before_tail(conn: &Connection, head: &mut Head, user: &UserId) -> Sql<()> {
    let before = head.tail.before();
    let old = load(conn, head.conv, user)?;
    if old.read >= before && old.unread_from.is_none() {
        return Ok(());
    }
    let marks = next(head, before.max(old.read));
    store(
        conn,
        head.conv,
        user,
        &Marks {
            delivered: marks.delivered.max(old.delivered),
            ..marks
        },
    )
}

fn next(head: &mut Head, seq: Seq) -> Marks {
    head.marks_version += 1;
    Marks {
        delivered: seq,
        read: seq,
        unread_from: None,
        version: head.marks_version,
    }
}
