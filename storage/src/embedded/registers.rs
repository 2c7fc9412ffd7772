//! Registers beside the log: marks, drafts, mutes, and the cursors of devices.

use std::collections::{HashMap, hash_map::Entry};

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{
    EmbeddedStore,
    fault::Sql,
    marks,
    row::{self, Columns, int},
    stream,
};
use crate::{
    ConversationId, DeviceCursor, DeviceId, JsonText, Marks, Mute, Person, RegisterChange,
    RegisterStore, RegisterWrite, Registers, Seq, StoreError, StreamCursor, Timestamp, UserId,
};

#[async_trait]
impl RegisterStore for EmbeddedStore {
    async fn write_registers(
        &self,
        writes: Vec<RegisterWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |conn| write_all(conn, &writes)).await
    }

    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.read(move |conn| match row::conversation_row(conn, &id)? {
            Some(conv) => load(conn, conv, &user),
            None => Ok(Registers::default()),
        })
        .await
    }

    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        let (id, users) = (id.clone(), users.to_vec());
        self.read(move |conn| mutes(conn, row::conversation_row(conn, &id)?, &users))
            .await
    }

    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            // Without an index by version, which every message would have to write; whoever is
            // up to date is answered from the conversation's row.
            let sql = "SELECT k.user, k.delivered, k.read, k.unread_from, k.version
                       FROM conversations c CROSS JOIN marks k
                       WHERE c.id = ?1 AND c.marks_version > ?2
                         AND k.conv = c.conv AND k.version > ?2
                       ORDER BY k.version LIMIT ?3";
            let key = (id.as_str(), int(version), row::rows(limit));
            row::all(conn, sql, key, |row| {
                Ok((row.user(0)?, marks::decode(row, 1)?))
            })
        })
        .await
    }

    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.read(move |conn| match head(conn, &id)? {
            Some(head) => unread(conn, head.conv, head.n, &user),
            None => Ok(0),
        })
        .await
    }

    async fn write_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        if cursors.is_empty() {
            return Ok(());
        }
        self.write(move |conn| cursors.iter().try_for_each(|cursor| raise(conn, cursor)))
            .await
    }

    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        let (person, device, id) = (person.clone(), device.clone(), id.clone());
        self.read(move |conn| {
            let sql = "SELECT d.seq FROM conversations c JOIN device_cursors d ON d.conv = c.conv
                       WHERE c.id = ?1 AND d.workspace = ?2 AND d.user = ?3 AND d.device = ?4";
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

    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError> {
        let pos = stream::parse(self.place.store_id(), cursor)
            .ok_or_else(|| StoreError::Invalid("not a cursor of this store".to_owned()))?;
        let (person, device) = (person.clone(), device.clone());
        self.write(move |conn| {
            row::run(
                conn,
                "INSERT INTO stream_cursors (workspace, user, device, pos) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (workspace, user, device)
                 DO UPDATE SET pos = excluded.pos WHERE excluded.pos > pos",
                params![
                    person.workspace.as_str(),
                    person.user.as_str(),
                    device.as_str(),
                    int(pos)
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        let (person, device) = (person.clone(), device.clone());
        let store_id = self.place.store_id();
        self.read(move |conn| {
            let sql = "SELECT pos FROM stream_cursors
                       WHERE workspace = ?1 AND user = ?2 AND device = ?3";
            let key = (
                person.workspace.as_str(),
                person.user.as_str(),
                device.as_str(),
            );
            row::first(conn, sql, key, |row| {
                Ok(stream::format(store_id, row.count(0)?))
            })
        })
        .await
    }
}

/// Unread messages of a person in a conversation whose tail stands at `n`.
pub(super) fn unread(conn: &Connection, conv: i64, n: u64, user: &UserId) -> Sql<u64> {
    let read = marks::load(conn, conv, user)?.read_until();
    Ok(n.saturating_sub(n_at(conn, conv, read)?))
}

/// Messages on the main timeline up to a place; 0 where there is no such place.
pub(super) fn n_at(conn: &Connection, conv: i64, seq: Seq) -> Sql<u64> {
    let sql = "SELECT n FROM entries WHERE conv = ?1 AND seq = ?2";
    let n = row::first(conn, sql, (conv, int(seq.0)), |row| row.count(0))?;
    Ok(n.unwrap_or(0))
}

/// What a change of registers needs to know of a conversation.
pub(super) struct Head {
    /// The conversation's row.
    pub(super) conv: i64,
    /// No mark passes it.
    pub(super) tail: Seq,
    /// Messages on the main timeline up to the tail.
    pub(super) n: u64,
    /// The version of the marks changed last.
    pub(super) marks_version: u64,
}

fn head(conn: &Connection, id: &ConversationId) -> Sql<Option<Head>> {
    let sql = "SELECT conv, tail, n, marks_version FROM conversations WHERE id = ?1";
    row::first(conn, sql, [id.as_str()], |row| {
        Ok(Head {
            conv: row.get(0)?,
            tail: row.seq(1)?,
            n: row.count(2)?,
            marks_version: row.count(3)?,
        })
    })
}

fn write_all(conn: &Connection, writes: &[RegisterWrite]) -> Sql<Vec<Registers>> {
    let mut heads: HashMap<&ConversationId, Option<Head>> = HashMap::new();
    let mut results = Vec::with_capacity(writes.len());
    for write in writes {
        let id = &write.conversation;
        let head = match heads.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(head(conn, id)?),
        };
        results.push(match head {
            Some(head) => write_one(conn, head, &write.user, &write.change)?,
            None => Registers::default(),
        });
    }
    for head in heads.values().flatten() {
        let sql = "UPDATE conversations SET marks_version = ?2
                   WHERE conv = ?1 AND marks_version < ?2";
        row::run(conn, sql, (head.conv, int(head.marks_version)))?;
    }
    Ok(results)
}

/// Makes one change; the registers after it.
pub(super) fn write_one(
    conn: &Connection,
    head: &mut Head,
    user: &UserId,
    change: &RegisterChange,
) -> Sql<Registers> {
    match change {
        RegisterChange::Draft(draft) => write_draft(conn, head.conv, user, draft.as_ref())?,
        RegisterChange::Mute(mute) => write_mute(conn, head.conv, user, *mute)?,
        RegisterChange::Delivered(_) | RegisterChange::Read(_) | RegisterChange::UnreadFrom(_) => {
            write_marks(conn, head, user, change)?;
        }
    }
    load(conn, head.conv, user)
}

fn write_marks(
    conn: &Connection,
    head: &mut Head,
    user: &UserId,
    change: &RegisterChange,
) -> Sql<()> {
    let old = marks::load(conn, head.conv, user)?;
    let new = old.moved(change, head.tail);
    if new == old {
        return Ok(());
    }
    head.marks_version += 1;
    let version = head.marks_version;
    marks::store(conn, head.conv, user, &Marks { version, ..new })
}

fn write_draft(conn: &Connection, conv: i64, user: &UserId, draft: Option<&JsonText>) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO personal (conv, user, draft) VALUES (?1, ?2, ?3)
         ON CONFLICT (conv, user) DO UPDATE SET draft = excluded.draft",
        (conv, user.as_str(), draft.map(|text| &**text)),
    )?;
    Ok(())
}

fn write_mute(conn: &Connection, conv: i64, user: &UserId, mute: Option<Mute>) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO personal (conv, user, muted, mute_until, mentions_only)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (conv, user) DO UPDATE SET
             muted = excluded.muted, mute_until = excluded.mute_until,
             mentions_only = excluded.mentions_only",
        (
            conv,
            user.as_str(),
            mute.is_some(),
            mute.and_then(|mute| mute.until).map(|until| until.0),
            mute.is_some_and(|mute| mute.mentions_only),
        ),
    )?;
    Ok(())
}

/// The mutes of people in a conversation; none where there is no conversation.
pub(super) fn mutes(
    conn: &Connection,
    conv: Option<i64>,
    users: &[UserId],
) -> Sql<Vec<Option<Mute>>> {
    let Some(conv) = conv else {
        return Ok(vec![None; users.len()]);
    };
    let sql = "SELECT mute_until, mentions_only FROM personal
               WHERE conv = ?1 AND user = ?2 AND muted";
    let mute = |user: &UserId| {
        row::first(conn, sql, (conv, user.as_str()), |row| {
            Ok(Mute {
                until: row.get::<_, Option<i64>>(0)?.map(Timestamp),
                mentions_only: row.get(1)?,
            })
        })
    };
    users.iter().map(mute).collect()
}

/// One person's registers.
pub(super) fn load(conn: &Connection, conv: i64, user: &UserId) -> Sql<Registers> {
    let sql = "SELECT draft, muted, mute_until, mentions_only FROM personal
               WHERE conv = ?1 AND user = ?2";
    let personal = row::first(conn, sql, (conv, user.as_str()), |row| {
        let draft: Option<String> = row.get(0)?;
        let mute = Mute {
            until: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            mentions_only: row.get(3)?,
        };
        Ok((draft, row.get::<_, bool>(1)?.then_some(mute)))
    })?;
    let (draft, mute) = personal.unwrap_or_default();
    Ok(Registers {
        marks: marks::load(conn, conv, user)?,
        draft: draft.map(JsonText::from),
        mute,
    })
}

/// Raises one device's cursor, not beyond the tail.
fn raise(conn: &Connection, cursor: &DeviceCursor) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO device_cursors (workspace, user, device, conv, seq)
         SELECT ?1, ?2, ?3, conv, min(?5, tail) FROM conversations WHERE id = ?4
         ON CONFLICT (workspace, user, device, conv)
         DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
        params![
            cursor.person.workspace.as_str(),
            cursor.person.user.as_str(),
            cursor.device.as_str(),
            cursor.conversation.as_str(),
            int(cursor.seq.0),
        ],
    )?;
    Ok(())
}
