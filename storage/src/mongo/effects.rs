//! What follows from an entry. The view of its own message is part of the entry's document and so
//! is written with it; everything else is kept in the document as well, and done before the entry
//! is confirmed, by whoever appends it or takes the conversation after a crash. Each is guarded by
//! the entry's place, so that doing it again, or late, changes nothing.

use mongodb::bson::{Bson, Document, doc};

use super::{
    MongoLog,
    doc::{self, Fields, int},
    schema::{CONVERSATIONS, ENTRIES, MEMBERS},
};
use crate::{ConversationId, EntryEffect, NewEntry, Seq, StoreError, numbered::Numbered};

/// Puts into an entry's document what follows from it.
pub(super) fn attach(document: &mut Document, entry: &NewEntry, at: Seq) {
    let mut effects = Vec::new();
    for effect in &entry.effects {
        let kept = match effect {
            EntryEffect::PutMessage(message) => {
                let fields = doc::view_fields(message, at);
                if message.id == entry.id {
                    document.extend(fields);
                    continue;
                }
                doc! { "do": "view", "seq": int(message.seq.0), "view": fields }
            }
            EntryEffect::OpenMember { user, role } => {
                doc! { "do": "open", "user": user.as_str(), "role": role.number() }
            }
            EntryEffect::CloseMember { user } => doc! { "do": "close", "user": user.as_str() },
            EntryEffect::SetRole { user, role } => {
                doc! { "do": "role", "user": user.as_str(), "role": role.number() }
            }
            EntryEffect::Redact { seq, payload } => {
                doc! { "do": "redact", "seq": int(seq.0), "payload": &**payload }
            }
            EntryEffect::SetName(name) => doc! { "do": "name", "name": name.as_deref() },
            // Marks are registers, and those are in another store.
            EntryEffect::ReadUpToHere { .. } => continue,
        };
        effects.push(Bson::Document(kept));
    }
    if !effects.is_empty() {
        document.insert("effects", effects);
    }
}

impl MongoLog {
    /// Does what follows from an entry.
    pub(super) async fn apply(
        &self,
        id: &ConversationId,
        workspace: &str,
        entry: &Document,
    ) -> Result<(), StoreError> {
        let at = entry.seq("seq")?;
        for effect in entry.list("effects") {
            match effect.text("do")? {
                "view" => self.put_view(id, at, effect).await?,
                "open" => self.open_member(id, workspace, at, effect).await?,
                "close" => self.close_member(id, at, effect).await?,
                "role" => self.set_role(id, at, effect).await.map(drop)?,
                "redact" => self.redact(id, at, effect).await?,
                "name" => self.set_name(id, at, effect).await?,
                other => {
                    let problem = format!("an entry asks for {other}, which is not known");
                    return Err(StoreError::Corrupt(problem));
                }
            }
        }
        Ok(())
    }

    async fn put_view(
        &self,
        id: &ConversationId,
        at: Seq,
        effect: &Document,
    ) -> Result<(), StoreError> {
        let view = effect.get_document("view");
        let view = view.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let filter = doc! {
            "conv": id.as_str(),
            "seq": effect.integer("seq")?,
            // An entry that has no view yet has applied nothing.
            "$or": [{ "applied": { "$lt": int(at.0) } }, { "applied": { "$exists": false } }],
        };
        self.update(ENTRIES, filter, doc! { "$set": view.clone() })
            .await
            .map(drop)
    }

    /// Opens an interval here, unless one covers this place already.
    async fn open_member(
        &self,
        id: &ConversationId,
        workspace: &str,
        at: Seq,
        effect: &Document,
    ) -> Result<(), StoreError> {
        if self.set_role(id, at, effect).await? {
            return Ok(());
        }
        let user = effect.text("user")?;
        let covered = self.interval_at(id, user, at);
        let members = self.db.collection(MEMBERS);
        let found = self
            .db
            .read(members.find_one(covered).into_future())
            .await?;
        if found.is_some() {
            return Ok(());
        }
        let interval = doc! {
            "conv": id.as_str(),
            "user": user,
            "from": int(at.0),
            "to": Bson::Null,
            "role": effect.integer("role")?,
            "workspace": workspace,
            "applied": int(at.0),
        };
        self.db
            .insert_new(members.insert_one(interval).into_future())
            .await
            .map(drop)
    }

    async fn close_member(
        &self,
        id: &ConversationId,
        at: Seq,
        effect: &Document,
    ) -> Result<(), StoreError> {
        let filter = doc! {
            "conv": id.as_str(),
            "user": effect.text("user")?,
            "from": { "$lte": int(at.0) },
            "to": Bson::Null,
        };
        let to = doc! { "$set": { "to": int(at.0) } };
        self.update(MEMBERS, filter, to).await.map(drop)
    }

    /// Whether there was a membership at this place whose role nothing later has changed.
    async fn set_role(
        &self,
        id: &ConversationId,
        at: Seq,
        effect: &Document,
    ) -> Result<bool, StoreError> {
        let mut filter = self.interval_at(id, effect.text("user")?, at);
        filter.insert("applied", doc! { "$lt": int(at.0) });
        let role = doc! { "$set": { "role": effect.integer("role")?, "applied": int(at.0) } };
        self.update(MEMBERS, filter, role).await
    }

    fn interval_at(&self, id: &ConversationId, user: &str, at: Seq) -> Document {
        doc! {
            "conv": id.as_str(),
            "user": user,
            "from": { "$lte": int(at.0) },
            "$or": [{ "to": Bson::Null }, { "to": { "$gte": int(at.0) } }],
        }
    }

    /// What an edit would have put into the view goes with its payload.
    async fn redact(
        &self,
        id: &ConversationId,
        at: Seq,
        effect: &Document,
    ) -> Result<(), StoreError> {
        let filter = doc! {
            "conv": id.as_str(),
            "seq": effect.integer("seq")?,
            "$or": [{ "redacted": { "$lt": int(at.0) } }, { "redacted": { "$exists": false } }],
        };
        let change = doc! {
            "$set": { "payload": effect.text("payload")?, "redacted": int(at.0) },
            "$unset": { "effects": "" },
        };
        self.update(ENTRIES, filter, change).await.map(drop)
    }

    async fn set_name(
        &self,
        id: &ConversationId,
        at: Seq,
        effect: &Document,
    ) -> Result<(), StoreError> {
        let filter = doc! { "_id": id.as_str(), "name_seq": { "$lt": int(at.0) } };
        let name = doc! { "$set": { "name": effect.maybe_text("name"), "name_seq": int(at.0) } };
        self.update(CONVERSATIONS, filter, name).await.map(drop)
    }

    /// Changes one document; whether there was one.
    pub(super) async fn update(
        &self,
        collection: &str,
        filter: Document,
        change: Document,
    ) -> Result<bool, StoreError> {
        let collection = self.db.collection(collection);
        let done = self
            .db
            .write(collection.update_one(filter, change).into_future())
            .await?;
        Ok(done.matched_count > 0)
    }
}
