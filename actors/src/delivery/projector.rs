//! One projection at work: what is behind is read from the log and handed over, step by step.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use quikapp_storage::{
    Consumer, ConversationId, Entry, ProjectionStep, Seq, SharedStore, StoreError,
};

use super::{
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
        let mut results = stream::iter(taken.ids().to_vec())
            .map(|id| async move { (self.bring_up(&id).await, id) })
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

    /// One at which the projection panics has failed: others do not wait for it.
    async fn bring_up(&self, id: &ConversationId) -> Result<(), StoreError> {
        let failed = |what: &str| Err(StoreError::Unavailable(what.to_owned()));
        let caught_up = catch_up(&self.store, &*self.projection, id);
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

/// Brings one conversation to its tail; how many entries were dealt with.
pub(super) async fn catch_up(
    store: &SharedStore,
    projection: &dyn Projection,
    id: &ConversationId,
) -> Result<u64, StoreError> {
    let consumer = projection.consumer();
    let mut from = place_of(store, &consumer, id).await?;
    let mut count = 0;
    loop {
        let entries = store.entries(id, from, STEP).await?;
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
            from = place_of(store, &consumer, id).await?;
        }
    }
}

async fn place_of(
    store: &SharedStore,
    consumer: &Consumer,
    id: &ConversationId,
) -> Result<Seq, StoreError> {
    let places = store.projected(consumer, std::slice::from_ref(id)).await?;
    Ok(places.first().copied().unwrap_or_default())
}
