//! The stream over all conversations of a person.
//!
//! The newest position is read first: it was committed, so everything up to it is seen by what is
//! read after, and nothing beyond it is served. So no snapshot over several statements is needed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use uuid::Uuid;

use super::{
    fault::{Fault, Sql},
    pool::Db,
    row::{self, Columns, ENTRY, Numbered, int},
};
use crate::{
    Backlog, ConversationId, ConversationKind, Entry, Missed, Person, Seq, Timestamp, position,
    spans::{self, Span},
};

/// Entries of one conversation that are read at a time.
const PAGE: usize = 50;

/// The position up to which everything is committed.
pub(super) async fn newest(db: &mut Db<'_>) -> Sql<u64> {
    let sql = "SELECT value FROM counters WHERE name = 'positions'";
    Ok(db.first(sql, (), |row| row.count(0)).await?.unwrap_or(0))
}

/// The position of an entry, or of the last one before it that there is.
pub(super) async fn position(db: &mut Db<'_>, id: &ConversationId, seq: Seq) -> Sql<u64> {
    let sql = "SELECT e.pos FROM conversations c JOIN entries e ON e.conv = c.conv
               WHERE c.id = ? AND e.seq <= ? ORDER BY e.seq DESC LIMIT 1";
    let found = db.first(sql, (id.as_str(), int(seq.0)), |row| row.count(0));
    Ok(found.await?.unwrap_or(0))
}

/// A page of what a person missed after a position, as the embedded store has it.
pub(super) async fn missed(
    db: &mut Db<'_>,
    store: Uuid,
    person: &Person,
    after: Option<u64>,
    limit: usize,
) -> Sql<Missed> {
    let newest = newest(db).await?;
    let Some(after) = after.filter(|after| *after <= newest) else {
        return Ok(Missed {
            entries: Vec::new(),
            next: position::format(store, newest),
            more: false,
        });
    };
    let mut merge = Merge::new(newest);
    for lane in lanes(db, person, after).await? {
        let start = first_after(db, lane.conv, lane.tail, after).await?;
        merge.enter(db, lane, start).await?;
    }
    let (mut entries, mut last) = (Vec::new(), after);
    while entries.len() < limit.max(1)
        && let Some((pos, id, entry)) = merge.next(db).await?
    {
        last = pos;
        entries.push((id, entry));
    }
    let more = !merge.heads.is_empty();
    let next = if more { last } else { newest };
    Ok(Missed {
        entries,
        next: position::format(store, next),
        more,
    })
}

/// How much a person missed after a position, and since when; conversations are looked at until
/// that is enough.
pub(super) async fn backlog(
    db: &mut Db<'_>,
    person: &Person,
    after: u64,
    enough: u64,
) -> Sql<Option<Backlog>> {
    if after > newest(db).await? {
        return Ok(None);
    }
    let mut backlog = Backlog::default();
    for lane in lanes(db, person, after).await? {
        if backlog.count >= enough {
            break;
        }
        let start = first_after(db, lane.conv, lane.tail, after).await?;
        let spans = spans::clip(&lane.visible, start, lane.tail);
        let counts = spans.iter().map(|span| span.to - span.from + 1);
        backlog.count += counts.sum::<u64>();
        if let Some(first) = spans.first() {
            let (_, at) = place(db, lane.conv, first.from).await?;
            backlog.oldest = Some(backlog.oldest.map_or(at, |oldest| oldest.min(at)));
        }
    }
    backlog.count = backlog.count.min(enough);
    Ok(Some(backlog))
}

/// A conversation with something in it behind the cursor.
struct Lane {
    conv: i64,
    id: ConversationId,
    tail: u64,
    visible: Vec<Span>,
}

async fn lanes(db: &mut Db<'_>, person: &Person, after: u64) -> Sql<Vec<Lane>> {
    let sql = "SELECT c.conv, c.id, c.tail, m.from_seq, m.to_seq
               FROM members m JOIN conversations c ON c.conv = m.conv
               WHERE m.workspace = ? AND m.user = ? AND c.tail_pos > ? AND c.kind <> ?";
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        int(after),
        ConversationKind::Person.number(),
    );
    let memberships = db.all(sql, key, |row| {
        let tail = row.count(2)?;
        let to = row.maybe_seq(4)?.map_or(tail, |seq| seq.0.min(tail));
        let from = row.count(3)?;
        Ok((
            row.value::<i64>(0)?,
            row.conversation_id(1)?,
            tail,
            Span { from, to },
        ))
    });
    let mut lanes: BTreeMap<i64, Lane> = BTreeMap::new();
    for (conv, id, tail, span) in memberships.await? {
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
    lanes.extend(own_lane(db, person, after).await?);
    Ok(lanes)
}

/// One's own conversation is visible from its beginning, with or without a membership.
async fn own_lane(db: &mut Db<'_>, person: &Person, after: u64) -> Sql<Option<Lane>> {
    let id = person.own_conversation();
    let sql = "SELECT conv, tail FROM conversations
               WHERE id = ? AND tail_pos > ? AND kind <> 0";
    let own = db.first(sql, (id.as_str(), int(after)), |row| {
        Ok((row.value::<i64>(0)?, row.count(1)?))
    });
    Ok(own.await?.map(|(conv, tail)| Lane {
        conv,
        id,
        tail,
        visible: vec![Span { from: 1, to: tail }],
    }))
}

/// The place of the first entry behind a position: steps that double go back from the tail until
/// they are before it, then the gap is halved.
async fn first_after(db: &mut Db<'_>, conv: i64, tail: u64, after: u64) -> Sql<u64> {
    let mut step = 1;
    let mut high = tail;
    let mut low = tail.saturating_sub(step);
    while low > 0 && place(db, conv, low).await?.0 > after {
        high = low;
        step *= 2;
        low = low.saturating_sub(step);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if place(db, conv, middle).await?.0 > after {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The position and the time of an entry.
async fn place(db: &mut Db<'_>, conv: i64, seq: u64) -> Sql<(u64, Timestamp)> {
    let sql = "SELECT pos, at FROM entries WHERE conv = ? AND seq = ?";
    let found = db.first(sql, (conv, int(seq)), |row| Ok((row.count(0)?, row.at(1)?)));
    found
        .await?
        .ok_or_else(|| Fault::Corrupt(format!("a log has a hole at {seq}")))
}

/// Merges lanes by position, up to the newest.
struct Merge {
    newest: u64,
    lanes: Vec<(Lane, std::vec::IntoIter<(u64, Entry)>)>,
    /// The next entry of a lane, the smallest position on top.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    entries: BTreeMap<usize, Entry>,
}

impl Merge {
    fn new(newest: u64) -> Self {
        Self {
            newest,
            lanes: Vec::new(),
            heads: BinaryHeap::new(),
            entries: BTreeMap::new(),
        }
    }

    async fn enter(&mut self, db: &mut Db<'_>, lane: Lane, start: u64) -> Sql<()> {
        self.lanes.push((lane, Vec::new().into_iter()));
        self.push(db, self.lanes.len() - 1, start).await
    }

    /// Enters a lane's first visible entry at or above a place.
    async fn push(&mut self, db: &mut Db<'_>, index: usize, at_or_above: u64) -> Sql<()> {
        let (lane, page) = &mut self.lanes[index];
        let next = match page.next() {
            Some(next) => Some(next),
            None => {
                *page = read(db, lane, at_or_above).await?.into_iter();
                page.next()
            }
        };
        if let Some((pos, entry)) = next.filter(|(pos, _)| *pos <= self.newest) {
            self.heads.push(Reverse((pos, index)));
            self.entries.insert(index, entry);
        }
        Ok(())
    }

    async fn next(&mut self, db: &mut Db<'_>) -> Sql<Option<(u64, ConversationId, Entry)>> {
        let Some(Reverse((pos, index))) = self.heads.pop() else {
            return Ok(None);
        };
        let entry = self
            .entries
            .remove(&index)
            .ok_or_else(|| Fault::Corrupt(format!("no entry at {pos}")))?;
        let id = self.lanes[index].0.id.clone();
        self.push(db, index, entry.seq.0 + 1).await?;
        Ok(Some((pos, id, entry)))
    }
}

/// The next visible entries of a lane, within one range of what is visible.
async fn read(db: &mut Db<'_>, lane: &Lane, at_or_above: u64) -> Sql<Vec<(u64, Entry)>> {
    let Some(from) = spans::first_at_or_above(&lane.visible, at_or_above) else {
        return Ok(Vec::new());
    };
    let within = lane.visible.iter().find(|span| span.to >= from);
    let to = within.map_or(from, |span| span.to);
    let sql = format!(
        "SELECT e.pos, {ENTRY} FROM entries e
         WHERE e.conv = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq LIMIT ?"
    );
    let key = (lane.conv, int(from), int(to), row::rows(PAGE));
    db.all(&sql, key, |row| Ok((row.count(0)?, row::entry(row, 1)?)))
        .await
}
