//! The folded view of messages: pages, single messages, pins, "delete for me", and search.

use super::{
    fault::Sql,
    head,
    pool::Db,
    row::{self, MESSAGE, id, int, p},
};
use crate::{
    ConversationId, Member, Message, MessageId, MessageSearch, Page, Seq, UserId,
    spans::{self, Span},
    words::Query,
};

/// Messages that a search reads at a time.
const SCAN: usize = 200;

/// Messages by id.
pub(super) async fn by_ids(
    db: &mut Db<'_>,
    conversation: &ConversationId,
    ids: &[MessageId],
) -> Sql<Vec<Message>> {
    let Some(conv) = head::conv(db, conversation).await? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(500) {
        let sql = format!(
            "SELECT {MESSAGE} FROM entries e JOIN messages m ON m.conv = e.conv AND m.seq = e.seq
             WHERE e.conv = ? AND e.id IN ({})",
            row::marks(some.len())
        );
        let params = std::iter::once(p(conv)).chain(some.iter().map(id));
        found.extend(
            db.all(&sql, params.collect::<Vec<_>>(), row::message)
                .await?,
        );
    }
    Ok(found)
}

/// Pinned messages, oldest first.
pub(super) async fn pinned(db: &mut Db<'_>, conversation: &ConversationId) -> Sql<Vec<Message>> {
    let sql = format!(
        "SELECT {MESSAGE} FROM conversations c JOIN pins p ON p.conv = c.conv
                               JOIN messages m ON m.conv = p.conv AND m.seq = p.seq
         WHERE c.id = ? AND m.pinned = 1 ORDER BY m.seq"
    );
    db.all(&sql, (conversation.as_str(),), row::message).await
}

/// Hides a message from one person.
pub(super) async fn hide(
    db: &mut Db<'_>,
    conversation: &ConversationId,
    user: &UserId,
    message: MessageId,
) -> Sql<()> {
    let sql = "INSERT IGNORE INTO hidden (conv, user, seq)
               SELECT c.conv, ?, e.seq FROM conversations c JOIN entries e ON e.conv = c.conv
               WHERE c.id = ? AND e.id = ?";
    let key = vec![p(user.as_str()), p(conversation.as_str()), id(&message)];
    db.run(sql, key).await.map(drop)
}

/// Which timeline, for whom.
struct View<'a> {
    conv: i64,
    thread: Timeline,
    hidden_for: &'a UserId,
}

enum Timeline {
    Main,
    Thread(MessageId),
    /// Over all threads.
    All,
}

#[derive(Clone, Copy)]
enum Order {
    Oldest,
    Newest,
}

impl View<'_> {
    /// Messages within a range of places.
    async fn span(
        &self,
        db: &mut Db<'_>,
        span: Span,
        order: Order,
        limit: usize,
    ) -> Sql<Vec<Message>> {
        let thread = match self.thread {
            Timeline::Main => "AND m.thread IS NULL",
            Timeline::Thread(_) => "AND m.thread = ?",
            Timeline::All => "",
        };
        let order = match order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        };
        let sql = format!(
            "SELECT {MESSAGE} FROM messages m
             WHERE m.conv = ? AND m.seq BETWEEN ? AND ? {thread}
               AND NOT EXISTS (SELECT 1 FROM hidden h
                               WHERE h.conv = m.conv AND h.user = ? AND h.seq = m.seq)
             ORDER BY m.seq {order} LIMIT ?"
        );
        let mut params = vec![p(self.conv), p(int(span.from)), p(int(span.to))];
        if let Timeline::Thread(root) = &self.thread {
            params.push(id(root));
        }
        params.extend([p(self.hidden_for.as_str()), p(row::rows(limit))]);
        db.all(&sql, params, row::message).await
    }

    async fn backwards(
        &self,
        db: &mut Db<'_>,
        visible: &[Span],
        below: u64,
        limit: usize,
    ) -> Sql<Vec<Message>> {
        let mut found = Vec::new();
        let Some(to) = below.checked_sub(1) else {
            return Ok(found);
        };
        for span in spans::clip(visible, 0, to).into_iter().rev() {
            let left = limit - found.len();
            found.extend(self.span(db, span, Order::Newest, left).await?);
            if found.len() >= limit {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    async fn forwards(
        &self,
        db: &mut Db<'_>,
        visible: &[Span],
        above: u64,
        limit: usize,
    ) -> Sql<Vec<Message>> {
        let mut found = Vec::new();
        for span in spans::clip(visible, above.saturating_add(1), u64::MAX) {
            let left = limit - found.len();
            found.extend(self.span(db, span, Order::Oldest, left).await?);
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }
}

/// A page of what is visible, ascending.
pub(super) async fn page(
    db: &mut Db<'_>,
    conversation: &ConversationId,
    (visible, hidden_for): (&[Member], &UserId),
    thread: Option<MessageId>,
    page: Page,
    limit: usize,
) -> Sql<Vec<Message>> {
    let Some(conv) = head::conv(db, conversation).await? else {
        return Ok(Vec::new());
    };
    let view = View {
        conv,
        thread: thread.map_or(Timeline::Main, Timeline::Thread),
        hidden_for,
    };
    let visible = spans::of_members(visible, Seq(u64::MAX));
    match page {
        Page::Latest => view.backwards(db, &visible, u64::MAX, limit).await,
        Page::Before(seq) => view.backwards(db, &visible, seq.0, limit).await,
        Page::After(seq) => view.forwards(db, &visible, seq.0, limit).await,
    }
}

/// The newest message on the main timeline that is visible to a person.
pub(super) async fn newest(
    db: &mut Db<'_>,
    conv: i64,
    visible: &[Member],
    person: &UserId,
) -> Sql<Option<Message>> {
    let view = View {
        conv,
        thread: Timeline::Main,
        hidden_for: person,
    };
    let visible = spans::of_members(visible, Seq(u64::MAX));
    Ok(view.backwards(db, &visible, u64::MAX, 1).await?.pop())
}

/// The matches, and below which place to go on.
pub(super) async fn search(
    db: &mut Db<'_>,
    conversation: &ConversationId,
    search: &MessageSearch,
) -> Sql<(Vec<Message>, Option<Seq>)> {
    let mut found = Vec::new();
    let Some(query) = Query::parse(&search.query) else {
        return Ok((found, None));
    };
    let Some(conv) = head::conv(db, conversation).await? else {
        return Ok((found, None));
    };
    let view = View {
        conv,
        thread: Timeline::All,
        hidden_for: &search.hidden_for,
    };
    let (limit, mut left) = (search.limit.max(1), search.scan.max(1));
    let visible = spans::of_members(&search.visible, Seq(u64::MAX));
    let below = search.before.map_or(u64::MAX, |seq| seq.0);
    for mut span in spans::clip(&visible, 0, below.saturating_sub(1))
        .into_iter()
        .rev()
    {
        loop {
            let page = view.span(db, span, Order::Newest, SCAN.min(left)).await?;
            let Some(last) = page.last().map(|message| message.seq) else {
                break;
            };
            for message in page {
                let seq = message.seq;
                if query.matches(&message.text) {
                    found.push(message);
                }
                left -= 1;
                if left == 0 || found.len() == limit {
                    return Ok((found, Some(seq)));
                }
            }
            if last.0 <= span.from {
                break;
            }
            span.to = last.0 - 1;
        }
    }
    Ok((found, None))
}
