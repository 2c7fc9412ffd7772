//! The cursors of projections, what is hot, and the counts per thread.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    EmbeddedStore, detached,
    fault::Sql,
    queue,
    row::{self, Columns, int},
};
use crate::{
    Consumer, ConversationId, EntryId, Epoch, HotConversation, MessageId, ProjectionStep,
    ProjectionStore, Seq, StoreError, ThreadEntry, ThreadUnread, UserId,
};

#[async_trait]
impl ProjectionStore for EmbeddedStore {
    async fn projected(
        &self,
        consumer: &Consumer,
        ids: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError> {
        let (consumer, ids) = (consumer.clone(), ids.to_vec());
        self.read(move |conn| {
            let sql = "SELECT seq FROM projections WHERE consumer = ?1 AND conv = ?2";
            let mut places = Vec::with_capacity(ids.len());
            for id in &ids {
                let seq = match detached::any_row(conn, id)? {
                    Some(conv) => {
                        row::first(conn, sql, (consumer.as_str(), conv), |row| row.seq(0))?
                    }
                    None => None,
                };
                places.push(seq.unwrap_or_default());
            }
            Ok(places)
        })
        .await
    }

    async fn move_projection(&self, step: &ProjectionStep) -> Result<bool, StoreError> {
        let step = step.clone();
        self.write(move |conn| Ok(advance(conn, &step)?.is_some()))
            .await
    }

    async fn reset_projection(
        &self,
        consumer: &Consumer,
        id: &ConversationId,
    ) -> Result<(), StoreError> {
        let (consumer, id) = (consumer.clone(), id.clone());
        self.write(move |conn| reset(conn, &consumer, &id)).await
    }

    async fn hot(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        let after = after.cloned();
        self.read(move |conn| {
            let sql = "SELECT id, epoch, tail FROM conversations
                       WHERE hot = 1 AND id > ?1 ORDER BY id LIMIT ?2";
            let after = after.as_ref().map_or("", ConversationId::as_str);
            row::all(conn, sql, (after, row::rows(limit)), |row| {
                Ok(HotConversation {
                    id: ConversationId::from_stored(row.text(0)?),
                    epoch: Epoch(row.count(1)?),
                    tail: row.seq(2)?,
                })
            })
        })
        .await
    }

    async fn all_conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let after = after.cloned();
        self.read(move |conn| {
            let sql = "SELECT id FROM conversations WHERE id > ?1 ORDER BY id LIMIT ?2";
            let after = after.as_ref().map_or("", ConversationId::as_str);
            row::all(conn, sql, (after, row::rows(limit)), |row| {
                Ok(ConversationId::from_stored(row.text(0)?))
            })
        })
        .await
    }

    async fn project_threads(
        &self,
        step: &ProjectionStep,
        entries: Vec<ThreadEntry>,
    ) -> Result<bool, StoreError> {
        let step = step.clone();
        self.write(move |conn| {
            let Some(conv) = advance(conn, &step)? else {
                return Ok(false);
            };
            for entry in &entries {
                count(conn, conv, entry)?;
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
        let (id, user) = (id.clone(), user.clone());
        self.write(move |conn| match Reader::member(conn, &id, &user)? {
            Some(reader) => read(conn, &reader, root, seq),
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
        let (id, user) = (id.clone(), user.clone());
        let roots = roots.map(<[MessageId]>::to_vec);
        self.read(move |conn| match Reader::member(conn, &id, &user)? {
            Some(reader) => threads(conn, &reader, roots, limit),
            None => Ok(Vec::new()),
        })
        .await
    }
}

/// Moves a cursor, if it is where the step begins. The conversation's row, if it was.
pub(super) fn advance(conn: &Connection, step: &ProjectionStep) -> Sql<Option<i64>> {
    let conv = detached::any_row_or_make(conn, &step.conversation)?;
    let consumer = step.consumer.as_str();
    if step.from == Seq(0) {
        row::run(
            conn,
            "INSERT OR IGNORE INTO projections (consumer, conv, seq) VALUES (?1, ?2, 0)",
            (consumer, conv),
        )?;
    }
    let moved = row::run(
        conn,
        "UPDATE projections SET seq = ?4 WHERE consumer = ?1 AND conv = ?2 AND seq = ?3",
        (consumer, conv, int(step.from.0), int(step.to.0)),
    )?;
    Ok((moved > 0).then_some(conv))
}

fn reset(conn: &Connection, consumer: &Consumer, id: &ConversationId) -> Sql<()> {
    let Some(conv) = detached::any_row(conn, id)? else {
        return Ok(());
    };
    if *consumer == Consumer::QUEUE {
        queue::forget(conn, conv)?;
    }
    if *consumer == Consumer::THREADS {
        row::run(conn, "DELETE FROM thread_entries WHERE conv = ?1", [conv])?;
        row::run(conn, "DELETE FROM thread_followers WHERE conv = ?1", [conv])?;
    }
    let sql = "DELETE FROM projections WHERE consumer = ?1 AND conv = ?2";
    row::run(conn, sql, (consumer.as_str(), conv))?;
    Ok(())
}

/// A member who looks at threads.
pub(super) struct Reader {
    pub(super) conv: i64,
    pub(super) user: UserId,
    /// The first place of the membership that is open.
    pub(super) from: Seq,
}

impl Reader {
    /// Of a log that is here; `None` if they are not a member.
    fn member(conn: &Connection, id: &ConversationId, user: &UserId) -> Sql<Option<Self>> {
        let sql = "SELECT m.conv, m.from_seq FROM conversations c JOIN members m ON m.conv = c.conv
                   WHERE c.id = ?1 AND m.user = ?2 AND m.to_seq IS NULL";
        row::first(conn, sql, (id.as_str(), user.as_str()), |row| {
            Ok(Self {
                conv: row.get(0)?,
                from: row.seq(1)?,
                user: user.clone(),
            })
        })
    }
}

/// Raises a mark; the thread then.
pub(super) fn read(
    conn: &Connection,
    reader: &Reader,
    root: MessageId,
    seq: Seq,
) -> Sql<Option<ThreadUnread>> {
    let conv = reader.conv;
    let thread = Thread { conv, root };
    let Some((last, _)) = thread.at(conn, u64::MAX)? else {
        return Ok(None);
    };
    thread.raise(conn, &reader.user, seq.min(last))?;
    thread.unread(conn, reader)
}

/// The threads that somebody follows, the most recent first.
pub(super) fn threads(
    conn: &Connection,
    reader: &Reader,
    roots: Option<Vec<MessageId>>,
    limit: usize,
) -> Sql<Vec<ThreadUnread>> {
    let conv = reader.conv;
    let mut threads = Vec::new();
    for root in followed(conn, conv, &reader.user, roots, limit)? {
        threads.extend(Thread { conv, root }.unread(conn, reader)?);
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
    fn root(&self) -> &[u8] {
        &self.root.0.as_bytes()[..]
    }

    /// The newest message at or below a place: its place, and how many there are up to it.
    fn at(&self, conn: &Connection, seq: u64) -> Sql<Option<(Seq, u64)>> {
        let sql = "SELECT seq, k FROM thread_entries
                   WHERE conv = ?1 AND root = ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT 1";
        row::first(conn, sql, (self.conv, self.root(), int(seq)), |row| {
            Ok((row.seq(0)?, row.count(1)?))
        })
    }

    fn raise(&self, conn: &Connection, user: &UserId, seq: Seq) -> Sql<()> {
        row::run(
            conn,
            "INSERT INTO thread_marks (conv, user, root, read) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (conv, user, root)
             DO UPDATE SET read = excluded.read WHERE excluded.read > read",
            (self.conv, user.as_str(), self.root(), int(seq.0)),
        )?;
        Ok(())
    }

    fn unread(&self, conn: &Connection, reader: &Reader) -> Sql<Option<ThreadUnread>> {
        let Some((last, count)) = self.at(conn, u64::MAX)? else {
            return Ok(None);
        };
        let sql = "SELECT read FROM thread_marks WHERE conv = ?1 AND user = ?2 AND root = ?3";
        let key = (self.conv, reader.user.as_str(), self.root());
        let mark = row::first(conn, sql, key, |row| row.seq(0))?;
        let read = mark.unwrap_or_default().max(reader.from.before());
        let before = self.at(conn, read.0)?.map_or(0, |(_, count)| count);
        Ok(Some(ThreadUnread {
            root: self.root,
            unread: count - before,
            read,
            last,
        }))
    }

    /// From the first message on that made somebody a follower, messages are unread to them.
    fn follow(&self, conn: &Connection, user: &UserId, first: Seq) -> Sql<()> {
        let is_new = row::run(
            conn,
            "INSERT OR IGNORE INTO thread_followers (conv, user, root, last)
             VALUES (?1, ?2, ?3, ?4)",
            (self.conv, user.as_str(), self.root(), int(first.0)),
        )?;
        if is_new > 0 {
            self.raise(conn, user, first.before())?;
        }
        Ok(())
    }
}

fn count(conn: &Connection, conv: i64, entry: &ThreadEntry) -> Sql<()> {
    let thread = Thread {
        conv,
        root: entry.root,
    };
    let before = thread.at(conn, u64::MAX)?.map_or(0, |(_, count)| count);
    row::run(
        conn,
        "INSERT OR IGNORE INTO thread_entries (conv, root, seq, k) VALUES (?1, ?2, ?3, ?4)",
        params![conv, thread.root(), int(entry.seq.0), int(before + 1)],
    )?;
    for user in entry.followers.iter().chain([&entry.sender]) {
        thread.follow(conn, user, entry.seq)?;
    }
    row::run(
        conn,
        "UPDATE thread_followers SET last = ?3 WHERE conv = ?1 AND root = ?2",
        (conv, thread.root(), int(entry.seq.0)),
    )?;
    thread.raise(conn, &entry.sender, entry.seq)
}

/// Which threads are asked about.
fn followed(
    conn: &Connection,
    conv: i64,
    user: &UserId,
    roots: Option<Vec<MessageId>>,
    limit: usize,
) -> Sql<Vec<MessageId>> {
    let Some(mut roots) = roots else {
        let sql = "SELECT root FROM thread_followers WHERE conv = ?1 AND user = ?2
                   ORDER BY last DESC LIMIT ?3";
        let key = (conv, user.as_str(), row::rows(limit));
        return row::all(conn, sql, key, |row| Ok(EntryId(row.uuid(0)?)));
    };
    roots.truncate(limit);
    let sql = "SELECT 1 FROM thread_followers WHERE conv = ?1 AND user = ?2 AND root = ?3";
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = Vec::with_capacity(roots.len());
    for root in roots {
        let key = (conv, user.as_str(), &root.0.as_bytes()[..]);
        if statement.query_row(key, |_| Ok(())).optional()?.is_some() {
            found.push(root);
        }
    }
    Ok(found)
}
