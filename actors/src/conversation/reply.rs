//! The way back to a caller.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{CommandError, Outcome};

/// How a command is answered.
pub(crate) type Answer = Result<Outcome, CommandError>;

/// Answers a caller exactly once. Dropped unanswered (a panic, a restart), it says what is true:
/// that nothing was done, or that nobody knows.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: Option<oneshot::Sender<Answer>>,
    in_doubt: bool,
    /// The place in the shard's queue, given back with the answer.
    _permit: OwnedSemaphorePermit,
}

impl Reply {
    /// A reply, and where it arrives.
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let reply = Self {
            sender: Some(sender),
            in_doubt: false,
            _permit: permit,
        };
        (reply, receiver)
    }

    /// The command is on its way to the store, or no longer.
    pub(crate) fn set_in_doubt(&mut self, in_doubt: bool) {
        self.in_doubt = in_doubt;
    }

    /// Answers. Whether the caller still listens does not matter.
    pub(crate) fn send(mut self, answer: Answer) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(answer);
        }
    }

    /// Refuses, unless the command may have been carried out after all.
    pub(crate) fn refuse(self, error: CommandError) {
        let error = if self.in_doubt {
            CommandError::OutcomeUnknown
        } else {
            error
        };
        self.send(Err(error));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some(sender) = self.sender.take() else {
            return;
        };
        let _ = sender.send(Err(if self.in_doubt {
            CommandError::OutcomeUnknown
        } else {
            CommandError::Unavailable
        }));
    }
}
