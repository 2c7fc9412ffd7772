//! The way to a child, whichever of its lives it lives.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
use ractor::{ActorRef, Message};
use tokio::sync::oneshot;

/// The child does not run at the moment: nothing was handed over. Worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor is being started again")]
pub struct Down;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nothing was handed over.
    #[error(transparent)]
    Down(#[from] Down),
    /// The child ended while it had the message; whether it acted on it is not known.
    #[error("the actor ended before it answered")]
    Ended,
}

/// Reaches one child of a supervisor. Cheap to clone; a restart changes what is behind it.
pub struct Handle<M>(Arc<RwLock<Option<ActorRef<M>>>>);

impl<M: Message> Handle<M> {
    /// Reaches nobody yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Hands a message over. Order is kept per sender.
    pub fn cast(&self, message: M) -> Result<(), Down> {
        let child = self.0.read();
        let child = child.as_ref().ok_or(Down)?;
        child.cast(message).map_err(|_| Down)
    }

    /// Asks, and waits. When the child fails with the question in hand or in its mailbox, the
    /// answer is an error at once.
    pub async fn call<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> M) -> Result<T, Lost> {
        let (reply_to, answer) = oneshot::channel();
        self.cast(ask(reply_to))?;
        answer.await.map_err(|_| Lost::Ended)
    }

    pub(super) fn reaches(&self, child: ActorRef<M>) {
        *self.0.write() = Some(child);
    }
}

impl<M: Message> Default for Handle<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let child = self.0.read().as_ref().map(|child| child.get_id());
        f.debug_tuple("Handle").field(&child).finish()
    }
}
