//! Where decisions go: the hook on which whoever pushes hangs.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::MayNotify;

type Take = dyn Fn(Arc<[MayNotify]>) -> BoxFuture<'static, Result<(), NotTaken>> + Send + Sync;

/// A sink could not take what it was offered, and will be offered it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

/// One who is told who may have to be told: a push outbox, or the log.
///
/// It is offered the decisions about one entry for a page of its members, and answers once they
/// are safe with it; until then the [`Notifier`](super::Notifier) stands where it is. Nothing is
/// queued between the two. What was not taken, or was taken just before the process died, is
/// offered again: person, conversation and place name a decision once.
#[derive(Clone)]
pub struct Sink {
    name: &'static str,
    take: Arc<Take>,
}

impl Sink {
    /// A sink under the name that the log gives it.
    pub fn new<Taking>(
        name: &'static str,
        take: impl Fn(Arc<[MayNotify]>) -> Taking + Send + Sync + 'static,
    ) -> Self
    where
        Taking: Future<Output = Result<(), NotTaken>> + Send + 'static,
    {
        Self {
            name,
            take: Arc::new(move |told| Box::pin(take(told))),
        }
    }

    /// Writes every decision into the log, as JSON: ids and reasons, never what was said.
    pub fn log() -> Self {
        Self::new("log", async |told: Arc<[MayNotify]>| {
            for told in told.iter() {
                let json = serde_json::to_string(told).map_err(|it| NotTaken(it.to_string()))?;
                tracing::info!(target: "quikapp::notify", decision = json, "may notify");
            }
            Ok(())
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(super) async fn offer(&self, told: Arc<[MayNotify]>) -> Result<(), NotTaken> {
        (self.take)(told).await
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sink({})", self.name)
    }
}
