//! Between rows and records.

use std::sync::Arc;

use mysql_async::{FromValueError, Row, Value, prelude::FromValue};
use uuid::Uuid;

use super::fault::{Fault, Sql};
pub(super) use crate::numbered::Numbered;
use crate::{
    Conversation, ConversationId, Entry, EntryId, Epoch, Key16, Member, Message, Seq, Timestamp,
    UserId, WorkspaceId,
};

/// Typed columns. Values are taken out of the row, each once.
pub(super) trait Columns {
    /// A value of a type that the driver knows.
    fn value<T: FromValue>(&mut self, index: usize) -> Sql<T>;

    /// A count.
    fn count(&mut self, index: usize) -> Sql<u64> {
        let value: i64 = self.value(index)?;
        u64::try_from(value)
            .map_err(|_| Fault::Corrupt(format!("column {index} holds the count {value}")))
    }

    /// A place.
    fn seq(&mut self, index: usize) -> Sql<Seq> {
        self.count(index).map(Seq)
    }

    /// A place; NULL is none.
    fn maybe_seq(&mut self, index: usize) -> Sql<Option<Seq>> {
        let value: Option<i64> = self.value(index)?;
        let seq = value.map(u64::try_from).transpose();
        seq.map(|seq| seq.map(Seq))
            .map_err(|_| Fault::Corrupt(format!("column {index} holds no place")))
    }

    /// A moment.
    fn at(&mut self, index: usize) -> Sql<Timestamp> {
        self.value(index).map(Timestamp)
    }

    /// Text.
    fn string(&mut self, index: usize) -> Sql<String> {
        let bytes: Vec<u8> = self.value(index)?;
        String::from_utf8(bytes)
            .map_err(|_| Fault::Corrupt(format!("column {index} holds no text")))
    }

    /// Text; NULL is none.
    fn maybe_string(&mut self, index: usize) -> Sql<Option<String>> {
        let bytes: Option<Vec<u8>> = self.value(index)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| Fault::Corrupt(format!("column {index} holds no text")))
    }

    /// Shared text.
    fn text(&mut self, index: usize) -> Sql<Arc<str>> {
        self.string(index).map(Arc::from)
    }

    /// A person's id.
    fn user(&mut self, index: usize) -> Sql<UserId> {
        let text = self.string(index)?;
        UserId::new(text).map_err(|error| Fault::Corrupt(error.to_string()))
    }

    /// A tenant's id.
    fn workspace(&mut self, index: usize) -> Sql<WorkspaceId> {
        let text = self.string(index)?;
        WorkspaceId::new(text).map_err(|error| Fault::Corrupt(error.to_string()))
    }

    /// A conversation's id.
    fn conversation_id(&mut self, index: usize) -> Sql<ConversationId> {
        self.string(index).map(ConversationId::from_stored)
    }

    /// Bytes of known length.
    fn bytes<const N: usize>(&mut self, index: usize) -> Sql<[u8; N]> {
        let bytes: Vec<u8> = self.value(index)?;
        bytes
            .try_into()
            .map_err(|_| Fault::Corrupt(format!("column {index} does not hold {N} bytes")))
    }

    /// A UUID; NULL is none.
    fn maybe_uuid(&mut self, index: usize) -> Sql<Option<Uuid>> {
        let bytes: Option<Vec<u8>> = self.value(index)?;
        let uuid = bytes.map(|bytes| Uuid::from_slice(&bytes)).transpose();
        uuid.map_err(|_| Fault::Corrupt(format!("column {index} holds no id")))
    }

    /// An entry's id.
    fn entry_id(&mut self, index: usize) -> Sql<EntryId> {
        self.bytes(index)
            .map(|bytes| EntryId(Uuid::from_bytes(bytes)))
    }

    /// One of the numbered kinds.
    fn one_of<T: Numbered>(&mut self, index: usize) -> Sql<T> {
        let number: i64 = self.value(index)?;
        T::from_number(number)
            .ok_or_else(|| Fault::Corrupt(format!("column {index} holds the kind {number}")))
    }
}

impl Columns for Row {
    fn value<T: FromValue>(&mut self, index: usize) -> Sql<T> {
        let wrong = || Fault::Corrupt(format!("column {index} is not of its type"));
        let value = self.take_opt::<T, usize>(index).ok_or_else(wrong)?;
        value.map_err(|FromValueError(_)| wrong())
    }
}

/// The server's integers are signed; what does not fit (nothing real) is capped.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A limit as a number of rows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A parameter.
pub(super) fn p(value: impl Into<Value>) -> Value {
    value.into()
}

/// An entry's id as a parameter.
pub(super) fn id(id: &EntryId) -> Value {
    Value::Bytes(id.0.as_bytes().to_vec())
}

/// `(?,?),(?,?)`: so many groups of so many parameters.
pub(super) fn groups(count: usize, width: usize) -> String {
    let group = format!("({})", marks(width));
    vec![group; count].join(",")
}

/// `?,?,?`: so many parameters.
pub(super) fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}

/// The columns that [`entry`] reads, of `entries` as `e`.
pub(super) const ENTRY: &str = "e.seq, e.id, e.kind, e.sender, e.key16, e.hash, e.epoch, e.n, \
                                e.target_id, e.target_seq, e.payload, e.at";

/// Decodes the columns of [`ENTRY`], which begin at a column.
pub(super) fn entry(row: &mut Row, start: usize) -> Sql<Entry> {
    let target = match (row.maybe_uuid(start + 8)?, row.maybe_seq(start + 9)?) {
        (Some(id), Some(seq)) => Some((EntryId(id), seq)),
        _ => None,
    };
    Ok(Entry {
        seq: row.seq(start)?,
        id: row.entry_id(start + 1)?,
        kind: row.one_of(start + 2)?,
        sender: row.user(start + 3)?,
        key: Key16(row.bytes(start + 4)?),
        hash: row.bytes(start + 5)?,
        epoch: Epoch(row.count(start + 6)?),
        n: row.count(start + 7)?,
        target,
        payload: row.text(start + 10)?,
        at: row.at(start + 11)?,
    })
}

/// The columns that [`message`] reads, of `messages` as `m`.
pub(super) const MESSAGE: &str =
    "m.id, m.seq, m.sender, m.at, m.thread, m.deleted, m.pinned, m.words, m.body, m.applied_seq";

/// Decodes the columns of [`MESSAGE`].
pub(super) fn message(row: &mut Row) -> Sql<Message> {
    Ok(Message {
        id: row.entry_id(0)?,
        seq: row.seq(1)?,
        sender: row.user(2)?,
        at: row.at(3)?,
        thread_root: row.maybe_uuid(4)?.map(EntryId),
        deleted: row.value(5)?,
        pinned: row.value(6)?,
        text: row.string(7)?,
        body: row.text(8)?,
        applied_seq: row.seq(9)?,
    })
}

/// The columns that [`conversation`] reads, of `conversations` as `c`.
pub(super) const CONVERSATION: &str =
    "c.id, c.workspace, c.kind, c.name, c.created_by, c.created_at, c.tail, c.n, c.epoch";

/// Decodes the columns of [`CONVERSATION`].
pub(super) fn conversation(row: &mut Row) -> Sql<Conversation> {
    Ok(Conversation {
        id: row.conversation_id(0)?,
        workspace: row.workspace(1)?,
        kind: row.one_of(2)?,
        name: row.maybe_string(3)?,
        created_by: row.user(4)?,
        created_at: row.at(5)?,
        tail: row.seq(6)?,
        n: row.count(7)?,
        epoch: Epoch(row.count(8)?),
    })
}

/// Decodes `user, from_seq, to_seq, role`.
pub(super) fn member(row: &mut Row) -> Sql<Member> {
    Ok(Member {
        user: row.user(0)?,
        from_seq: row.seq(1)?,
        to_seq: row.maybe_seq(2)?,
        role: row.one_of(3)?,
    })
}
