//! The log, with the marks that follow from it.

use async_trait::async_trait;

use super::{Composed, Registers, fold::Intent};
use crate::{
    AcquireError, Acquired, Append, AppendError, Appended, Claim, ConversationId, Entry, Epoch,
    Key16, LogStore, Member, Message, MessageId, MessageSearch, Missed, Page, Person, Seq,
    StoreError, StreamCursor, UserId,
};

#[async_trait]
impl LogStore for Composed {
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError> {
        let acquired = self.log.acquire(id, claim).await?;
        if let Registers::Detached(_, folder) = &self.registers {
            let tail = acquired.conversation.tail;
            folder.taken(id, tail, &acquired.members).await;
        }
        Ok(acquired)
    }

    async fn append(&self, mut parts: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let Registers::Detached(_, folder) = &self.registers else {
            return self.log.append(parts).await;
        };
        let intents: Vec<Intent> = parts.iter_mut().map(Intent::take).collect();
        let results = self.log.append(parts).await;
        let done = intents.into_iter().zip(&results);
        let done = done.filter_map(|(intent, result)| Some((intent, result.clone().ok()?)));
        folder.appended(done.collect()).await;
        results
    }

    async fn release(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        self.log.release(id, epoch, tail).await
    }

    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError> {
        self.log.by_keys(id, keys).await
    }

    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.log.entries(id, after, limit).await
    }

    async fn tails(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        self.log.tails(ids).await
    }

    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        self.log.messages(id, ids).await
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
        self.log
            .history(id, visible, hidden_for, thread, page, limit)
            .await
    }

    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        self.log.search(id, search).await
    }

    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        self.log.hide_message(id, user, message).await
    }

    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError> {
        self.log.pinned(id).await
    }

    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        self.log.missed(person, after, limit).await
    }

    async fn complete_stream(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        self.log.complete_stream(ids).await
    }

    async fn cursor_now(&self) -> Result<StreamCursor, StoreError> {
        self.log.cursor_now().await
    }

    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError> {
        self.log.cursor_valid(cursor).await
    }

    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64> {
        self.log.cursor_rank(cursor)
    }

    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError> {
        self.log.counts(places).await
    }

    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError> {
        self.log.cursor_of(id, seq).await
    }
}
