//! The folded view of messages: pages, single messages, pins, and "delete for me".

use rusqlite::{Connection, Row, named_params};

use super::{
    fault::Sql,
    row::{self, Columns, int},
};
use crate::{
    ConversationId, EntryId, Member, Message, MessageId, Page, Seq, Timestamp, UserId,
    spans::{self, Span},
};

/// The columns that [`message`] reads, of `messages` as `m` and `entries` as `e`.
macro_rules! message_columns {
    () => {
        "e.id, m.seq, e.sender, e.at, m.thread, m.deleted, m.pinned, m.text, m.body, m.applied_seq"
    };
}
pub(super) use message_columns;

/// Decodes the columns of `message_columns!`.
pub(super) fn message(row: &Row<'_>) -> Sql<Message> {
    Ok(Message {
        id: EntryId(row.uuid(0)?),
        seq: row.seq(1)?,
        sender: row.user(2)?,
        at: Timestamp(row.get(3)?),
        thread_root: row.maybe_uuid(4)?.map(EntryId),
        deleted: row.get(5)?,
        pinned: row.get(6)?,
        text: row.get(7)?,
        body: row.text(8)?,
        applied_seq: row.seq(9)?,
    })
}

/// Messages by id.
pub(super) fn by_ids(
    conn: &Connection,
    id: &ConversationId,
    ids: &[MessageId],
) -> Sql<Vec<Message>> {
    let Some(conv) = row::conversation_row(conn, id)? else {
        return Ok(Vec::new());
    };
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM entries e JOIN messages m ON m.pos = e.pos WHERE e.conv = ?1 AND e.id = ?2"
    );
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(row::first(
            conn,
            sql,
            (conv, &id.0.as_bytes()[..]),
            message,
        )?);
    }
    Ok(found)
}

/// Pinned messages, oldest first.
pub(super) fn pinned(conn: &Connection, id: &ConversationId) -> Sql<Vec<Message>> {
    let Some(conv) = row::conversation_row(conn, id)? else {
        return Ok(Vec::new());
    };
    let sql = concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN entries e ON e.pos = m.pos
          WHERE m.conv = ?1 AND m.pinned = 1 ORDER BY m.seq"
    );
    row::all(conn, sql, [conv], message)
}

/// Hides a message from one person.
pub(super) fn hide(
    conn: &Connection,
    id: &ConversationId,
    user: &UserId,
    message: MessageId,
) -> Sql<()> {
    row::run(
        conn,
        "INSERT OR IGNORE INTO hidden (conv, user, pos)
         SELECT c.conv, ?2, e.pos FROM conversations c JOIN entries e ON e.conv = c.conv
         WHERE c.id = ?1 AND e.id = ?3",
        (id.as_str(), user.as_str(), &message.0.as_bytes()[..]),
    )?;
    Ok(())
}

/// Messages within a range of places: the main timeline along the log's index, a thread along
/// its own. The order of the joins is fixed, because SQLite has no statistics to choose by.
macro_rules! span_query {
    ($tables:literal, $seq:literal, $order:literal) => {
        concat!(
            "SELECT ",
            message_columns!(),
            " FROM ",
            $tables,
            " AND NOT EXISTS (SELECT 1 FROM hidden h
                              WHERE h.conv = m.conv AND h.user = :user AND h.pos = m.pos)
              AND ",
            $seq,
            " BETWEEN :from AND :to ORDER BY ",
            $seq,
            $order,
            " LIMIT :limit"
        )
    };
}

macro_rules! main_query {
    ($order:literal) => {
        span_query!(
            "entries e CROSS JOIN messages m ON m.pos = e.pos
             WHERE e.conv = :conv AND m.thread IS :thread",
            "e.seq",
            $order
        )
    };
}

macro_rules! thread_query {
    ($order:literal) => {
        span_query!(
            "messages m CROSS JOIN entries e ON e.pos = m.pos
             WHERE m.conv = :conv AND m.thread = :thread",
            "m.seq",
            $order
        )
    };
}

/// Which timeline, for whom.
struct View<'a> {
    conv: i64,
    thread: Option<MessageId>,
    hidden_for: &'a UserId,
}

/// A page of what is visible, ascending.
pub(super) fn page(
    conn: &Connection,
    id: &ConversationId,
    visible: &[Member],
    hidden_for: &UserId,
    thread: Option<MessageId>,
    page: Page,
    limit: usize,
) -> Sql<Vec<Message>> {
    let Some(conv) = row::conversation_row(conn, id)? else {
        return Ok(Vec::new());
    };
    let view = View {
        conv,
        thread,
        hidden_for,
    };
    let visible = spans::of_members(visible, Seq(u64::MAX));
    match page {
        Page::Latest => backwards(conn, &view, &visible, u64::MAX, limit),
        Page::Before(seq) => backwards(conn, &view, &visible, seq.0, limit),
        Page::After(seq) => forwards(conn, &view, &visible, seq.0, limit),
    }
}

/// The newest message on the main timeline that is visible to a person.
pub(super) fn newest(
    conn: &Connection,
    conv: i64,
    visible: &[Member],
    person: &UserId,
) -> Sql<Option<Message>> {
    let view = View {
        conv,
        thread: None,
        hidden_for: person,
    };
    let visible = spans::of_members(visible, Seq(u64::MAX));
    Ok(backwards(conn, &view, &visible, u64::MAX, 1)?.pop())
}

fn backwards(
    conn: &Connection,
    view: &View<'_>,
    visible: &[Span],
    below: u64,
    limit: usize,
) -> Sql<Vec<Message>> {
    let mut found = Vec::new();
    let Some(to) = below.checked_sub(1) else {
        return Ok(found);
    };
    for span in spans::clip(visible, 0, to).into_iter().rev() {
        let sql = match view.thread {
            None => main_query!(" DESC"),
            Some(_) => thread_query!(" DESC"),
        };
        found.extend(in_span(conn, sql, view, span, limit - found.len())?);
        if found.len() >= limit {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

fn forwards(
    conn: &Connection,
    view: &View<'_>,
    visible: &[Span],
    above: u64,
    limit: usize,
) -> Sql<Vec<Message>> {
    let mut found = Vec::new();
    for span in spans::clip(visible, above.saturating_add(1), u64::MAX) {
        let sql = match view.thread {
            None => main_query!(" ASC"),
            Some(_) => thread_query!(" ASC"),
        };
        found.extend(in_span(conn, sql, view, span, limit - found.len())?);
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

fn in_span(
    conn: &Connection,
    sql: &str,
    view: &View<'_>,
    span: Span,
    limit: usize,
) -> Sql<Vec<Message>> {
    let params = named_params! {
        ":conv": view.conv,
        ":thread": view.thread.as_ref().map(|root| &root.0.as_bytes()[..]),
        ":from": int(span.from),
        ":to": int(span.to),
        ":user": view.hidden_for.as_str(),
        ":limit": row::rows(limit),
    };
    row::all(conn, sql, params, message)
}
