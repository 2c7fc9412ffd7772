//! The cursors of projections, what is hot, and the counts per thread.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{
    MySqlStore,
    fault::Sql,
    head,
    pool::{Db, run, transact},
    queue,
    row::{self, Columns, id as entry_id, int, p},
};
use crate::{
    Consumer, ConversationId, Epoch, HotConversation, MessageId, ProjectionStep, ProjectionStore,
    Seq, StoreError, ThreadEntry, ThreadUnread, UserId,
};

/// Conversations that one statement asks for.
const CONVERSATIONS: usize = 500;

#[async_trait]
impl ProjectionStore for MySqlStore {
    async fn projected(
        &self,
        consumer: &Consumer,
        ids: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError> {
        let places = run!(self.pool, |db| places(db, consumer, ids).await).await?;
        let place = |id: &ConversationId| places.get(id).copied().unwrap_or_default();
        Ok(ids.iter().map(place).collect())
    }

    async fn move_projection(&self, step: &ProjectionStep) -> Result<bool, StoreError> {
        transact!(self.pool, |db| Ok(advance(db, step).await?.is_some())).await
    }

    async fn reset_projection(
        &self,
        consumer: &Consumer,
        id: &ConversationId,
    ) -> Result<(), StoreError> {
        transact!(self.pool, |db| reset(db, consumer, id).await).await
    }

    async fn hot(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        let sql = "SELECT id, epoch, tail FROM conversations
                   WHERE hot = 1 AND id > ? ORDER BY id LIMIT ?";
        let key = (after.map_or("", ConversationId::as_str), row::rows(limit));
        run!(self.pool, |db| {
            db.all(sql, key, |row| {
                Ok(HotConversation {
                    id: row.conversation_id(0)?,
                    epoch: Epoch(row.count(1)?),
                    tail: row.seq(2)?,
                })
            })
            .await
        })
        .await
    }

    async fn all_conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let sql = "SELECT id FROM conversations WHERE kind <> 0 AND id > ? ORDER BY id LIMIT ?";
        let key = (after.map_or("", ConversationId::as_str), row::rows(limit));
        run!(self.pool, |db| db
            .all(sql, key, |row| row.conversation_id(0))
            .await)
        .await
    }

    async fn project_threads(
        &self,
        step: &ProjectionStep,
        entries: Vec<ThreadEntry>,
    ) -> Result<bool, StoreError> {
        transact!(self.pool, |db| {
            let Some(conv) = advance(db, step).await? else {
                return Ok(false);
            };
            for entry in &entries {
                count(db, conv, entry).await?;
            }
            Ok(true)
        })
        .await
    }

    async fn read_thread(
        &self,
        id: &ConversationId,
        user: &UserId,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        transact!(self.pool, |db| match Reader::member(db, id, user).await? {
            Some(reader) => read(db, &reader, root, seq).await,
            None => Ok(None),
        })
        .await
    }

    async fn threads(
        &self,
        id: &ConversationId,
        user: &UserId,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError> {
        run!(self.pool, |db| match Reader::member(db, id, user).await? {
            Some(reader) => threads(db, &reader, roots, limit).await,
            None => Ok(Vec::new()),
        })
        .await
    }
}

/// Where a consumer has been at all.
async fn places(
    db: &mut Db<'_>,
    consumer: &Consumer,
    ids: &[ConversationId],
) -> Sql<HashMap<ConversationId, Seq>> {
    let mut places = HashMap::with_capacity(ids.len());
    for some in ids.chunks(CONVERSATIONS) {
        let sql = format!(
            "SELECT c.id, p.seq FROM conversations c
             JOIN projections p ON p.conv = c.conv AND p.consumer = ? WHERE c.id IN ({})",
            row::marks(some.len())
        );
        let ids = some.iter().map(|id| p(id.as_str()));
        let params: Vec<_> = std::iter::once(p(consumer.as_str())).chain(ids).collect();
        let page = db.all(&sql, params, |row| {
            Ok((row.conversation_id(0)?, row.seq(1)?))
        });
        places.extend(page.await?);
    }
    Ok(places)
}

/// Moves a cursor, if it is where the step begins. The conversation's row, if it was.
pub(super) async fn advance(db: &mut Db<'_>, step: &ProjectionStep) -> Sql<Option<i64>> {
    let conv = head::any_conv_or_make(db, &step.conversation).await?;
    let consumer = step.consumer.as_str();
    if step.from == Seq(0) {
        let sql = "INSERT IGNORE INTO projections (consumer, conv, seq) VALUES (?, ?, 0)";
        db.run(sql, (consumer, conv)).await?;
    }
    let sql = "UPDATE projections SET seq = ? WHERE consumer = ? AND conv = ? AND seq = ?";
    let key = (int(step.to.0), consumer, conv, int(step.from.0));
    let moved = db.run(sql, key).await?;
    Ok((moved > 0).then_some(conv))
}

async fn reset(db: &mut Db<'_>, consumer: &Consumer, id: &ConversationId) -> Sql<()> {
    let Some(conv) = head::any_conv(db, id).await? else {
        return Ok(());
    };
    if *consumer == Consumer::QUEUE {
        queue::forget(db, conv).await?;
    }
    if *consumer == Consumer::THREADS {
        db.run("DELETE FROM thread_entries WHERE conv = ?", (conv,))
            .await?;
        db.run("DELETE FROM thread_followers WHERE conv = ?", (conv,))
            .await?;
    }
    let sql = "DELETE FROM projections WHERE consumer = ? AND conv = ?";
    db.run(sql, (consumer.as_str(), conv)).await.map(drop)
}

/// A member who looks at threads.
pub(super) struct Reader<'u> {
    pub(super) conv: i64,
    pub(super) user: &'u UserId,
    /// The first place of the membership that is open.
    pub(super) from: Seq,
}

impl<'u> Reader<'u> {
    /// Of a log that is here; `None` if they are not a member.
    async fn member(db: &mut Db<'_>, id: &ConversationId, user: &'u UserId) -> Sql<Option<Self>> {
        let sql = "SELECT m.conv, m.from_seq FROM conversations c JOIN members m ON m.conv = c.conv
                   WHERE c.id = ? AND m.user = ? AND m.to_seq IS NULL";
        db.first(sql, (id.as_str(), user.as_str()), |row| {
            Ok(Self {
                conv: row.value(0)?,
                from: row.seq(1)?,
                user,
            })
        })
        .await
    }
}

/// Raises a mark; the thread then.
pub(super) async fn read(
    db: &mut Db<'_>,
    reader: &Reader<'_>,
    root: MessageId,
    seq: Seq,
) -> Sql<Option<ThreadUnread>> {
    let conv = reader.conv;
    let thread = Thread { conv, root };
    let Some((last, _)) = thread.at(db, u64::MAX).await? else {
        return Ok(None);
    };
    thread.raise(db, reader.user, seq.min(last)).await?;
    thread.unread(db, reader).await
}

/// The threads that somebody follows, the most recent first.
pub(super) async fn threads(
    db: &mut Db<'_>,
    reader: &Reader<'_>,
    roots: Option<&[MessageId]>,
    limit: usize,
) -> Sql<Vec<ThreadUnread>> {
    let conv = reader.conv;
    let mut threads = Vec::new();
    for root in followed(db, conv, reader.user, roots, limit).await? {
        threads.extend(Thread { conv, root }.unread(db, reader).await?);
    }
    threads.sort_unstable_by_key(|thread| std::cmp::Reverse(thread.last));
    Ok(threads)
}

/// One thread.
struct Thread {
    conv: i64,
    root: MessageId,
}

impl Thread {
    /// The newest message at or below a place: its place, and how many there are up to it.
    async fn at(&self, db: &mut Db<'_>, seq: u64) -> Sql<Option<(Seq, u64)>> {
        let sql = "SELECT seq, k FROM thread_entries
                   WHERE conv = ? AND root = ? AND seq <= ? ORDER BY seq DESC LIMIT 1";
        let key = (self.conv, entry_id(&self.root), int(seq));
        db.first(sql, key, |row| Ok((row.seq(0)?, row.count(1)?)))
            .await
    }

    async fn raise(&self, db: &mut Db<'_>, user: &UserId, seq: Seq) -> Sql<()> {
        let sql = "INSERT INTO thread_marks (conv, user, root, read_seq) VALUES (?, ?, ?, ?)
                   ON DUPLICATE KEY UPDATE read_seq = GREATEST(read_seq, VALUES(read_seq))";
        let key = (self.conv, user.as_str(), entry_id(&self.root), int(seq.0));
        db.run(sql, key).await.map(drop)
    }

    async fn unread(&self, db: &mut Db<'_>, reader: &Reader<'_>) -> Sql<Option<ThreadUnread>> {
        let Some((last, count)) = self.at(db, u64::MAX).await? else {
            return Ok(None);
        };
        let sql = "SELECT read_seq FROM thread_marks WHERE conv = ? AND user = ? AND root = ?";
        let key = (self.conv, reader.user.as_str(), entry_id(&self.root));
        let mark = db.first(sql, key, |row| row.seq(0)).await?;
        let read = mark.unwrap_or_default().max(reader.from.before());
        let before = self.at(db, read.0).await?.map_or(0, |(_, count)| count);
        Ok(Some(ThreadUnread {
            root: self.root,
            unread: count.saturating_sub(before),
            read,
            last,
        }))
    }

    /// From the first message on that made somebody a follower, messages are unread to them.
    async fn follow(&self, db: &mut Db<'_>, user: &UserId, first: Seq) -> Sql<()> {
        let sql = "INSERT IGNORE INTO thread_followers (conv, user, root, newest)
                   VALUES (?, ?, ?, ?)";
        let key = (self.conv, user.as_str(), entry_id(&self.root), int(first.0));
        if db.run(sql, key).await? > 0 {
            self.raise(db, user, first.before()).await?;
        }
        Ok(())
    }
}

async fn count(db: &mut Db<'_>, conv: i64, entry: &ThreadEntry) -> Sql<()> {
    let thread = Thread {
        conv,
        root: entry.root,
    };
    let before = thread.at(db, u64::MAX).await?.map_or(0, |(_, count)| count);
    let sql = "INSERT IGNORE INTO thread_entries (conv, root, seq, k) VALUES (?, ?, ?, ?)";
    let record = (
        conv,
        entry_id(&entry.root),
        int(entry.seq.0),
        int(before + 1),
    );
    db.run(sql, record).await?;
    for user in entry.followers.iter().chain([&entry.sender]) {
        thread.follow(db, user, entry.seq).await?;
    }
    let sql = "UPDATE thread_followers SET newest = ? WHERE conv = ? AND root = ?";
    let key = (int(entry.seq.0), conv, entry_id(&entry.root));
    db.run(sql, key).await?;
    thread.raise(db, &entry.sender, entry.seq).await
}

/// Which threads are asked about.
async fn followed(
    db: &mut Db<'_>,
    conv: i64,
    user: &UserId,
    roots: Option<&[MessageId]>,
    limit: usize,
) -> Sql<Vec<MessageId>> {
    let mut key = vec![p(conv), p(user.as_str())];
    let among = match roots.map(|roots| &roots[..roots.len().min(limit)]) {
        None => String::new(),
        Some([]) => return Ok(Vec::new()),
        Some(roots) => {
            key.extend(roots.iter().map(entry_id));
            format!("AND root IN ({})", row::marks(roots.len()))
        }
    };
    let sql = format!(
        "SELECT root FROM thread_followers WHERE conv = ? AND user = ? {among}
         ORDER BY newest DESC LIMIT ?"
    );
    key.push(p(row::rows(limit)));
    db.all(&sql, key, |row| row.entry_id(0)).await
}
