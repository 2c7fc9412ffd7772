//! Deriving a projection anew from the log.

use std::{sync::Arc, time::Duration};

use quikapp_storage::{
    AcquireError, Claim, Consumer, ConversationId, Epoch, OwnerId, Seq, SharedStore, StoreError,
};

use super::{Config, Projection, Tails, handle::projections, history, projector::Log};
use crate::{Clock, documents};

/// The name of the folded view of messages, which is written with the log and has no cursor.
const HISTORY: &str = "history";
/// The name of the view of people's documents, which follows with the notices, but has nothing to
/// tell anybody.
const DOCUMENTS: &str = "documents";
/// Conversations read at once.
const PAGE: usize = 256;
/// Another process keeps a conversation for so long at least after it took it.
const TENURE: Duration = Duration::from_secs(2);

/// Why a projection was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is none of this name.
    #[error("no projection is called {name:?}; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The store failed. What was rebuilt so far is good; rebuilding again begins anew.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Which projection.
    pub projection: String,
    /// Of how many conversations.
    pub conversations: u64,
    /// From how many entries.
    pub entries: u64,
}

/// Rebuilds one projection, or the history, people's documents and all of them, conversation by conversation; or has a
/// reader of the feed, by its full name, given everything from the beginning. Another
/// process may work on the same store meanwhile: each conversation is taken for the moment, which
/// keeps its sequencer out, and cursors move by compare-and-set, which keeps its projections out.
/// A view of the history is left alone when something newer has been folded into it.
pub async fn rebuild(
    store: &SharedStore,
    clock: &dyn Clock,
    config: &Config,
    name: Option<&str>,
) -> Result<Vec<Rebuilt>, RebuildError> {
    let tails = Tails::default();
    let all = projections(store, &tails, config);
    let is_meant = |projection: &Arc<dyn Projection>| {
        name.is_none_or(|name| name == projection.consumer().as_str())
    };
    let meant: Vec<_> = all.iter().filter(|it| is_meant(it)).collect();
    let with_history = name.is_none_or(|name| name == HISTORY);
    let with_documents = name.is_none_or(|name| name == DOCUMENTS);
    // What was given out is given out again only to whoever is named.
    let feed = config.feeds().find(|feed| name == Some(feed.as_str()));
    if meant.is_empty() && !with_history && !with_documents && feed.is_none() {
        return Err(unknown(name.unwrap_or_default(), &all, config));
    }
    let derived = all.iter().map(|it| it.consumer());
    // What people are told is not derived anew, but where it has not been told, that is seen to
    // by a server that finds the conversation hot.
    for consumer in derived.chain([Consumer::NOTICES]).chain(config.feeds()) {
        tails.wait_for(consumer);
    }
    let work = Work {
        store,
        clock,
        tails,
        owner: OwnerId::generate(),
        tenure: TENURE,
    };
    let mut rebuilt = Vec::new();
    // First what others are derived with: threads are counted for the authors of their roots, as
    // the history has them.
    if with_history {
        let one = async |id: &ConversationId| history::rebuild(&work, id, history::STRETCH).await;
        rebuilt.push(work.rebuild(HISTORY.to_owned(), one).await?);
    }
    for projection in meant {
        let name = projection.consumer().to_string();
        projection.begin_anew().await?;
        let one = async |id: &ConversationId| work.one(&**projection, id).await;
        rebuilt.push(work.rebuild(name, one).await?);
    }
    if with_documents {
        let one = async |id: &ConversationId| documents::rebuild(store, id).await;
        rebuilt.push(work.rebuild(DOCUMENTS.to_owned(), one).await?);
    }
    if let Some(feed) = feed {
        let one = async |id: &ConversationId| work.give_again(&feed, id).await;
        rebuilt.push(work.rebuild(feed.to_string(), one).await?);
    }
    Ok(rebuilt)
}

/// Names what there is to be rebuilt.
fn unknown(name: &str, all: &[Arc<dyn Projection>], config: &Config) -> RebuildError {
    let derived = all.iter().map(|it| it.consumer().to_string());
    let known = derived.chain([HISTORY, DOCUMENTS].map(str::to_owned));
    let known: Vec<_> = known
        .chain(config.feeds().map(|feed| feed.to_string()))
        .collect();
    RebuildError::Unknown {
        name: name.to_owned(),
        known: known.join(", "),
    }
}

/// What a rebuild works with.
pub(super) struct Work<'a> {
    pub(super) store: &'a SharedStore,
    pub(super) clock: &'a dyn Clock,
    pub(super) tails: Tails,
    pub(super) owner: OwnerId,
    /// How long a sequencer keeps a conversation that it has taken.
    pub(super) tenure: Duration,
}

impl Work<'_> {
    async fn rebuild(
        &self,
        projection: String,
        one: impl AsyncFn(&ConversationId) -> Result<Option<u64>, StoreError>,
    ) -> Result<Rebuilt, StoreError> {
        let mut rebuilt = Rebuilt {
            projection,
            conversations: 0,
            entries: 0,
        };
        let mut after = None;
        loop {
            let page = self.store.all_conversations(after.as_ref(), PAGE).await?;
            for id in &page {
                if let Some(entries) = one(id).await? {
                    rebuilt.entries += entries;
                    rebuilt.conversations += 1;
                }
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(rebuilt);
            }
        }
    }

    /// One conversation; `None` if it has gone. It stays hot while another projection is behind.
    async fn one(
        &self,
        projection: &dyn Projection,
        id: &ConversationId,
    ) -> Result<Option<u64>, StoreError> {
        let Some((epoch, tail)) = self.take(id).await? else {
            return Ok(None);
        };
        let store = self.store;
        store.reset_projection(&projection.consumer(), id).await?;
        let log = Log {
            store,
            recent: None,
        };
        let entries = log.catch_up(projection, id, None).await?;
        self.tails.retire(store, id, epoch, tail).await?;
        Ok(Some(entries))
    }

    /// Leaves one conversation hot, and a reader of the feed at its beginning. How much it is to be
    /// given; `None` if the conversation has gone.
    async fn give_again(
        &self,
        feed: &Consumer,
        id: &ConversationId,
    ) -> Result<Option<u64>, StoreError> {
        let Some((epoch, tail)) = self.take(id).await? else {
            return Ok(None);
        };
        self.store.reset_projection(feed, id).await?;
        self.tails.retire(self.store, id, epoch, tail).await?;
        Ok(Some(tail.0))
    }

    /// A sequencer has taken the conversation back, and keeps it for its tenure. The store compares
    /// the clocks of two processes to tell how long that has lasted: where they disagree by more
    /// than a tenure, whoever asks may have it at once, and the two would take it from each other
    /// without either getting to write.
    pub(super) async fn leave_alone(&self) {
        tokio::time::sleep(self.tenure).await;
    }

    /// Takes a conversation; waits for a sequencer that has only just taken it.
    pub(super) async fn take(
        &self,
        id: &ConversationId,
    ) -> Result<Option<(Epoch, Seq)>, StoreError> {
        loop {
            let claim = Claim {
                owner: self.owner,
                now: self.clock.now(),
                min_tenure_ms: u64::try_from(self.tenure.as_millis()).unwrap_or(u64::MAX),
            };
            match self.store.acquire(id, claim).await {
                Ok(taken) => {
                    let conversation = taken.conversation;
                    return Ok(Some((conversation.epoch, conversation.tail)));
                }
                Err(AcquireError::Held { held_for_ms }) => {
                    let held = Duration::from_millis(held_for_ms);
                    let wait = self
                        .tenure
                        .saturating_sub(held)
                        .max(Duration::from_millis(10));
                    tokio::time::sleep(wait).await;
                }
                Err(AcquireError::NotFound) => return Ok(None),
                Err(AcquireError::Store(error)) => return Err(error),
            }
        }
    }
}
