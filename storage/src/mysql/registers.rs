//! Registers beside the log: marks, drafts, mutes, and the cursors of devices; of logs that are
//! here, and of logs that another store keeps.

use std::collections::HashMap;

use async_trait::async_trait;
use mysql_async::Row;

use super::{
    MySqlStore,
    fault::Sql,
    head::{self, Head},
    pool::{Db, run, transact},
    projections::{self, Reader},
    row::{self, Columns, int, p},
};
use crate::{
    ConversationId, DetachedRegisters, DetachedWrite, DeviceCursor, DeviceId, Fold, JsonText,
    Marks, MessageId, Mute, Person, RegisterChange, RegisterStore, RegisterWrite, Registers, Seq,
    StoreError, StreamCursor, ThreadReader, ThreadUnread, UserId, position,
};

#[async_trait]
impl RegisterStore for MySqlStore {
    async fn write_registers(
        &self,
        writes: Vec<RegisterWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        let writes: Vec<(RegisterWrite, Option<Seq>)> =
            writes.into_iter().map(|write| (write, None)).collect();
        transact!(self.pool, |db| write_all(db, &writes).await).await
    }

    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        self.detached(id, user).await
    }

    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        self.detached_mutes(id, users).await
    }

    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        self.detached_marks_since(id, version, limit).await
    }

    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError> {
        run!(self.pool, |db| {
            let sql = "SELECT conv, n FROM conversations WHERE id = ? AND kind <> 0";
            let found = db.first(sql, (id.as_str(),), |row| {
                Ok((row.value::<i64>(0)?, row.count(1)?))
            });
            match found.await? {
                Some((conv, n)) => unread(db, conv, n, user).await,
                None => Ok(0),
            }
        })
        .await
    }

    async fn write_cursors(&self, mut cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        in_order(&mut cursors);
        transact!(self.pool, |db| {
            for cursor in &cursors {
                let sql = "SELECT conv, tail FROM conversations WHERE id = ? AND kind <> 0";
                let id = cursor.conversation.as_str();
                let found = db.first(sql, (id,), |row| Ok((row.value::<i64>(0)?, row.seq(1)?)));
                if let Some((conv, tail)) = found.await? {
                    raise(db, conv, cursor, cursor.seq.min(tail)).await?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        self.detached_cursor(person, device, id).await
    }

    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError> {
        let pos = position::parse(self.store_id, cursor)
            .ok_or_else(|| StoreError::Invalid("not a cursor of this store".to_owned()))?;
        self.write_detached_stream_cursor(person, device, cursor, pos)
            .await
    }

    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        self.detached_stream_cursor(person, device).await
    }
}

#[async_trait]
impl DetachedRegisters for MySqlStore {
    async fn write_detached(
        &self,
        writes: Vec<DetachedWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        let writes: Vec<(RegisterWrite, Option<Seq>)> = writes
            .into_iter()
            .map(|write| (write.write, Some(write.tail)))
            .collect();
        transact!(self.pool, |db| {
            make_known(db, writes.iter().map(|(write, _)| &write.conversation)).await?;
            write_all(db, &writes).await
        })
        .await
    }

    async fn detached(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        run!(self.pool, |db| match head::any_conv(db, id).await? {
            Some(conv) => load(db, conv, user).await,
            None => Ok(Registers::default()),
        })
        .await
    }

    async fn detached_mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        run!(self.pool, |db| match head::any_conv(db, id).await? {
            Some(conv) => mutes(db, conv, users).await,
            None => Ok(vec![None; users.len()]),
        })
        .await
    }

    async fn detached_marks(
        &self,
        user: &UserId,
        ids: &[ConversationId],
    ) -> Result<Vec<Marks>, StoreError> {
        run!(self.pool, |db| {
            let mut all = Vec::with_capacity(ids.len());
            for id in ids {
                all.push(match head::any_conv(db, id).await? {
                    Some(conv) => marks(db, conv, user).await?,
                    None => Marks::default(),
                });
            }
            Ok(all)
        })
        .await
    }

    async fn detached_marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        // Without an index by version, which every message would have to write; whoever is up to
        // date is answered from the conversation's row.
        let sql = "SELECT k.delivered, k.read_seq, k.unread_from, k.version, k.user
                   FROM conversations c JOIN marks k ON k.conv = c.conv
                   WHERE c.id = ? AND c.marks_version > ? AND k.version > ?
                   ORDER BY k.version LIMIT ?";
        let key = (id.as_str(), int(version), int(version), row::rows(limit));
        run!(self.pool, |db| {
            db.all(sql, key, |row| Ok((row.user(4)?, decode(row)?)))
                .await
        })
        .await
    }

    async fn folded(&self, id: &ConversationId) -> Result<Seq, StoreError> {
        let sql = "SELECT folded FROM conversations WHERE id = ?";
        let folded = run!(self.pool, |db| db
            .first(sql, (id.as_str(),), |row| row.seq(0))
            .await);
        Ok(folded.await?.unwrap_or_default())
    }

    async fn fold(&self, folds: Vec<Fold>) -> Result<(), StoreError> {
        transact!(self.pool, |db| {
            let ids: Vec<&ConversationId> = folds.iter().map(|fold| &fold.conversation).collect();
            make_known(db, ids.iter().copied()).await?;
            let mut heads = head::lock(db, &ids).await?;
            for fold in &folds {
                let head = heads.iter_mut().find(|head| head.id == fold.conversation);
                if let Some(head) = head {
                    fold_one(db, head, fold).await?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn write_detached_cursors(
        &self,
        mut cursors: Vec<DeviceCursor>,
    ) -> Result<(), StoreError> {
        in_order(&mut cursors);
        transact!(self.pool, |db| {
            for cursor in &cursors {
                let conv = head::any_conv_or_make(db, &cursor.conversation).await?;
                raise(db, conv, cursor, cursor.seq).await?;
            }
            Ok(())
        })
        .await
    }

    async fn detached_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        let sql = "SELECT d.seq FROM conversations c JOIN device_cursors d ON d.conv = c.conv
                   WHERE c.id = ? AND d.workspace = ? AND d.user = ? AND d.device = ?";
        let key = (
            id.as_str(),
            person.workspace.as_str(),
            person.user.as_str(),
            device.as_str(),
        );
        run!(self.pool, |db| db.first(sql, key, |row| row.seq(0)).await).await
    }

    async fn write_detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
        rank: u64,
    ) -> Result<(), StoreError> {
        // Assignments are made from left to right, so the rank changes last.
        let sql = "INSERT INTO stream_cursors (workspace, user, device, pos, cursor_text)
                   VALUES (?, ?, ?, ?, ?)
                   ON DUPLICATE KEY UPDATE
                       cursor_text = IF(VALUES(pos) > pos, VALUES(cursor_text), cursor_text),
                       pos = GREATEST(pos, VALUES(pos))";
        let key = (
            person.workspace.as_str(),
            person.user.as_str(),
            device.as_str(),
            int(rank),
            cursor.0.as_str(),
        );
        transact!(self.pool, |db| {
            know_device(db, person, device).await?;
            db.run(sql, key).await.map(drop)
        })
        .await
    }

    async fn detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        let sql = "SELECT cursor_text FROM stream_cursors
                   WHERE workspace = ? AND user = ? AND device = ?";
        let key = (
            person.workspace.as_str(),
            person.user.as_str(),
            device.as_str(),
        );
        run!(self.pool, |db| {
            db.first(sql, key, |row| row.string(0).map(StreamCursor))
                .await
        })
        .await
    }

    async fn read_detached_thread(
        &self,
        reader: ThreadReader,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        transact!(self.pool, |db| match known(db, &reader).await? {
            Some(reader) => projections::read(db, &reader, root, seq).await,
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
        run!(self.pool, |db| match known(db, &reader).await? {
            Some(reader) => projections::threads(db, &reader, roots, limit).await,
            None => Ok(Vec::new()),
        })
        .await
    }
}

/// A reader of a conversation that something is known of.
async fn known<'r>(db: &mut Db<'_>, reader: &'r ThreadReader) -> Sql<Option<Reader<'r>>> {
    let conv = head::any_conv(db, &reader.conversation).await?;
    Ok(conv.map(|conv| Reader {
        conv,
        user: &reader.user,
        from: reader.from,
    }))
}

/// Everybody locks rows in one order.
fn in_order(cursors: &mut [DeviceCursor]) {
    cursors.sort_by(|a, b| {
        let key = |cursor: &DeviceCursor| {
            (
                cursor.person.clone(),
                cursor.device.clone(),
                cursor.conversation.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
}

async fn make_known(db: &mut Db<'_>, ids: impl Iterator<Item = &ConversationId>) -> Sql<()> {
    let mut ids: Vec<&ConversationId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        head::any_conv_or_make(db, id).await?;
    }
    Ok(())
}

/// Unread messages of a person in a conversation whose tail stands at `n`.
pub(super) async fn unread(db: &mut Db<'_>, conv: i64, n: u64, user: &UserId) -> Sql<u64> {
    let read = marks(db, conv, user).await?.read_until();
    let sql = "SELECT n FROM entries WHERE conv = ? AND seq = ?";
    let before = db
        .first(sql, (conv, int(read.0)), |row| row.count(0))
        .await?;
    Ok(n.saturating_sub(before.unwrap_or(0)))
}

/// A person's marks; all zero where there are none.
pub(super) async fn marks(db: &mut Db<'_>, conv: i64, user: &UserId) -> Sql<Marks> {
    let sql = "SELECT delivered, read_seq, unread_from, version FROM marks
               WHERE conv = ? AND user = ?";
    let found = db.first(sql, (conv, user.as_str()), decode).await?;
    Ok(found.unwrap_or_default())
}

fn decode(row: &mut Row) -> Sql<Marks> {
    Ok(Marks {
        delivered: row.seq(0)?,
        read: row.seq(1)?,
        unread_from: row.maybe_seq(2)?,
        version: row.count(3)?,
    })
}

/// Replaces the marks of people.
pub(super) async fn store_marks(db: &mut Db<'_>, some: &[((i64, UserId), Marks)]) -> Sql<()> {
    let sql = format!(
        "INSERT INTO marks (conv, user, delivered, read_seq, unread_from, version) VALUES {}
         ON DUPLICATE KEY UPDATE
             delivered = VALUES(delivered), read_seq = VALUES(read_seq),
             unread_from = VALUES(unread_from), version = VALUES(version)",
        row::groups(some.len(), 6)
    );
    let mut params = Vec::with_capacity(some.len() * 6);
    for ((conv, user), marks) in some {
        params.extend([
            p(*conv),
            p(user.as_str()),
            p(int(marks.delivered.0)),
            p(int(marks.read.0)),
            p(marks.unread_from.map(|seq| int(seq.0))),
            p(int(marks.version)),
        ]);
    }
    db.run(&sql, params).await.map(drop)
}

/// Makes changes in order. Of a log that another store keeps the caller names the tail.
async fn write_all(
    db: &mut Db<'_>,
    writes: &[(RegisterWrite, Option<Seq>)],
) -> Sql<Vec<Registers>> {
    let ids: Vec<&ConversationId> = writes
        .iter()
        .map(|(write, _)| &write.conversation)
        .collect();
    let mut heads = head::lock(db, &ids).await?;
    let versions: Vec<u64> = heads.iter().map(|head| head.marks_version).collect();
    let mut results = Vec::with_capacity(writes.len());
    for (write, tail) in writes {
        let head = heads.iter_mut().find(|head| {
            head.id == write.conversation && (head.workspace.is_some() || tail.is_some())
        });
        results.push(match head {
            Some(head) => {
                head.tail = tail.unwrap_or(head.tail);
                write_one(db, head, &write.user, &write.change).await?
            }
            None => Registers::default(),
        });
    }
    for (head, before) in heads.iter().zip(versions) {
        if head.marks_version > before {
            keep_version(db, head).await?;
        }
    }
    Ok(results)
}

async fn keep_version(db: &mut Db<'_>, head: &Head) -> Sql<()> {
    let sql = "UPDATE conversations SET marks_version = ? WHERE conv = ?";
    db.run(sql, (int(head.marks_version), head.conv))
        .await
        .map(drop)
}

async fn write_one(
    db: &mut Db<'_>,
    head: &mut Head,
    user: &UserId,
    change: &RegisterChange,
) -> Sql<Registers> {
    match change {
        RegisterChange::Draft(draft) => write_draft(db, head.conv, user, draft.as_ref()).await?,
        RegisterChange::Mute(mute) => write_mute(db, head.conv, user, *mute).await?,
        RegisterChange::Delivered(_) | RegisterChange::Read(_) | RegisterChange::UnreadFrom(_) => {
            let old = marks(db, head.conv, user).await?;
            let new = old.moved(change, head.tail);
            if new != old {
                head.marks_version += 1;
                let version = head.marks_version;
                let key = (head.conv, user.clone());
                store_marks(db, &[(key, Marks { version, ..new })]).await?;
            }
        }
    }
    load(db, head.conv, user).await
}

async fn fold_one(db: &mut Db<'_>, head: &mut Head, fold: &Fold) -> Sql<()> {
    for (user, seq) in &fold.read {
        let old = marks(db, head.conv, user).await?;
        if old.read < *seq {
            head.marks_version += 1;
            let new = old.read_up_to(*seq, head.marks_version);
            store_marks(db, &[((head.conv, user.clone()), new)]).await?;
        }
    }
    if head.folded >= fold.after {
        head.folded = head.folded.max(fold.to);
    }
    let sql = "UPDATE conversations SET marks_version = ?, folded = ? WHERE conv = ?";
    let now = (int(head.marks_version), int(head.folded.0), head.conv);
    db.run(sql, now).await.map(drop)
}

async fn write_draft(
    db: &mut Db<'_>,
    conv: i64,
    user: &UserId,
    draft: Option<&JsonText>,
) -> Sql<()> {
    let sql = "INSERT INTO personal (conv, user, draft) VALUES (?, ?, ?)
               ON DUPLICATE KEY UPDATE draft = VALUES(draft)";
    let key = (conv, user.as_str(), draft.map(|text| &**text));
    db.run(sql, key).await.map(drop)
}

async fn write_mute(db: &mut Db<'_>, conv: i64, user: &UserId, mute: Option<Mute>) -> Sql<()> {
    let sql = "INSERT INTO personal (conv, user, muted, mute_until, mentions_only)
               VALUES (?, ?, ?, ?, ?)
               ON DUPLICATE KEY UPDATE
                   muted = VALUES(muted), mute_until = VALUES(mute_until),
                   mentions_only = VALUES(mentions_only)";
    let key = (
        conv,
        user.as_str(),
        mute.is_some(),
        mute.and_then(|mute| mute.until).map(|until| until.0),
        mute.is_some_and(|mute| mute.mentions_only),
    );
    db.run(sql, key).await.map(drop)
}

async fn load(db: &mut Db<'_>, conv: i64, user: &UserId) -> Sql<Registers> {
    let sql = "SELECT draft, muted, mute_until, mentions_only FROM personal
               WHERE conv = ? AND user = ?";
    let personal = db.first(sql, (conv, user.as_str()), |row| {
        let muted: bool = row.value(1)?;
        let mute = Mute {
            until: row.value::<Option<i64>>(2)?.map(crate::Timestamp),
            mentions_only: row.value(3)?,
        };
        Ok((row.maybe_string(0)?, muted.then_some(mute)))
    });
    let (draft, mute) = personal.await?.unwrap_or_default();
    Ok(Registers {
        marks: marks(db, conv, user).await?,
        draft: draft.map(JsonText::from),
        mute,
    })
}

/// The mutes of people in a conversation, in their order.
async fn mutes(db: &mut Db<'_>, conv: i64, users: &[UserId]) -> Sql<Vec<Option<Mute>>> {
    let mut found: HashMap<UserId, Mute> = HashMap::new();
    for some in users.chunks(500) {
        let sql = format!(
            "SELECT user, mute_until, mentions_only FROM personal
             WHERE conv = ? AND muted AND user IN ({})",
            row::marks(some.len())
        );
        let mut key = vec![p(conv)];
        key.extend(some.iter().map(|user| p(user.as_str())));
        let page = db.all(&sql, key, |row| {
            let mute = Mute {
                until: row.value::<Option<i64>>(1)?.map(crate::Timestamp),
                mentions_only: row.value(2)?,
            };
            Ok((row.user(0)?, mute))
        });
        found.extend(page.await?);
    }
    Ok(users.iter().map(|user| found.get(user).copied()).collect())
}

async fn know_device(db: &mut Db<'_>, person: &Person, device: &DeviceId) -> Sql<()> {
    let sql = "INSERT IGNORE INTO devices (workspace, user, device) VALUES (?, ?, ?)";
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        device.as_str(),
    );
    db.run(sql, key).await.map(drop)
}

/// Raises one device's cursor.
async fn raise(db: &mut Db<'_>, conv: i64, cursor: &DeviceCursor, seq: Seq) -> Sql<()> {
    know_device(db, &cursor.person, &cursor.device).await?;
    let sql = "INSERT INTO device_cursors (workspace, user, device, conv, seq)
               VALUES (?, ?, ?, ?, ?)
               ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))";
    let key = (
        cursor.person.workspace.as_str(),
        cursor.person.user.as_str(),
        cursor.device.as_str(),
        conv,
        int(seq.0),
    );
    db.run(sql, key).await.map(drop)
}
