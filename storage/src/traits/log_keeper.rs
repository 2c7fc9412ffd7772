//! What the keeper of the log must be able to do, which may keep nothing else.

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    Backlog, ConversationId, ConversationStore, Health, HotConversation, LogStore, LogUpkeep,
    Person, Store, StoreError, StreamCursor,
};

/// A store of conversations and their logs. Every whole [`Store`] is one.
#[async_trait]
pub trait LogKeeper: ConversationStore + LogStore + LogUpkeep + 'static {
    /// As [`Store::store_id`].
    fn log_id(&self) -> Uuid;

    /// As [`Store::health`].
    async fn log_health(&self) -> Health;

    /// As [`Store::close`].
    async fn close_log(&self);

    /// As [`QueueStore::backlog`](crate::QueueStore::backlog).
    async fn log_backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError>;

    /// As [`ProjectionStore::hot`](crate::ProjectionStore::hot).
    async fn hot_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError>;

    /// As [`ProjectionStore::all_conversations`](crate::ProjectionStore::all_conversations).
    async fn all_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError>;
}

#[async_trait]
impl<T: Store> LogKeeper for T {
    fn log_id(&self) -> Uuid {
        self.store_id()
    }

    async fn log_health(&self) -> Health {
        self.health().await
    }

    async fn close_log(&self) {
        self.close().await;
    }

    async fn log_backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        self.backlog(person, after, enough).await
    }

    async fn hot_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        self.hot(after, limit).await
    }

    async fn all_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.all_conversations(after, limit).await
    }
}
