//! The stream over all conversations of a person. A cursor is a position in the order of
//! commits, together with the name of the store that issued it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, btree_map::BTreeMap},
};

use rusqlite::Connection;
use uuid::Uuid;

use super::{
    fault::{Fault, Sql},
    row::{self, Columns, Numbered, entry_columns, int},
};
pub(super) use crate::position::{format, parse};
use crate::{
    Backlog, ConversationId, ConversationKind, Entry, Missed, Person, Seq, Timestamp,
    spans::{self, Span},
};

/// The position of the newest entry of all; 0 before the first.
pub(super) fn newest(conn: &Connection) -> Sql<u64> {
    let sql = "SELECT coalesce(max(pos), 0) FROM entries";
    Ok(row::first(conn, sql, [], |row| row.count(0))?.unwrap_or(0))
}

/// The position of an entry, or of the last one before it that there is.
pub(super) fn position(conn: &Connection, id: &ConversationId, seq: Seq) -> Sql<u64> {
    let sql = "SELECT e.pos FROM conversations c JOIN entries e ON e.conv = c.conv
               WHERE c.id = ?1 AND e.seq <= ?2 ORDER BY e.seq DESC LIMIT 1";
    let key = (id.as_str(), int(seq.0));
    Ok(row::first(conn, sql, key, |row| row.count(0))?.unwrap_or(0))
}

/// A page of what a person missed after a position. Only conversations whose newest entry lies
/// behind the position are looked at, each from its first missed entry on; no entry of anybody
/// else is read.
pub(super) fn missed(
    conn: &Connection,
    store: Uuid,
    person: &Person,
    after: u64,
    limit: usize,
) -> Sql<Missed> {
    let mut merge = Merge::default();
    for lane in lanes(conn, person, after)? {
        let start = first_after(conn, lane.conv, lane.tail, after)?;
        merge.enter(conn, lane, start)?;
    }
    let mut entries = Vec::new();
    let mut last = after;
    while entries.len() < limit.max(1)
        && let Some((pos, id, entry)) = merge.next(conn)?
    {
        last = pos;
        entries.push((id, entry));
    }
    let more = !merge.heads.is_empty();
    let next = if more { last } else { newest(conn)?.max(after) };
    Ok(Missed {
        entries,
        next: format(store, next),
        more,
    })
}

/// How much a person missed after a position, and since when; conversations are looked at until
/// that is enough.
pub(super) fn backlog(conn: &Connection, person: &Person, after: u64, enough: u64) -> Sql<Backlog> {
    let mut backlog = Backlog::default();
    for lane in lanes(conn, person, after)? {
        if backlog.count >= enough {
            break;
        }
        let start = first_after(conn, lane.conv, lane.tail, after)?;
        let spans = spans::clip(&lane.visible, start, lane.tail);
        backlog.count += spans
            .iter()
            .map(|span| span.to - span.from + 1)
            .sum::<u64>();
        if let Some(first) = spans.first() {
            let at = written_at(conn, lane.conv, first.from)?;
            backlog.oldest = Some(backlog.oldest.map_or(at, |oldest| oldest.min(at)));
        }
    }
    backlog.count = backlog.count.min(enough);
    Ok(backlog)
}

fn written_at(conn: &Connection, conv: i64, seq: u64) -> Sql<Timestamp> {
    let sql = "SELECT at FROM entries WHERE conv = ?1 AND seq = ?2";
    row::first(conn, sql, (conv, int(seq)), |row| {
        Ok(Timestamp(row.get(0)?))
    })?
    .ok_or_else(|| Fault::Corrupt(format!("a log has a hole at {seq}")))
}

/// A conversation with something in it behind the cursor.
struct Lane {
    conv: i64,
    id: ConversationId,
    tail: u64,
    visible: Vec<Span>,
}

fn lanes(conn: &Connection, person: &Person, after: u64) -> Sql<Vec<Lane>> {
    let mut lanes: BTreeMap<i64, Lane> = BTreeMap::new();
    let sql = "SELECT c.conv, c.id, c.tail, m.from_seq, m.to_seq
               FROM members m JOIN conversations c ON c.conv = m.conv
               WHERE m.workspace = ?1 AND m.user = ?2 AND c.tail_pos > ?3 AND c.kind <> ?4";
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        int(after),
        ConversationKind::Person.number(),
    );
    for (conv, id, tail, span) in row::all(conn, sql, key, membership)? {
        let lane = lanes.entry(conv).or_insert_with(|| Lane {
            conv,
            id,
            tail,
            visible: Vec::new(),
        });
        lane.visible.push(span);
    }
    let mut lanes: Vec<Lane> = lanes.into_values().collect();
    for lane in &mut lanes {
        lane.visible = spans::merged(std::mem::take(&mut lane.visible));
    }
    lanes.extend(own_lane(conn, person, after)?);
    Ok(lanes)
}

fn membership(row: &rusqlite::Row<'_>) -> Sql<(i64, ConversationId, u64, Span)> {
    let tail = row.count(2)?;
    let span = Span {
        from: row.count(3)?,
        to: row.maybe_seq(4)?.map_or(tail, |seq| seq.0.min(tail)),
    };
    let id = ConversationId::from_stored(row.text(1)?);
    Ok((row.get(0)?, id, tail, span))
}

/// One's own conversation is visible from its beginning, with or without a membership.
fn own_lane(conn: &Connection, person: &Person, after: u64) -> Sql<Option<Lane>> {
    let id = person.own_conversation();
    let sql = "SELECT conv, tail FROM conversations WHERE id = ?1 AND tail_pos > ?2";
    let own = row::first(conn, sql, (id.as_str(), int(after)), |row| {
        Ok((row.get::<_, i64>(0)?, row.count(1)?))
    })?;
    Ok(own.map(|(conv, tail)| Lane {
        conv,
        id,
        tail,
        visible: vec![Span { from: 1, to: tail }],
    }))
}

/// The place of the first entry behind a position: positions rise with places, so steps that
/// double go back from the tail until they are before it, then the gap is halved.
fn first_after(conn: &Connection, conv: i64, tail: u64, after: u64) -> Sql<u64> {
    let mut step = 1;
    let mut high = tail;
    let mut low = tail.saturating_sub(step);
    while low > 0 && position_at(conn, conv, low)? > after {
        high = low;
        step *= 2;
        low = low.saturating_sub(step);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if position_at(conn, conv, middle)? > after {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

fn position_at(conn: &Connection, conv: i64, seq: u64) -> Sql<u64> {
    let sql = "SELECT pos FROM entries WHERE conv = ?1 AND seq = ?2";
    row::first(conn, sql, (conv, int(seq)), |row| row.count(0))?
        .ok_or_else(|| Fault::Corrupt(format!("a log has a hole at {seq}")))
}

/// Merges lanes by position.
#[derive(Default)]
struct Merge {
    lanes: Vec<Lane>,
    /// Position and place of the next entry of a lane, the smallest position on top.
    heads: BinaryHeap<Reverse<(u64, u64, usize)>>,
}

impl Merge {
    fn enter(&mut self, conn: &Connection, lane: Lane, start: u64) -> Sql<()> {
        self.lanes.push(lane);
        self.push(conn, self.lanes.len() - 1, start)
    }

    /// Enters a lane's first visible entry at or above a place.
    fn push(&mut self, conn: &Connection, index: usize, at_or_above: u64) -> Sql<()> {
        let lane = &self.lanes[index];
        if let Some(seq) = spans::first_at_or_above(&lane.visible, at_or_above) {
            let pos = position_at(conn, lane.conv, seq)?;
            self.heads.push(Reverse((pos, seq, index)));
        }
        Ok(())
    }

    fn next(&mut self, conn: &Connection) -> Sql<Option<(u64, ConversationId, Entry)>> {
        let Some(Reverse((pos, seq, index))) = self.heads.pop() else {
            return Ok(None);
        };
        let sql = concat!(
            "SELECT ",
            entry_columns!(),
            " FROM entries e WHERE e.pos = ?1"
        );
        let entry = row::first(conn, sql, [int(pos)], row::entry)?
            .ok_or_else(|| Fault::Corrupt(format!("no entry at {pos}")))?;
        self.push(conn, index, seq + 1)?;
        Ok(Some((pos, self.lanes[index].id.clone(), entry)))
    }
}
