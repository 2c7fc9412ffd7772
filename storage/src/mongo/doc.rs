//! Between documents and records.

use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use uuid::Uuid;

use crate::{
    Conversation, ConversationId, Entry, EntryId, Epoch, Key16, Member, Message, NewEntry, Seq,
    StoreError, Timestamp, UserId, WorkspaceId, numbered::Numbered,
};

/// The timeline of messages that answer in no thread.
const MAIN_LINE: &str = "main";

/// Numbers in documents are signed; what does not fit (nothing real) is capped.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A limit that every server takes.
pub(super) fn limit(limit: usize) -> i64 {
    i64::from(i32::try_from(limit.max(1)).unwrap_or(i32::MAX))
}

/// Bytes.
pub(super) fn bytes(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// A timeline: a thread, or the main one.
pub(super) fn line(thread: Option<EntryId>) -> String {
    thread.map_or_else(|| MAIN_LINE.to_owned(), |root| root.to_string())
}

/// A field that is missing or of another type.
pub(super) fn damaged(field: &str) -> StoreError {
    StoreError::Corrupt(format!("a document's field {field} does not decode"))
}

/// Typed fields of a document.
pub(super) trait Fields {
    /// A number.
    fn integer(&self, field: &str) -> Result<i64, StoreError>;
    /// Text.
    fn text(&self, field: &str) -> Result<&str, StoreError>;
    /// Text that may be missing.
    fn maybe_text(&self, field: &str) -> Option<&str>;
    /// Bytes of known length.
    fn array<const N: usize>(&self, field: &str) -> Result<[u8; N], StoreError>;
    /// Documents in a list, which may be missing.
    fn list(&self, field: &str) -> Vec<&Document>;

    /// A count.
    fn count(&self, field: &str) -> Result<u64, StoreError> {
        u64::try_from(self.integer(field)?).map_err(|_| damaged(field))
    }

    /// A place.
    fn seq(&self, field: &str) -> Result<Seq, StoreError> {
        self.count(field).map(Seq)
    }

    /// A place that may be missing.
    fn maybe_seq(&self, field: &str) -> Option<Seq> {
        self.seq(field).ok()
    }

    /// A person.
    fn user(&self, field: &str) -> Result<UserId, StoreError> {
        UserId::new(self.text(field)?).map_err(|_| damaged(field))
    }

    /// A conversation.
    fn conversation(&self, field: &str) -> Result<ConversationId, StoreError> {
        self.text(field).map(ConversationId::from_stored)
    }

    /// One of the numbered kinds.
    fn one_of<T: Numbered>(&self, field: &str) -> Result<T, StoreError> {
        T::from_number(self.integer(field)?).ok_or_else(|| damaged(field))
    }
}

impl Fields for Document {
    fn integer(&self, field: &str) -> Result<i64, StoreError> {
        match self.get(field) {
            Some(Bson::Int64(value)) => Ok(*value),
            Some(Bson::Int32(value)) => Ok(i64::from(*value)),
            _ => Err(damaged(field)),
        }
    }

    fn text(&self, field: &str) -> Result<&str, StoreError> {
        self.get_str(field).map_err(|_| damaged(field))
    }

    fn maybe_text(&self, field: &str) -> Option<&str> {
        self.get_str(field).ok()
    }

    fn array<const N: usize>(&self, field: &str) -> Result<[u8; N], StoreError> {
        let bytes = self.get_binary_generic(field).map_err(|_| damaged(field))?;
        bytes.as_slice().try_into().map_err(|_| damaged(field))
    }

    fn list(&self, field: &str) -> Vec<&Document> {
        let values = self.get_array(field).into_iter().flatten();
        values.filter_map(Bson::as_document).collect()
    }
}

/// Decodes a conversation.
pub(super) fn conversation(from: &Document) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: from.conversation("_id")?,
        workspace: WorkspaceId::new(from.text("workspace")?).map_err(|_| damaged("workspace"))?,
        kind: from.one_of("kind")?,
        name: from.maybe_text("name").map(str::to_owned),
        created_by: from.user("created_by")?,
        created_at: Timestamp(from.integer("created_at")?),
        tail: from.seq("tail")?,
        n: from.count("n")?,
        epoch: Epoch(from.count("epoch")?),
    })
}

/// Decodes an interval of a membership.
pub(super) fn member(from: &Document) -> Result<Member, StoreError> {
    Ok(Member {
        user: from.user("user")?,
        from_seq: from.seq("from")?,
        to_seq: from.maybe_seq("to"),
        role: from.one_of("role")?,
    })
}

/// An entry at a place; what follows from it is added by its effects.
pub(super) fn entry_document(
    conversation: &ConversationId,
    epoch: Epoch,
    (seq, n): (Seq, u64),
    entry: &NewEntry,
) -> Document {
    let mut document = doc! {
        "conv": conversation.as_str(),
        "seq": int(seq.0),
        "id": bytes(entry.id.0.as_bytes()),
        "key": bytes(&entry.keys.key.0),
        "hash": bytes(&entry.hash),
        "epoch": int(epoch.0),
        "n": int(n),
        "kind": entry.kind.number(),
        "sender": entry.sender.as_str(),
        "at": entry.at.0,
        "payload": &*entry.payload,
    };
    if let Some((id, seq)) = entry.target {
        document.insert("target_id", bytes(id.0.as_bytes()));
        document.insert("target_seq", int(seq.0));
    }
    document
}

/// Decodes an entry.
pub(super) fn entry(from: &Document) -> Result<Entry, StoreError> {
    let target = match from.maybe_seq("target_seq") {
        Some(seq) => Some((entry_id(from, "target_id")?, seq)),
        None => None,
    };
    Ok(Entry {
        seq: from.seq("seq")?,
        id: entry_id(from, "id")?,
        kind: from.one_of("kind")?,
        sender: from.user("sender")?,
        key: Key16(from.array("key")?),
        hash: from.array("hash")?,
        epoch: Epoch(from.count("epoch")?),
        n: from.count("n")?,
        target,
        payload: from.text("payload")?.into(),
        at: Timestamp(from.integer("at")?),
    })
}

/// Decodes an entry's id.
pub(super) fn entry_id(from: &Document, field: &str) -> Result<EntryId, StoreError> {
    from.array(field)
        .map(|bytes| EntryId(Uuid::from_bytes(bytes)))
}

/// The fields of an entry that are the folded view of its message, as of a place.
pub(super) fn view_fields(message: &Message, applied: Seq) -> Document {
    doc! {
        "line": line(message.thread_root),
        "deleted": message.deleted,
        "pinned": message.pinned,
        "text": &message.text,
        "body": &*message.body,
        "applied": int(applied.0),
    }
}

/// Decodes the view of a message out of its entry.
pub(super) fn message(from: &Document) -> Result<Message, StoreError> {
    let thread_root = match from.text("line")? {
        MAIN_LINE => None,
        root => Some(EntryId::parse(root).map_err(|_| damaged("line"))?),
    };
    Ok(Message {
        id: entry_id(from, "id")?,
        seq: from.seq("seq")?,
        sender: from.user("sender")?,
        at: Timestamp(from.integer("at")?),
        thread_root,
        deleted: from.get_bool("deleted").map_err(|_| damaged("deleted"))?,
        pinned: from.get_bool("pinned").map_err(|_| damaged("pinned"))?,
        text: from.text("text")?.to_owned(),
        body: from.text("body")?.into(),
        applied_seq: from.seq("applied")?,
    })
}
