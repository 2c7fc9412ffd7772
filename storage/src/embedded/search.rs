//! Search in the text of one conversation: newest first, a bounded number of messages at a time.

use rusqlite::Connection;

use super::{
    fault::Sql,
    history::{self, message_columns},
    row::{self, Columns, int},
};
use crate::{
    ConversationId, Message, MessageSearch, Seq, UserId,
    spans::{self, Span},
    words::Query,
};

/// The matches, and below which place to go on.
pub(super) fn search(
    conn: &Connection,
    id: &ConversationId,
    search: &MessageSearch,
) -> Sql<(Vec<Message>, Option<Seq>)> {
    let nothing = (Vec::new(), None);
    let Some(query) = Query::parse(&search.query) else {
        return Ok(nothing);
    };
    let Some(conv) = row::conversation_row(conn, id)? else {
        return Ok(nothing);
    };
    let visible = spans::of_members(&search.visible, Seq(u64::MAX));
    let below = search.before.map_or(u64::MAX, |seq| seq.0);
    let mut scan = Scan {
        query,
        found: Vec::new(),
        limit: search.limit.max(1),
        left: search.scan.max(1),
    };
    for span in spans::clip(&visible, 0, below.saturating_sub(1))
        .into_iter()
        .rev()
    {
        if let Some(stopped_at) = scan.span(conn, conv, &search.hidden_for, span)? {
            return Ok((scan.found, Some(stopped_at)));
        }
    }
    Ok((scan.found, None))
}

struct Scan {
    query: Query,
    found: Vec<Message>,
    limit: usize,
    left: usize,
}

impl Scan {
    /// Looks through a range, newest first; where it stopped, if it did so early.
    fn span(
        &mut self,
        conn: &Connection,
        conv: i64,
        person: &UserId,
        span: Span,
    ) -> Sql<Option<Seq>> {
        // The order of the join is fixed: the log's index yields places in order, over all threads.
        let mut statement = conn.prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM entries e CROSS JOIN messages m ON m.pos = e.pos
              WHERE e.conv = ?1 AND e.seq BETWEEN ?2 AND ?3
                AND NOT EXISTS (SELECT 1 FROM hidden h
                                WHERE h.conv = ?1 AND h.user = ?4 AND h.pos = m.pos)
              ORDER BY e.seq DESC"
        ))?;
        let mut rows = statement.query((conv, int(span.from), int(span.to), person.as_str()))?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(7)?.as_str().unwrap_or_default();
            if self.query.matches(text) {
                self.found.push(history::message(row)?);
            }
            self.left -= 1;
            if self.left == 0 || self.found.len() == self.limit {
                return row.seq(1).map(Some);
            }
        }
        Ok(None)
    }
}
