//! The event feed: the entries of all conversations for a reader outside, in the order of each.

use quikapp_storage::{
    Consumer, ConversationId, Entry, ProjectionStep, Seq, SharedStore, StoreError,
};

use super::tails::Tails;

/// Hot conversations looked at together.
const PAGE: usize = 256;

/// A reader of the feed, with a durable place in every conversation. It pulls, and says when what
/// it pulled is safe; until then it is given the same again. Whoever is slow holds up nobody:
/// what it has not seen stays in the log.
#[derive(Clone)]
pub struct Feed {
    pub(super) consumer: Consumer,
    pub(super) store: SharedStore,
    pub(super) tails: Tails,
}

/// Entries to deal with, in the order of their conversations.
#[derive(Debug, Default)]
pub struct FeedBatch {
    /// The entries.
    pub entries: Vec<(ConversationId, Entry)>,
    steps: Vec<ProjectionStep>,
}

impl Feed {
    /// The next entries, at most `limit`; none when the reader has seen everything.
    pub async fn pull(&self, limit: usize) -> Result<FeedBatch, StoreError> {
        let mut batch = FeedBatch::default();
        let mut after = None;
        loop {
            let hot = self.store.hot(after.as_ref(), PAGE).await?;
            let ids: Vec<ConversationId> = hot.iter().map(|hot| hot.id.clone()).collect();
            let places = self.store.projected(&self.consumer, &ids).await?;
            for (hot, seen) in hot.iter().zip(places) {
                if seen < hot.tail && batch.entries.len() < limit {
                    self.add(&mut batch, &hot.id, seen, limit).await?;
                }
            }
            after = ids.last().cloned();
            if ids.len() < PAGE || batch.entries.len() >= limit {
                return Ok(batch);
            }
        }
    }

    async fn add(
        &self,
        batch: &mut FeedBatch,
        id: &ConversationId,
        from: Seq,
        limit: usize,
    ) -> Result<(), StoreError> {
        let room = limit - batch.entries.len();
        let entries = self.store.entries(id, from, room).await?;
        if let Some(last) = entries.last() {
            batch.steps.push(ProjectionStep {
                consumer: self.consumer.clone(),
                conversation: id.clone(),
                from,
                to: last.seq,
            });
        }
        let entries = entries.into_iter().map(|entry| (id.clone(), entry));
        batch.entries.extend(entries);
        Ok(())
    }

    /// What was pulled is safe: the reader goes on behind it. Says whether it was the first to
    /// say so of all of it.
    pub async fn commit(&self, batch: &FeedBatch) -> Result<bool, StoreError> {
        let mut is_first = true;
        for step in &batch.steps {
            is_first &= self.store.move_projection(step).await?;
            self.tails.settle(&self.store, &step.conversation).await?;
        }
        Ok(is_first)
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({})", self.consumer)
    }
}
