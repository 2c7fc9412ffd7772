//! Which conversations have grown since a projection saw them.
//!
//! Between the sequencers, which only ever insert and never wait, and the projections, which take
//! when they can. A lane holds at most [`MOST`] conversations; what does not fit is found again by
//! looking through what is hot.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use parking_lot::{Mutex, RwLock};
use quikapp_storage::{
    Consumer, ConversationId, Entry, Epoch, HotConversation, Seq, SharedStore, StoreError,
};
use tokio::{sync::Notify, time::Instant};

use super::{reader::Reader, recent::Recent};
use crate::users::Changes;

/// Conversations that wait in one lane, or to be released.
const MOST: usize = 65_536;

/// What is told of conversations, and to whom. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tails(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lanes: RwLock<Vec<Arc<Lane>>>,
    /// Readers of the event feed, who pull.
    readers: RwLock<Vec<Arc<Reader>>>,
    /// Everybody whom a conversation waits for before it is at rest.
    consumers: RwLock<Vec<Consumer>>,
    /// Conversations that nobody sequences here any more, and that some projection is behind of.
    retired: Mutex<IndexMap<ConversationId, (Epoch, Seq)>>,
    changes: Changes,
    recent: Recent,
}

/// What one projection has to see.
#[derive(Debug)]
pub(super) struct Lane {
    consumer: Consumer,
    is_sparse: bool,
    behind: Mutex<Behind>,
    grown: Notify,
}

/// Conversations, each with the moment since which it waits.
#[derive(Debug, Default)]
struct Behind {
    waiting: IndexMap<ConversationId, Instant>,
    /// Taken, and not dealt with yet.
    in_hand: IndexMap<ConversationId, Instant>,
    /// Some did not fit.
    overflowed: bool,
}

/// Conversations that were taken out of a lane. Those that are not [`done`](Self::done) when this
/// is dropped, by a panic or because a task is stopped, wait again.
pub(super) struct Taken<'a> {
    lane: &'a Lane,
    ids: Vec<ConversationId>,
}

/// How far a consumer is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lag {
    /// Conversations that have grown and were not dealt with.
    pub(super) conversations: usize,
    /// For how long the one that has waited longest has done so.
    pub(super) waiting: Duration,
}

impl Tails {
    /// The counts for those who remember what they read.
    pub fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// A conversation has grown, or may have, by what others wrote. Never waits.
    pub(crate) fn grown(&self, id: &ConversationId) {
        self.0.recent.forget(id);
        self.name(id, true);
    }

    /// A conversation has grown by entries that were written here; `concerns_all` if one of them
    /// concerns also the sparse lanes. Never waits.
    pub(crate) fn written(&self, id: &ConversationId, entries: &[Entry], concerns_all: bool) {
        self.0.recent.keep(id, entries, Instant::now());
        self.name(id, concerns_all);
    }

    /// What was written here lately.
    pub(super) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    fn name(&self, id: &ConversationId, concerns_all: bool) {
        self.name_in(id, |lane| concerns_all || !lane.is_sparse);
        self.name_to_readers(id);
    }

    fn name_to_readers(&self, id: &ConversationId) {
        for reader in self.0.readers.read().iter() {
            reader.lacks(id, Instant::now());
        }
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

    /// Adds a reader of the feed.
    pub(super) fn open_reader(&self, consumer: Consumer) -> Arc<Reader> {
        let reader = Arc::new(Reader::new(consumer.clone()));
        self.0.readers.write().push(Arc::clone(&reader));
        self.wait_for(consumer);
        reader
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

    /// Names those of hot conversations that are `left` to the projections that are behind of them,
    /// and notes which wait for a reader. Says, in their order, of which every consumer has seen
    /// everything.
    pub(super) async fn look_at(
        &self,
        store: &SharedStore,
        hot: &[HotConversation],
        left: &[bool],
    ) -> Result<Vec<bool>, StoreError> {
        let ids: Vec<ConversationId> = hot.iter().map(|hot| hot.id.clone()).collect();
        let mut all_seen = vec![true; hot.len()];
        let consumers = self.0.consumers.read().clone();
        for consumer in consumers {
            let places = store.projected(&consumer, &ids).await?;
            let (lane, reader) = (self.lane_of(&consumer), self.reader_of(&consumer));
            for (nth, seen) in places.into_iter().enumerate().take(hot.len()) {
                if seen >= hot[nth].tail {
                    continue;
                }
                all_seen[nth] = false;
                self.0.recent.forget(&hot[nth].id);
                if let Some(lane) = lane.as_ref().filter(|_| left[nth]) {
                    lane.add(&hot[nth].id, Instant::now());
                }
                if let Some(reader) = &reader {
                    reader.lacks(&hot[nth].id, Instant::now());
                }
            }
        }
        Ok(all_seen)
    }

    /// Everything hot has been looked at since a moment.
    pub(super) fn looked_at_all(&self, since: Instant) {
        for reader in self.0.readers.read().iter() {
            reader.found_all(since);
        }
    }

    fn reader_of(&self, consumer: &Consumer) -> Option<Arc<Reader>> {
        let readers = self.0.readers.read();
        readers.iter().find(|it| it.consumer() == consumer).cloned()
    }

    /// A reader of the feed has none: it pulls.
    fn lane_of(&self, consumer: &Consumer) -> Option<Arc<Lane>> {
        let lanes = self.0.lanes.read();
        lanes.iter().find(|it| it.consumer == *consumer).cloned()
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

impl Lag {
    /// Sets a consumer's gauges to it.
    pub(super) fn record(self, consumer: &Consumer) {
        let consumer = consumer.as_str().to_owned();
        let behind = u32::try_from(self.conversations).unwrap_or(u32::MAX);
        metrics::gauge!("quikapp_projection_behind", "consumer" => consumer.clone())
            .set(f64::from(behind));
        metrics::gauge!("quikapp_projection_lag_seconds", "consumer" => consumer)
            .set(self.waiting.as_secs_f64());
    }
}

impl Lane {
    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Adds a conversation, if it does not wait already.
    pub(super) fn add(&self, id: &ConversationId, now: Instant) {
        let mut behind = self.behind.lock();
        if behind.waiting.len() >= MOST {
            behind.overflowed |= !behind.waiting.contains_key(id);
        } else if !behind.waiting.contains_key(id) {
            behind.waiting.insert(id.clone(), now);
        }
        drop(behind);
        self.grown.notify_one();
    }

    /// Waits until there is something to take, or to be looked for because it did not fit.
    pub(super) async fn grown(&self) {
        while !self.has_work() {
            self.grown.notified().await;
        }
    }

    fn has_work(&self) -> bool {
        let behind = self.behind.lock();
        behind.overflowed || !behind.waiting.is_empty()
    }

    /// Takes those that were named first.
    pub(super) fn take(&self, most: usize) -> Taken<'_> {
        let mut behind = self.behind.lock();
        let count = most.min(behind.waiting.len());
        let taken: Vec<_> = behind.waiting.drain(..count).collect();
        let ids = taken.iter().map(|(id, _)| id.clone()).collect();
        behind.in_hand.extend(taken);
        Taken { lane: self, ids }
    }

    /// Whether some did not fit since this was asked last.
    pub(super) fn take_overflow(&self) -> bool {
        std::mem::take(&mut self.behind.lock().overflowed)
    }

    /// Those that did not fit are still to be looked for.
    pub(super) fn put_overflow_back(&self) {
        self.behind.lock().overflowed = true;
        self.grown.notify_one();
    }

    pub(super) fn lag(&self) -> Lag {
        let behind = self.behind.lock();
        let (waiting, in_hand) = (&behind.waiting, &behind.in_hand);
        let only_in_hand = in_hand.keys().filter(|id| !waiting.contains_key(*id));
        let first = waiting.values().chain(in_hand.values()).min();
        Lag {
            conversations: waiting.len() + only_in_hand.count(),
            waiting: first.map_or(Duration::ZERO, Instant::elapsed),
        }
    }
}

impl Taken<'_> {
    /// What was taken.
    pub(super) fn ids(&self) -> &[ConversationId] {
        &self.ids
    }

    /// This one was dealt with.
    pub(super) fn done(&self, id: &ConversationId) {
        self.lane.behind.lock().in_hand.swap_remove(id);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut behind = self.lane.behind.lock();
        for id in &self.ids {
            if let Some(since) = behind.in_hand.swap_remove(id) {
                let waiting = behind.waiting.entry(id.clone()).or_insert(since);
                *waiting = since.min(*waiting);
            }
        }
        drop(behind);
        self.lane.grown.notify_one();
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
        for expected in [vec![id(3), id(1)], vec![id(2)]] {
            let taken = lane.take(2);
            assert_eq!(taken.ids(), expected);
            expected.iter().for_each(|id| taken.done(id));
        }
        assert!(tails.is_at_rest());
    }

    /// What was taken and not dealt with is behind all the time, and waits again, since when it
    /// did before.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_dealt_with_waits_again() {
        let tails = Tails::default();
        let lane = tails.open_lane(Consumer::QUEUE);
        for number in 1..=3 {
            tails.grown(&id(number));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let taken = lane.take(9);
        taken.done(&id(2));
        tails.grown(&id(3));
        let lag = Lag {
            conversations: 2,
            waiting: Duration::from_secs(5),
        };
        assert_eq!(lane.lag(), lag);
        assert!(!tails.is_at_rest());
        drop(taken);
        assert_eq!(lane.lag(), lag);
        lane.grown().await;
        assert_eq!(lane.take(9).ids(), [id(3), id(1)]);
    }

    /// An overflow that could not be made up for is work by itself.
    #[tokio::test]
    async fn an_overflow_can_be_put_back() {
        let lane = Tails::default().open_lane(Consumer::QUEUE);
        lane.put_overflow_back();
        lane.grown().await;
        assert!(lane.take_overflow());
    }

    #[test]
    fn a_sparse_lane_is_not_told_of_what_does_not_concern_it() {
        let tails = Tails::default();
        let (every, sparse) = (
            tails.open_lane(Consumer::QUEUE),
            tails.open_sparse_lane(Consumer::NOTICES),
        );
        tails.written(&id(1), &[], false);
        assert_eq!(every.lag().conversations, 1);
        assert_eq!(sparse.lag().conversations, 0);
        tails.written(&id(1), &[], true);
        tails.grown(&id(2));
        assert_eq!(sparse.take(9).ids(), [id(1), id(2)]);
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
