//! What people are told of their memberships, and of messages that mention them, in their own
//! conversations. It is told as soon as the entry is written; here it is made sure that it was.
//! And what people decided there for all their devices, as the store keeps it.

use std::sync::Arc;

use async_trait::async_trait;
use quikapp_storage::{Consumer, Entry, ProjectionStep, SharedStore, StoreError};

use crate::{
    Clock,
    conversation::{Conversations, concerns_somebody},
    delivery::Projection,
    documents,
};

/// See the module.
pub(in crate::delivery) struct Notices {
    pub(in crate::delivery) store: SharedStore,
    pub(in crate::delivery) conversations: Conversations,
    pub(in crate::delivery) clock: Arc<dyn Clock>,
    /// Of what is older nobody is told any more: whoever was away for so long begins anew.
    pub(in crate::delivery) told_within_ms: u64,
}

#[async_trait]
impl Projection for Notices {
    fn consumer(&self) -> Consumer {
        Consumer::NOTICES
    }

    fn is_sparse(&self) -> bool {
        true
    }

    /// The cursor follows the effect: what has been told already is known by its key.
    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        documents::fold(&self.store, &step.conversation, entries).await?;
        let now = self.clock.now();
        let is_told = |entry: &&Entry| {
            now.since_ms(entry.at) <= self.told_within_ms && concerns_somebody(entry)
        };
        let entries: Vec<&Entry> = entries.iter().filter(is_told).collect();
        if !entries.is_empty() {
            let told = self.conversations.tell_late(&step.conversation, &entries);
            let told = told.await;
            told.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        self.store.move_projection(step).await
    }
}
