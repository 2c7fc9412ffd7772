//! Finding again what nobody brings to its end, since the process that wrote it has died: only what
//! is hot is looked at, at the start and every so often.

use std::{collections::HashMap, sync::Arc, time::Duration};

use quikapp_storage::{
    AcquireError, Claim, ConversationId, Epoch, HotConversation, Seq, SharedStore, StoreError,
};
use tokio::time::Instant;

use super::{handle::Shared, tails::Lane};

/// Hot conversations read at once.
const PAGE: usize = 256;
/// How soon it is looked for the second time; every further time after twice as long.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// But at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Conversations of which it is remembered how they stood.
const MOST: usize = 65_536;

/// Puts everything hot into a lane that had overflowed.
pub(super) async fn refill(store: &SharedStore, lane: &Lane) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.hot(after.as_ref(), PAGE).await?;
        for hot in &page {
            lane.add(&hot.id, Instant::now());
        }
        after = page.last().map(|hot| hot.id.clone());
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// For ever: has projected what is hot and was not, and lets go of what nobody sequences.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut looks = Looks::default();
    let mut pause = SECOND_LOOK;
    loop {
        match looks.look(&shared).await {
            Ok(found) if !looks.are_underway => {
                looks.are_underway = true;
                tracing::info!(conversations = found, "looked through what was hot");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "hot conversations not readable"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Looks {
    /// The first was made: it names all that it finds, since what this process left behind when it
    /// ended is not to wait.
    are_underway: bool,
    /// How hot conversations that are not sequenced here stood, and since when they do.
    known: HashMap<ConversationId, (Epoch, Seq, Instant)>,
}

impl Looks {
    /// Names what a projection is behind of, and only then lets go of what rests: a consumer that
    /// hangs delays nothing. What has only just changed is left to the process that changed it,
    /// which knows best who is connected. How many conversations are hot.
    async fn look(&mut self, shared: &Shared) -> Result<usize, StoreError> {
        let (idle, began) = (shared.conversations.idle(), Instant::now());
        let (mut known, mut resting) = (HashMap::new(), Vec::new());
        let (mut after, mut found) = (None, 0);
        loop {
            let page = shared.store.hot(after.as_ref(), PAGE).await?;
            let stand: Vec<Duration> = page.iter().map(|hot| self.stands_for(hot)).collect();
            let is_left = |stands: &Duration| !self.are_underway || *stands >= idle;
            let left: Vec<bool> = stand.iter().map(is_left).collect();
            let seen = shared.tails.look_at(&shared.store, &page, &left).await?;
            let is_last = page.len() < PAGE;
            found += page.len();
            after = page.last().map(|hot| hot.id.clone());
            for ((hot, is_seen), stands) in page.into_iter().zip(seen).zip(stand) {
                if shared.conversations.is_sequenced_here(&hot.id) {
                    continue;
                }
                if known.len() < MOST {
                    let since = Instant::now() - stands;
                    known.insert(hot.id.clone(), (hot.epoch, hot.tail, since));
                }
                if is_seen && stands >= idle * 2 {
                    resting.push(hot);
                }
            }
            if is_last {
                break;
            }
        }
        self.known = known;
        shared.tails.looked_at_all(began);
        for hot in &resting {
            if let Err(error) = let_go(shared, hot).await {
                tracing::debug!(conversation = %hot.id, %error, "left hot");
            }
        }
        Ok(found)
    }

    /// For how long nothing has happened in a conversation, as far as it was looked at.
    fn stands_for(&self, hot: &HotConversation) -> Duration {
        match self.known.get(&hot.id) {
            Some((epoch, tail, since)) if (*epoch, *tail) == (hot.epoch, hot.tail) => {
                since.elapsed()
            }
            _ => Duration::ZERO,
        }
    }
}

/// Lets go of a conversation whose sequencer is gone, or would have let it go itself by now. It is
/// taken first, so that a sequencer of another process that lives after all cannot write on as if
/// nothing had happened; where this process sequences it, there is nothing to let go.
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
            if tail > hot.tail {
                // What nobody had confirmed.
                shared.tails.grown(&hot.id);
            }
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
