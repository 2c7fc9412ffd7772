//! Which conversations have grown since a projection saw them.
//!
//! Between the sequencers, which only ever insert and never wait, and the projections, which take
//! when they can. A lane holds at most [`MOST`] conversations; what does not fit is found again by
//! looking through what is hot.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use parking_lot::{Mutex, RwLock};
use quikapp_storage::{Consumer, ConversationId, Epoch, Seq, SharedStore, StoreError};
use tokio::{sync::Notify, time::Instant};

use crate::users::Changes;

/// Conversations that wait in one lane, or to be released.
const MOST: usize = 65_536;

/// What is told of conversations, and to whom. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tails(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// Everybody whom a conversation waits for before it is at rest.
    consumers: RwLock<Vec<Consumer>>,
    /// Conversations that nobody sequences here any more, and that some projection is behind of.
    retired: Mutex<IndexMap<ConversationId, (Epoch, Seq)>>,
    changes: Changes,
}

/// What one projection has to see.
#[derive(Debug)]
pub(super) struct Lane {
    consumer: Consumer,
    is_sparse: bool,
    behind: Mutex<Behind>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Behind {
    conversations: IndexMap<ConversationId, Instant>,
    /// Some did not fit.
    overflowed: bool,
}

/// How far a lane is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lag {
    /// Conversations that have grown and were not taken.
    pub(super) conversations: usize,
    /// For how long the first of them has waited.
    pub(super) waiting: Duration,
}

impl Tails {
    /// The counts for those who remember what they read.
    pub fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// A conversation has grown, or may have. Never waits.
    pub(crate) fn grown(&self, id: &ConversationId) {
        self.name_in(id, |_| true);
    }

    /// A conversation has grown by nothing that concerns a sparse lane. Never waits.
    pub(crate) fn grown_by_little(&self, id: &ConversationId) {
        self.name_in(id, |lane| !lane.is_sparse);
    }

    fn name_in(&self, id: &ConversationId, which: impl Fn(&Lane) -> bool) {
        let lanes = self.0.lanes.read();
        for lane in lanes.iter().filter(|lane| which(lane)) {
            lane.add(id, Instant::now());
        }
    }

    /// Adds a projection.
    pub(super) fn open_lane(&self, consumer: Consumer) -> Arc<Lane> {
        self.open(consumer, false)
    }

    /// Adds a projection whom little of a log concerns. It is told of a conversation that has
    /// grown by what does, of one that is taken, and of one that is retired with something left
    /// to see.
    pub(super) fn open_sparse_lane(&self, consumer: Consumer) -> Arc<Lane> {
        self.open(consumer, true)
    }

    fn open(&self, consumer: Consumer, is_sparse: bool) -> Arc<Lane> {
        let lane = Arc::new(Lane {
            consumer: consumer.clone(),
            is_sparse,
            behind: Mutex::default(),
            grown: Notify::new(),
        });
        self.0.lanes.write().push(Arc::clone(&lane));
        self.wait_for(consumer);
        lane
    }

    /// Conversations are at rest only once this consumer has seen them to the end.
    pub(super) fn wait_for(&self, consumer: Consumer) {
        self.0.consumers.write().push(consumer);
    }

    /// Nobody sequences a conversation here any more. Clears what says that it is not at rest,
    /// now or, where a projection is behind, once that has caught up.
    pub(crate) async fn retire(
        &self,
        store: &SharedStore,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        let is_noted = {
            let mut retired = self.0.retired.lock();
            let is_noted = retired.len() < MOST;
            if is_noted {
                retired.insert(id.clone(), (epoch, tail));
            }
            is_noted
        };
        let settled = self.settle(store, id).await;
        if !is_noted || self.0.retired.lock().contains_key(id) {
            self.name_in(id, |lane| lane.is_sparse);
        }
        settled
    }

    /// Releases a conversation that was retired, if everybody has seen it to the end. The store
    /// compares epoch and tail, so a conversation that was taken again stays hot.
    pub(super) async fn settle(
        &self,
        store: &SharedStore,
        id: &ConversationId,
    ) -> Result<(), StoreError> {
        let Some((epoch, tail)) = self.0.retired.lock().get(id).copied() else {
            return Ok(());
        };
        if !self.is_seen(store, id, tail).await? {
            return Ok(());
        }
        store.release(id, epoch, tail).await?;
        let mut retired = self.0.retired.lock();
        if retired.get(id) == Some(&(epoch, tail)) {
            retired.swap_remove(id);
        }
        Ok(())
    }

    /// Whether every consumer has come to a place.
    pub(super) async fn is_seen(
        &self,
        store: &SharedStore,
        id: &ConversationId,
        tail: Seq,
    ) -> Result<bool, StoreError> {
        let consumers = self.0.consumers.read().clone();
        for consumer in consumers {
            let seen = store.projected(&consumer, std::slice::from_ref(id)).await?;
            if seen.first().is_none_or(|seen| *seen < tail) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nothing waits any more.
    pub(super) fn is_at_rest(&self) -> bool {
        let lanes = self.0.lanes.read();
        lanes.iter().all(|lane| lane.lag().conversations == 0)
    }
}

impl Lane {
    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Adds a conversation, if it does not wait already.
    pub(super) fn add(&self, id: &ConversationId, now: Instant) {
        let mut behind = self.behind.lock();
        if behind.conversations.len() >= MOST {
            behind.overflowed |= !behind.conversations.contains_key(id);
        } else if !behind.conversations.contains_key(id) {
            behind.conversations.insert(id.clone(), now);
        }
        drop(behind);
        self.grown.notify_one();
    }

    /// Waits until there is something to take.
    pub(super) async fn grown(&self) {
        while self.lag().conversations == 0 {
            self.grown.notified().await;
        }
    }

    /// Takes those that have waited longest.
    pub(super) fn take(&self, most: usize) -> Vec<ConversationId> {
        let mut behind = self.behind.lock();
        let count = most.min(behind.conversations.len());
        let taken = behind.conversations.drain(..count);
        taken.map(|(id, _)| id).collect()
    }

    /// Whether some did not fit since this was asked last.
    pub(super) fn take_overflow(&self) -> bool {
        std::mem::take(&mut self.behind.lock().overflowed)
    }

    pub(super) fn lag(&self) -> Lag {
        let behind = self.behind.lock();
        let first = behind.conversations.first();
        Lag {
            conversations: behind.conversations.len(),
            waiting: first.map_or(Duration::ZERO, |(_, since)| since.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConversationId {
        ConversationId::from_stored(number.to_string())
    }

    #[tokio::test]
    async fn a_lane_holds_each_once_and_hands_out_the_oldest_first() {
        let tails = Tails::default();
        let lane = tails.open_lane(Consumer::QUEUE);
        for number in [3, 1, 3, 2, 1] {
            tails.grown(&id(number));
        }
        lane.grown().await;
        assert_eq!(lane.take(2), [id(3), id(1)]);
        assert_eq!(lane.take(2), [id(2)]);
        assert!(tails.is_at_rest());
    }

    #[test]
    fn a_sparse_lane_is_not_told_of_what_does_not_concern_it() {
        let tails = Tails::default();
        let (every, sparse) = (
            tails.open_lane(Consumer::QUEUE),
            tails.open_sparse_lane(Consumer::NOTICES),
        );
        tails.grown_by_little(&id(1));
        assert_eq!(every.lag().conversations, 1);
        assert_eq!(sparse.lag().conversations, 0);
        tails.grown(&id(1));
        assert_eq!(sparse.take(9), [id(1)]);
    }

    #[test]
    fn a_full_lane_remembers_that_it_overflowed() {
        let tails = Tails::default();
        let lane = tails.open_lane(Consumer::QUEUE);
        for number in 0..MOST {
            tails.grown(&id(number));
        }
        tails.grown(&id(0));
        assert!(!lane.take_overflow(), "one that waits already fits");
        tails.grown(&id(MOST));
        assert_eq!(lane.lag().conversations, MOST);
        assert!(lane.take_overflow());
        assert!(!lane.take_overflow());
    }
}
