//! What commits together with an entry.

use rusqlite::{Connection, Statement, params};

use super::{
    append::{Batch, Head},
    fault::{Fault, Sql},
    marks,
    row::{self, Numbered, int},
};
use crate::{EntryEffect, Message, NewEntry, Role, Seq, UserId};

/// Applies one effect of the entry at the head, which lies at `pos`.
pub(super) fn apply(
    batch: &mut Batch<'_>,
    head: &mut Head,
    entry: &NewEntry,
    pos: i64,
    effect: &EntryEffect,
) -> Sql<()> {
    let conn = batch.conn;
    match effect {
        EntryEffect::PutMessage(message) => put_message(batch, head, entry, pos, message),
        EntryEffect::OpenMember { user, role } => open_member(conn, head, user, *role),
        EntryEffect::CloseMember { user } => close_member(conn, head, user),
        EntryEffect::SetRole { user, role } => set_role(conn, head, user, *role).map(drop),
        EntryEffect::Redact { seq, payload } => redact(conn, head.conv, *seq, payload),
        EntryEffect::SetName(name) => set_name(conn, head, name.as_deref()),
        EntryEffect::ReadUpToHere { user } => {
            marks::read_up_to_tail(batch.marks.prepared(conn)?, head, user)
        }
    }
}

fn put_message(
    batch: &mut Batch<'_>,
    head: &Head,
    entry: &NewEntry,
    pos: i64,
    message: &Message,
) -> Sql<()> {
    let (pos, seq) = if message.seq == Seq(0) || message.seq == head.tail {
        let own = (message.id == entry.id).then_some(pos);
        (own.ok_or_else(|| unknown(message))?, head.tail)
    } else {
        (position_of(batch.conn, head.conv, message)?, message.seq)
    };
    let view = batch.view.prepared(batch.conn)?;
    write_view(view, (head.conv, pos), (seq, head.tail), message)
}

/// Writes the view of an earlier message, as of its `applied_seq`.
pub(super) fn put_view(conn: &Connection, conv: i64, message: &Message) -> Sql<()> {
    let pos = position_of(conn, conv, message)?;
    let places = (message.seq, message.applied_seq);
    write_view(
        &mut *conn.prepare_cached(PUT_VIEW)?,
        (conv, pos),
        places,
        message,
    )
}

/// An older view does not replace a newer one.
pub(super) const PUT_VIEW: &str =
    "INSERT INTO messages (pos, conv, seq, thread, applied_seq, deleted, pinned, text, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     ON CONFLICT (pos) DO UPDATE SET
         thread = excluded.thread, applied_seq = excluded.applied_seq,
         deleted = excluded.deleted, pinned = excluded.pinned,
         text = excluded.text, body = excluded.body
     WHERE excluded.applied_seq >= applied_seq";

fn write_view(
    put_view: &mut Statement<'_>,
    (conv, pos): (i64, i64),
    (seq, applied): (Seq, Seq),
    message: &Message,
) -> Sql<()> {
    put_view.execute(params![
        pos,
        conv,
        int(seq.0),
        message
            .thread_root
            .as_ref()
            .map(|root| &root.0.as_bytes()[..]),
        int(applied.0),
        message.deleted,
        message.pinned,
        message.text,
        &*message.body,
    ])?;
    Ok(())
}

fn position_of(conn: &Connection, conv: i64, message: &Message) -> Sql<i64> {
    let sql = "SELECT pos FROM entries WHERE conv = ?1 AND seq = ?2 AND id = ?3";
    let key = (conv, int(message.seq.0), &message.id.0.as_bytes()[..]);
    row::first(conn, sql, key, |row| Ok(row.get(0)?))?.ok_or_else(|| unknown(message))
}

fn unknown(message: &Message) -> Fault {
    Fault::Invalid(format!("no entry {} at {}", message.id, message.seq))
}

fn open_member(conn: &Connection, head: &mut Head, user: &UserId, role: Role) -> Sql<()> {
    if set_role(conn, head, user, role)? {
        return Ok(());
    }
    row::run(
        conn,
        "INSERT INTO members (conv, user, from_seq, role, workspace) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (conv, user, from_seq) DO UPDATE SET to_seq = NULL, role = excluded.role",
        params![
            head.conv,
            user.as_str(),
            int(head.tail.0),
            role.number(),
            head.workspace
        ],
    )?;
    marks::read_before_tail(conn, head, user)
}

fn close_member(conn: &Connection, head: &Head, user: &UserId) -> Sql<()> {
    row::run(
        conn,
        "UPDATE members SET to_seq = ?3 WHERE conv = ?1 AND user = ?2 AND to_seq IS NULL",
        (head.conv, user.as_str(), int(head.tail.0)),
    )?;
    Ok(())
}

/// Whether there was an open membership.
fn set_role(conn: &Connection, head: &Head, user: &UserId, role: Role) -> Sql<bool> {
    let changed = row::run(
        conn,
        "UPDATE members SET role = ?3 WHERE conv = ?1 AND user = ?2 AND to_seq IS NULL",
        (head.conv, user.as_str(), role.number()),
    )?;
    Ok(changed > 0)
}

/// Replaces the payload of an entry.
pub(super) fn redact(conn: &Connection, conv: i64, seq: Seq, payload: &str) -> Sql<()> {
    row::run(
        conn,
        "UPDATE entries SET payload = ?3 WHERE conv = ?1 AND seq = ?2",
        (conv, int(seq.0), payload),
    )?;
    Ok(())
}

fn set_name(conn: &Connection, head: &Head, name: Option<&str>) -> Sql<()> {
    let sql = "UPDATE conversations SET name = ?2 WHERE conv = ?1";
    row::run(conn, sql, (head.conv, name))?;
    Ok(())
}
