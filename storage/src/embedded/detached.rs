//! The registers alone, of conversations whose log another store keeps.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    EmbeddedStore,
    fault::{Fault, Sql},
    marks,
    projections::{self, Reader},
    registers::{self, Head},
    row::{self, Columns, int},
};
use crate::{
    ConversationId, DetachedRegisters, DetachedWrite, DeviceCursor, DeviceId, Fold, Marks,
    MessageId, Mute, Person, Registers, Seq, StoreError, StreamCursor, ThreadReader, ThreadUnread,
    UserId,
};

#[async_trait]
impl DetachedRegisters for EmbeddedStore {
    async fn write_detached(
        &self,
        writes: Vec<DetachedWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        self.write(move |conn| writes.iter().map(|write| write_one(conn, write)).collect())
            .await
    }

    async fn detached(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.read(move |conn| match find(conn, &id)? {
            Some(log) => registers::load(conn, log.conv, &user),
            None => Ok(Registers::default()),
        })
        .await
    }

    async fn detached_mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        let (id, users) = (id.clone(), users.to_vec());
        self.read(move |conn| {
            let conv = find(conn, &id)?.map(|log| log.conv);
            registers::mutes(conn, conv, &users)
        })
        .await
    }

    async fn detached_marks(
        &self,
        user: &UserId,
        ids: &[ConversationId],
    ) -> Result<Vec<Marks>, StoreError> {
        let (user, ids) = (user.clone(), ids.to_vec());
        self.read(move |conn| {
            let marks = ids.iter().map(|id| match find(conn, id)? {
                Some(log) => marks::load(conn, log.conv, &user),
                None => Ok(Marks::default()),
            });
            marks.collect()
        })
        .await
    }

    async fn detached_marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = "SELECT k.user, k.delivered, k.read, k.unread_from, k.version
                       FROM detached_logs d CROSS JOIN marks k
                       WHERE d.id = ?1 AND d.marks_version > ?2
                         AND k.conv = d.conv AND k.version > ?2
                       ORDER BY k.version LIMIT ?3";
            let key = (id.as_str(), int(version), row::rows(limit));
            row::all(conn, sql, key, |row| {
                Ok((row.user(0)?, marks::decode(row, 1)?))
            })
        })
        .await
    }

    async fn folded(&self, id: &ConversationId) -> Result<Seq, StoreError> {
        let id = id.clone();
        self.read(move |conn| Ok(find(conn, &id)?.map_or(Seq(0), |log| log.folded)))
            .await
    }

    async fn fold(&self, folds: Vec<Fold>) -> Result<(), StoreError> {
        self.write(move |conn| folds.iter().try_for_each(|fold| fold_one(conn, fold)))
            .await
    }

    async fn write_detached_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        self.write(move |conn| cursors.iter().try_for_each(|cursor| raise(conn, cursor)))
            .await
    }

    async fn detached_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        let (person, device, id) = (person.clone(), device.clone(), id.clone());
        self.read(move |conn| {
            let sql = "SELECT c.seq FROM detached_logs d JOIN device_cursors c ON c.conv = d.conv
                       WHERE d.id = ?1 AND c.workspace = ?2 AND c.user = ?3 AND c.device = ?4";
            let key = (
                id.as_str(),
                person.workspace.as_str(),
                person.user.as_str(),
                device.as_str(),
            );
            row::first(conn, sql, key, |row| row.seq(0))
        })
        .await
    }

    async fn write_detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
        rank: u64,
    ) -> Result<(), StoreError> {
        let (person, device, cursor) = (person.clone(), device.clone(), cursor.clone());
        self.write(move |conn| {
            row::run(
                conn,
                "INSERT INTO detached_stream_cursors (workspace, user, device, rank, cursor)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (workspace, user, device)
                 DO UPDATE SET rank = excluded.rank, cursor = excluded.cursor
                 WHERE excluded.rank > rank",
                params![
                    person.workspace.as_str(),
                    person.user.as_str(),
                    device.as_str(),
                    int(rank),
                    cursor.0,
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        let (person, device) = (person.clone(), device.clone());
        self.read(move |conn| {
            let sql = "SELECT cursor FROM detached_stream_cursors
                       WHERE workspace = ?1 AND user = ?2 AND device = ?3";
            let key = (
                person.workspace.as_str(),
                person.user.as_str(),
                device.as_str(),
            );
            row::first(conn, sql, key, |row| Ok(StreamCursor(row.get(0)?)))
        })
        .await
    }

    async fn read_detached_thread(
        &self,
        reader: ThreadReader,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        self.write(move |conn| match known(conn, &reader)? {
            Some(reader) => projections::read(conn, &reader, root, seq),
            None => Ok(None),
        })
        .await
    }

    async fn detached_threads(
        &self,
        reader: ThreadReader,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError> {
        let roots = roots.map(<[MessageId]>::to_vec);
        self.read(move |conn| match known(conn, &reader)? {
            Some(reader) => projections::threads(conn, &reader, roots, limit),
            None => Ok(Vec::new()),
        })
        .await
    }
}

/// A reader of a conversation that something is known of.
fn known(conn: &Connection, reader: &ThreadReader) -> Sql<Option<Reader>> {
    let log = find(conn, &reader.conversation)?;
    Ok(log.map(|log| Reader {
        conv: log.conv,
        user: reader.user.clone(),
        from: reader.from,
    }))
}

/// What is known here of a log that is kept elsewhere.
struct Log {
    conv: i64,
    marks_version: u64,
    folded: Seq,
}

fn find(conn: &Connection, id: &ConversationId) -> Sql<Option<Log>> {
    let sql = "SELECT conv, marks_version, folded FROM detached_logs WHERE id = ?1";
    row::first(conn, sql, [id.as_str()], |row| {
        Ok(Log {
            conv: row.get(0)?,
            marks_version: row.count(1)?,
            folded: row.seq(2)?,
        })
    })
}

/// The row of a conversation, whose log may be here or elsewhere.
pub(super) fn any_row(conn: &Connection, id: &ConversationId) -> Sql<Option<i64>> {
    match row::conversation_row(conn, id)? {
        Some(conv) => Ok(Some(conv)),
        None => Ok(find(conn, id)?.map(|log| log.conv)),
    }
}

/// The same; what is not known is taken to be a conversation whose log is elsewhere.
pub(super) fn any_row_or_make(conn: &Connection, id: &ConversationId) -> Sql<i64> {
    match row::conversation_row(conn, id)? {
        Some(conv) => Ok(conv),
        None => Ok(find_or_make(conn, id)?.conv),
    }
}

fn find_or_make(conn: &Connection, id: &ConversationId) -> Sql<Log> {
    if let Some(log) = find(conn, id)? {
        return Ok(log);
    }
    let sql = "INSERT INTO detached_logs (conv, id)
               SELECT coalesce(min(conv), 0) - 1, ?1 FROM detached_logs";
    row::run(conn, sql, [id.as_str()])?;
    find(conn, id)?.ok_or_else(|| Fault::Corrupt(format!("{id} is gone at once")))
}

fn write_one(conn: &Connection, write: &DetachedWrite) -> Sql<Registers> {
    let log = find_or_make(conn, &write.write.conversation)?;
    let mut head = Head {
        conv: log.conv,
        tail: write.tail,
        n: 0,
        marks_version: log.marks_version,
    };
    let now = registers::write_one(conn, &mut head, &write.write.user, &write.write.change)?;
    if head.marks_version > log.marks_version {
        keep_version(conn, log.conv, head.marks_version)?;
    }
    Ok(now)
}

fn keep_version(conn: &Connection, conv: i64, version: u64) -> Sql<()> {
    let sql = "UPDATE detached_logs SET marks_version = ?2 WHERE conv = ?1";
    row::run(conn, sql, (conv, int(version)))?;
    Ok(())
}

fn fold_one(conn: &Connection, fold: &Fold) -> Sql<()> {
    let mut log = find_or_make(conn, &fold.conversation)?;
    for (user, seq) in &fold.read {
        let old = marks::load(conn, log.conv, user)?;
        if old.read < *seq {
            log.marks_version += 1;
            let new = old.read_up_to(*seq, log.marks_version);
            marks::store(conn, log.conv, user, &new)?;
        }
    }
    let reached = log.folded.max(fold.to);
    let folded = if log.folded >= fold.after {
        reached
    } else {
        log.folded
    };
    let sql = "UPDATE detached_logs SET marks_version = ?2, folded = ?3 WHERE conv = ?1";
    let now = (log.conv, int(log.marks_version), int(folded.0));
    row::run(conn, sql, now)?;
    Ok(())
}

fn raise(conn: &Connection, cursor: &DeviceCursor) -> Sql<()> {
    let log = find_or_make(conn, &cursor.conversation)?;
    row::run(
        conn,
        "INSERT INTO device_cursors (workspace, user, device, conv, seq)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (workspace, user, device, conv)
         DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
        params![
            cursor.person.workspace.as_str(),
            cursor.person.user.as_str(),
            cursor.device.as_str(),
            log.conv,
            int(cursor.seq.0),
        ],
    )?;
    Ok(())
}
