//! One projection at work: what is behind is read from the log and handed over, step by step.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use quikapp_storage::{
    Consumer, ConversationId, Entry, ProjectionStep, Seq, SharedStore, StoreError,
};

use super::{
    recent::Recent,
    recovery,
    tails::{Lane, Tails},
};

/// Entries in one step.
const STEP: usize = 256;
/// Conversations taken at once.
const ROUND: usize = 512;
/// Of those, how many are dealt with at the same time: their effects meet in one commit.
const CONCURRENCY: usize = 16;
/// How long a projection rests when the store failed it.
pub(super) const BACK_OFF: Duration = Duration::from_millis(500);

/// Something derived from the log.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Under which name its cursors are kept.
    fn consumer(&self) -> Consumer;

    /// Little of a log concerns it. Then it is not told of what does not, until somebody takes
    /// the conversation or lets it go.
    fn is_sparse(&self) -> bool {
        false
    }

    /// Before a rebuild takes the first conversation: sets right what is kept over all of them.
    async fn begin_anew(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deals with the entries of a step, which are all between its ends, and moves the cursor.
    /// `false` means that the cursor was not where the step begins, and that nothing was done.
    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError>;
}

/// A projection with its lane.
pub(super) struct Projector {
    pub(super) projection: Arc<dyn Projection>,
    pub(super) lane: Arc<Lane>,
    pub(super) tails: Tails,
    pub(super) store: SharedStore,
    pub(super) window: Duration,
    pub(super) timeout: Duration,
}

impl Projector {
    /// Follows the log for ever.
    pub(super) async fn run(&self) {
        loop {
            self.lane.grown().await;
            tokio::time::sleep(self.window).await;
            if !self.round().await {
                tokio::time::sleep(BACK_OFF).await;
            }
            if self.lane.take_overflow() {
                self.refill().await;
            }
        }
    }

    /// Looks for what did not fit into the lane; again, if the store fails meanwhile.
    async fn refill(&self) {
        if let Err(error) = recovery::refill(&self.store, &self.lane).await {
            tracing::warn!(%error, "hot conversations not readable");
            self.lane.put_overflow_back();
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// Deals with what waits. Says whether all of it went well; what did not waits again, also
    /// when this is cut short.
    pub(super) async fn round(&self) -> bool {
        let taken = self.lane.take(ROUND);
        let places = self.places(taken.ids()).await;
        let conversations = taken.ids().to_vec().into_iter().zip(places);
        let mut results = stream::iter(conversations)
            .map(|(id, place)| async move { (self.bring_up(&id, place).await, id) })
            .buffer_unordered(CONCURRENCY);
        let mut all_went_well = true;
        while let Some((result, id)) = results.next().await {
            match result {
                Ok(()) => taken.done(&id),
                Err(_) => all_went_well = false,
            }
        }
        all_went_well
    }

    /// Where the cursors are, asked for at once. Those that are not known are asked for one by one.
    async fn places(&self, ids: &[ConversationId]) -> Vec<Option<Seq>> {
        let consumer = self.projection.consumer();
        let asked = tokio::time::timeout(self.timeout, self.store.projected(&consumer, ids));
        let mut places: Vec<_> = match asked.await {
            Ok(Ok(places)) => places.into_iter().map(Some).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        places.resize(ids.len(), None);
        places
    }

    /// One at which the projection panics has failed: others do not wait for it.
    async fn bring_up(&self, id: &ConversationId, from: Option<Seq>) -> Result<(), StoreError> {
        let failed = |what: &str| Err(StoreError::Unavailable(what.to_owned()));
        let log = Log {
            store: &self.store,
            recent: Some(self.tails.recent()),
        };
        let caught_up = log.catch_up(&*self.projection, id, from);
        let caught_up = AssertUnwindSafe(caught_up).catch_unwind();
        let result = match tokio::time::timeout(self.timeout, caught_up).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the projection panicked"),
            Err(_) => failed("took too long"),
        };
        if !matches!(result, Ok(0)) {
            self.tails.changes().in_conversation(id);
        }
        let settled = match result {
            Ok(_) => self.tails.settle(&self.store, id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &settled {
            let consumer = self.lane.consumer().as_str().to_owned();
            tracing::warn!(conversation = %id, consumer, %error, "a projection is behind");
            metrics::counter!("quikapp_projection_failures_total", "consumer" => consumer)
                .increment(1);
        }
        settled
    }
}

/// Where entries are read.
pub(super) struct Log<'a> {
    pub(super) store: &'a SharedStore,
    /// Asked first, where what was written here a moment ago may be what is lacking.
    pub(super) recent: Option<&'a Recent>,
}

impl Log<'_> {
    /// Brings one conversation to its tail, from where the cursor is known to be; how many entries
    /// were dealt with.
    pub(super) async fn catch_up(
        &self,
        projection: &dyn Projection,
        id: &ConversationId,
        from: Option<Seq>,
    ) -> Result<u64, StoreError> {
        let consumer = projection.consumer();
        let mut from = match from {
            Some(from) => from,
            None => self.place_of(&consumer, id).await?,
        };
        let mut count = 0;
        loop {
            let entries = self.entries(id, from).await?;
            let Some(last) = entries.last() else {
                return Ok(count);
            };
            let step = ProjectionStep {
                consumer: consumer.clone(),
                conversation: id.clone(),
                from,
                to: last.seq,
            };
            if projection.project(&step, &entries).await? {
                count += entries.len() as u64;
                from = step.to;
                if entries.len() < STEP {
                    // What was written meanwhile has been named again.
                    return Ok(count);
                }
            } else {
                // Somebody else has moved the cursor: go on from where it is.
                from = self.place_of(&consumer, id).await?;
            }
        }
    }

    async fn entries(&self, id: &ConversationId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        match self.recent.and_then(|recent| recent.after(id, from, STEP)) {
            Some(entries) => Ok(entries),
            None => self.store.entries(id, from, STEP).await,
        }
    }

    async fn place_of(&self, consumer: &Consumer, id: &ConversationId) -> Result<Seq, StoreError> {
        let places = self.store.projected(consumer, std::slice::from_ref(id));
        Ok(places.await?.first().copied().unwrap_or_default())
    }
}
