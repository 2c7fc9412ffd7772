//! Finding again what a process that died had not brought to its end: only what is hot is looked
//! at.

use std::{sync::Arc, time::Duration};

use quikapp_storage::{AcquireError, Claim, HotConversation, SharedStore, StoreError};
use tokio::time::Instant;

use super::{
    handle::Shared,
    tails::{Lane, Tails},
};

/// Hot conversations read at once.
const PAGE: usize = 256;
/// How often it is looked whether the projections have a page behind them.
const POLL: Duration = Duration::from_millis(100);
/// How long a page is waited for before it is left to the projections alone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts everything hot into a lane that had overflowed.
pub(super) async fn refill(store: &SharedStore, lane: &Lane) {
    let mut after = None;
    loop {
        match store.hot(after.as_ref(), PAGE).await {
            Ok(page) => {
                for hot in &page {
                    lane.add(&hot.id, Instant::now());
                }
                after = page.last().map(|hot| hot.id.clone());
                if page.len() < PAGE {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "hot conversations not readable");
                return;
            }
        }
    }
}

/// At the start: has everything hot projected, and lets go of what nobody sequences.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut after = None;
    let mut found = 0;
    loop {
        let page = match shared.store.hot(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "hot conversations not readable");
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        found += page.len();
        after = page.last().map(|hot| hot.id.clone());
        let is_last = page.len() < PAGE;
        recover(&shared, page).await;
        if is_last {
            tracing::info!(conversations = found, "looked through what was hot");
            return;
        }
    }
}

async fn recover(shared: &Shared, page: Vec<HotConversation>) {
    for hot in &page {
        shared.tails.grown(&hot.id);
    }
    let deadline = Instant::now() + PATIENCE;
    for hot in page {
        while !seen(&shared.tails, &shared.store, &hot).await && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        if let Err(error) = let_go(shared, &hot).await {
            tracing::debug!(conversation = %hot.id, %error, "left hot");
        }
    }
}

async fn seen(tails: &Tails, store: &SharedStore, hot: &HotConversation) -> bool {
    let seen = tails.is_seen(store, &hot.id, hot.tail).await;
    seen.unwrap_or(false)
}

/// Lets go of a conversation whose sequencer is gone. It is taken first, so that a sequencer of
/// another process that lives after all cannot write on as if nothing had happened; where this
/// process sequences it, there is nothing to let go.
async fn let_go(shared: &Shared, hot: &HotConversation) -> Result<(), StoreError> {
    if shared.conversations.is_sequenced_here(&hot.id) {
        return Ok(());
    }
    let claim = Claim {
        owner: shared.conversations.owner(),
        now: shared.clock.now(),
        min_tenure_ms: shared.conversations.min_tenure_ms(),
    };
    match shared.store.acquire(&hot.id, claim).await {
        Ok(taken) => {
            let (epoch, tail) = (taken.conversation.epoch, taken.conversation.tail);
            shared
                .tails
                .retire(&shared.store, &hot.id, epoch, tail)
                .await
        }
        // Somebody has taken it just now, and will let it go.
        Err(AcquireError::Held { .. } | AcquireError::NotFound) => Ok(()),
        Err(AcquireError::Store(error)) => Err(error),
    }
}
