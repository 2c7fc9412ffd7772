//! The logs, as every store has them.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use mongodb::bson::{Document, doc};

use super::{
    MongoLog,
    doc::{self, Fields, bytes, int, limit as at_most},
    schema::{CONVERSATIONS, ENTRIES},
    stream,
};
use crate::{
    AcquireError, Acquired, Append, AppendError, Appended, Claim, ConversationId,
    ConversationStore, Entry, Epoch, Key16, LogStore, Member, Message, MessageId, MessageSearch,
    Missed, Page, Person, Seq, StoreError, StreamCursor, UserId, position,
};

#[async_trait]
impl LogStore for MongoLog {
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError> {
        let epoch = self.take(id, claim).await?;
        // Whoever takes over in between only makes this state newer, and its epoch void.
        let conversation = self.conversation(id).await?;
        let mut conversation = conversation.ok_or(AcquireError::NotFound)?;
        conversation.epoch = epoch;
        Ok(Acquired {
            conversation,
            members: self.members(id, None, usize::MAX).await?,
        })
    }

    async fn append(&self, parts: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let each = parts.iter().map(|part| async move {
            let Ok(_permit) = self.appends.try_acquire() else {
                return Err(StoreError::Overloaded.into());
            };
            Box::pin(self.append_one(part)).await
        });
        join_all(each).await
    }

    async fn release(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        let at_rest = doc! { "_id": id.as_str(), "epoch": int(epoch.0), "tail": int(tail.0) };
        let cold = doc! { "$set": { "hot": false } };
        self.update(CONVERSATIONS, at_rest, cold).await.map(drop)
    }

    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError> {
        let keys: Vec<_> = keys.iter().map(|key| bytes(&key.0)).collect();
        self.confirmed(id, doc! { "key": { "$in": keys } }, usize::MAX)
            .await
    }

    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let behind = doc! { "seq": { "$gt": int(after.0) } };
        self.confirmed(id, behind, limit).await
    }

    async fn tails(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        let ids: Vec<&str> = ids.iter().map(ConversationId::as_str).collect();
        let conversations = self.db.collection(CONVERSATIONS);
        let found = conversations
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "tail": 1 });
        let found = self.db.all(found).await?;
        let tails = found.iter();
        tails
            .map(|found| Ok((found.conversation("_id")?, found.seq("tail")?)))
            .collect()
    }

    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        self.messages_by_id(id, ids).await
    }

    async fn history(
        &self,
        id: &ConversationId,
        visible: &[Member],
        hidden_for: &UserId,
        thread: Option<MessageId>,
        page: Page,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        match self.conversation(id).await? {
            Some(found) => {
                self.history_page(&found, visible, hidden_for, thread, page, limit)
                    .await
            }
            None => Ok(Vec::new()),
        }
    }

    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        self.search_messages(id, search).await
    }

    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        self.hide(id, user, message).await
    }

    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError> {
        self.pinned_messages(id).await
    }

    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        let newest = stream::newest(&self.db).await?;
        match position::parse(self.store_id, after) {
            Some(after) if after <= newest => self.page(person, after, newest, limit).await,
            _ => Ok(Missed {
                entries: Vec::new(),
                next: position::format(self.store_id, newest),
                more: false,
            }),
        }
    }

    /// Whoever confirms entries puts them into the stream next, and may die in between. Only a
    /// conversation that is hot can have such.
    async fn complete_stream(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        let ids: Vec<&str> = ids.iter().map(ConversationId::as_str).collect();
        let conversations = self.db.collection(CONVERSATIONS);
        let hot = conversations
            .find(doc! { "_id": { "$in": ids }, "hot": true })
            .projection(doc! { "tail": 1 });
        let hot = self.db.all(hot).await?;
        let completed = hot.iter().map(|found| async move {
            let (id, tail) = (found.conversation("_id")?, found.seq("tail")?);
            self.stream.publish(&self.db, &id, tail).await
        });
        try_join_all(completed).await.map(drop)
    }

    async fn cursor_now(&self) -> Result<StreamCursor, StoreError> {
        let newest = stream::newest(&self.db).await?;
        Ok(position::format(self.store_id, newest))
    }

    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError> {
        match position::parse(self.store_id, cursor) {
            Some(pos) => Ok(pos <= stream::newest(&self.db).await?),
            None => Ok(false),
        }
    }

    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64> {
        position::parse(self.store_id, cursor)
    }

    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError> {
        let wanted = places.iter().filter(|(_, seq)| *seq > Seq(0));
        let wanted: Vec<Document> = wanted
            .map(|(id, seq)| doc! { "conv": id.as_str(), "seq": int(seq.0) })
            .collect();
        let mut counts: HashMap<(ConversationId, Seq), u64> = HashMap::new();
        if !wanted.is_empty() {
            let entries = self.db.collection(ENTRIES);
            let found = entries
                .find(doc! { "$or": wanted })
                .projection(doc! { "conv": 1, "seq": 1, "n": 1 });
            for found in self.db.all(found).await? {
                let place = (found.conversation("conv")?, found.seq("seq")?);
                counts.insert(place, found.count("n")?);
            }
        }
        let counts = places.iter().map(|place| counts.get(place).copied());
        Ok(counts.map(Option::unwrap_or_default).collect())
    }

    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError> {
        let pos = self.position(id, seq).await?;
        Ok(position::format(self.store_id, pos))
    }
}

impl MongoLog {
    /// Entries up to the tail: what lies behind it is not confirmed.
    async fn confirmed(
        &self,
        id: &ConversationId,
        which: Document,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let Some(tail) = self.tail(id).await? else {
            return Ok(Vec::new());
        };
        let upto = doc! { "seq": { "$lte": int(tail.0) } };
        let entries = self.db.collection(ENTRIES);
        let found = entries
            .find(doc! { "conv": id.as_str(), "$and": [which, upto] })
            .sort(doc! { "seq": 1 })
            .limit(at_most(limit));
        self.db.all(found).await?.iter().map(doc::entry).collect()
    }
}
