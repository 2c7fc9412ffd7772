//! Taking content out of logs, and writing views anew.

use async_trait::async_trait;
use mongodb::bson::{Document, doc};

use super::{
    MongoLog,
    doc::{self, Fields, bytes, int},
    schema::{CONVERSATIONS, ENTRIES, HIDDEN, MEMBERS},
};
use crate::{
    AppendError, ConversationId, Epoch, JsonText, LogUpkeep, Message, Person, Seq, StoreError,
    UserId,
};

/// Entries cleaned with one request, so that none of them takes long.
const STRETCH: u64 = 1_000;

#[async_trait]
impl LogUpkeep for MongoLog {
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let members = self.db.collection(MEMBERS);
        let of = doc! {
            "workspace": person.workspace.as_str(),
            "user": person.user.as_str(),
            "conv": { "$gt": after.map_or("", ConversationId::as_str) },
        };
        // Somebody who came back has several intervals in one conversation, but never many.
        let found = members.find(of).projection(doc! { "conv": 1 });
        let found = self.db.all(found).await?;
        let ids = found.iter().map(|interval| interval.conversation("conv"));
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }

    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError> {
        let tail = self.tail(id).await?.unwrap_or_default();
        for (seq, payload) in payloads.into_iter().filter(|(seq, _)| *seq <= tail) {
            let place = doc! { "conv": id.as_str(), "seq": int(seq.0) };
            let change = doc! { "$set": { "payload": &*payload }, "$unset": { "effects": "" } };
            self.update(ENTRIES, place, change).await?;
            step!(self, Redacted);
        }
        Ok(())
    }

    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        let hidden = self.db.collection(HIDDEN);
        let of = doc! { "conv": id.as_str(), "user": user.as_str() };
        self.db
            .write(hidden.delete_many(of).into_future())
            .await
            .map(drop)
    }

    /// Every write is guarded by what the view has applied. Looking at the epoch again afterwards
    /// tells whether somebody may have decided by a view as it was before.
    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError> {
        self.owned(id, epoch).await?;
        self.check_places(id, &views).await?;
        for view in &views {
            let filter = doc! {
                "conv": id.as_str(),
                "seq": int(view.seq.0),
                "$or": [
                    { "applied": { "$lte": int(view.applied_seq.0) } },
                    { "applied": { "$exists": false } },
                ],
            };
            let fields = doc! { "$set": doc::view_fields(view, view.applied_seq) };
            self.update(ENTRIES, filter, fields).await?;
        }
        self.owned(id, epoch).await
    }

    /// What entries asked for stays in their documents for recovery, and holds views as they were.
    /// Of entries that are part of the log it has been done.
    async fn scrub(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        for id in ids {
            let tail = self.tail(id).await?.unwrap_or_default();
            for after in (0..tail.0).step_by(usize::try_from(STRETCH).unwrap_or(usize::MAX)) {
                let to = tail.0.min(after + STRETCH);
                self.forget_effects(id, after, to).await?;
            }
        }
        Ok(())
    }
}

impl MongoLog {
    async fn owned(&self, id: &ConversationId, epoch: Epoch) -> Result<(), AppendError> {
        let owned = doc! { "_id": id.as_str(), "epoch": int(epoch.0) };
        let conversations = self.db.collection(CONVERSATIONS);
        let found = self
            .db
            .read(conversations.find_one(owned).into_future())
            .await?;
        found.map(drop).ok_or(AppendError::Fenced)
    }

    async fn check_places(&self, id: &ConversationId, views: &[Message]) -> Result<(), StoreError> {
        let place =
            |view: &Message| doc! { "seq": int(view.seq.0), "id": bytes(view.id.0.as_bytes()) };
        let places: Vec<Document> = views.iter().map(place).collect();
        if places.is_empty() {
            return Ok(());
        }
        let entries = self.db.collection(ENTRIES);
        let found = entries
            .find(doc! { "conv": id.as_str(), "$or": places })
            .projection(doc! { "seq": 1 });
        match self.db.all(found).await?.len() == views.len() {
            true => Ok(()),
            false => Err(StoreError::Invalid(format!(
                "a view of a message that {id} does not have"
            ))),
        }
    }

    async fn forget_effects(
        &self,
        id: &ConversationId,
        after: u64,
        to: u64,
    ) -> Result<(), StoreError> {
        let done = doc! {
            "conv": id.as_str(),
            "seq": { "$gt": int(after), "$lte": int(to) },
            "effects": { "$exists": true },
        };
        let entries = self.db.collection(ENTRIES);
        let forget = doc! { "$unset": { "effects": "" } };
        self.db
            .write(entries.update_many(done, forget).into_future())
            .await
            .map(drop)
    }
}
