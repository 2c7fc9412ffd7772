//! The event feed: the entries of all conversations for a reader outside, in the order of each.

use std::sync::Arc;

use parking_lot::Mutex;
use quikapp_storage::{
    Consumer, ConversationId, Entry, HotConversation, ProjectionStep, SharedStore, StoreError,
};
use tokio::time::Instant;

use super::{
    reader::Reader,
    tails::{Lag, Tails},
};

/// Hot conversations looked at together.
const PAGE: usize = 256;

/// A reader of the feed, with a durable place in every conversation. It pulls, and says when what
/// it pulled is safe; until then it is given the same again. Whoever is slow holds up nobody:
/// what it has not seen stays in the log.
///
/// It is given what it has not seen of conversations that are hot. One that was at rest when the
/// reader was configured first is not, until somebody writes there; then it is given from its
/// beginning. [`rebuild`](super::rebuild) of the feed gives it all of them.
#[derive(Clone)]
pub struct Feed {
    reader: Arc<Reader>,
    store: SharedStore,
    tails: Tails,
    /// The conversation that the reader committed last: the next batch begins behind it, so that
    /// each conversation has its turn, however much there is of another.
    turn: Arc<Mutex<Option<ConversationId>>>,
}

/// Entries to deal with, in the order of their conversations.
#[derive(Debug, Default)]
pub struct FeedBatch {
    /// The entries.
    pub entries: Vec<(ConversationId, Entry)>,
    parts: Vec<Part>,
}

/// A conversation's part of a batch.
#[derive(Debug)]
struct Part {
    step: ProjectionStep,
    is_to_the_end: bool,
}

impl Feed {
    pub(super) fn new(reader: Arc<Reader>, store: &SharedStore, tails: &Tails) -> Self {
        Self {
            reader,
            store: Arc::clone(store),
            tails: tails.clone(),
            turn: Arc::default(),
        }
    }

    pub(super) fn consumer(&self) -> &Consumer {
        self.reader.consumer()
    }

    /// How far the reader is behind, as far as this process knows.
    pub(super) fn lag(&self) -> Lag {
        self.reader.lag()
    }

    /// The next entries, at most `limit`; none when the reader has seen everything.
    pub async fn pull(&self, limit: usize) -> Result<FeedBatch, StoreError> {
        let mut batch = FeedBatch::default();
        let turn = self.turn.lock().clone();
        self.gather(&mut batch, turn.as_ref(), None, limit).await?;
        if turn.is_some() {
            self.gather(&mut batch, None, turn.as_ref(), limit).await?;
        }
        Ok(batch)
    }

    /// Adds what there is behind one conversation, up to another and with it.
    async fn gather(
        &self,
        batch: &mut FeedBatch,
        after: Option<&ConversationId>,
        last: Option<&ConversationId>,
        limit: usize,
    ) -> Result<(), StoreError> {
        let mut after = after.cloned();
        while batch.entries.len() < limit {
            let mut hot = self.store.hot(after.as_ref(), PAGE).await?;
            hot.retain(|hot| last.is_none_or(|last| hot.id <= *last));
            self.add_unseen(batch, &hot, limit).await?;
            after = hot.last().map(|hot| hot.id.clone());
            if hot.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    /// Adds what the reader has not seen of some conversations.
    async fn add_unseen(
        &self,
        batch: &mut FeedBatch,
        hot: &[HotConversation],
        limit: usize,
    ) -> Result<(), StoreError> {
        let ids: Vec<ConversationId> = hot.iter().map(|hot| hot.id.clone()).collect();
        let places = self.store.projected(self.consumer(), &ids).await?;
        for (hot, from) in hot.iter().zip(places) {
            let room = limit - batch.entries.len();
            if from >= hot.tail || room == 0 {
                continue;
            }
            let entries = self.store.entries(&hot.id, from, room).await?;
            let Some(last) = entries.last() else {
                continue;
            };
            batch.parts.push(Part {
                step: ProjectionStep {
                    consumer: self.consumer().clone(),
                    conversation: hot.id.clone(),
                    from,
                    to: last.seq,
                },
                is_to_the_end: last.seq >= hot.tail,
            });
            let entries = entries.into_iter().map(|entry| (hot.id.clone(), entry));
            batch.entries.extend(entries);
        }
        Ok(())
    }

    /// What was pulled is safe: the reader goes on behind it. Says whether it was the first to
    /// say so of all of it.
    pub async fn commit(&self, batch: &FeedBatch) -> Result<bool, StoreError> {
        let mut is_first = true;
        for Part {
            step,
            is_to_the_end,
        } in &batch.parts
        {
            let id = &step.conversation;
            is_first &= self.store.move_projection(step).await?;
            self.reader.went_on(id, *is_to_the_end, Instant::now());
            self.tails.settle(&self.store, id).await?;
            *self.turn.lock() = Some(id.clone());
        }
        Ok(is_first)
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({})", self.consumer())
    }
}
