//! What can go wrong in a store, one small enum per operation.

use crate::Seq;

/// A store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// The store refuses or cannot take writes now (disk full, read-only, connection lost).
    /// Nothing of the request was kept. Retryable.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The commit failed in a way that may have kept the write. Callers look up before answering.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// The write queue is full. Retryable.
    #[error("the store's write queue is full")]
    Overloaded,
    /// What was read does not decode.
    #[error("the store holds damaged data: {0}")]
    Corrupt(String),
    /// The request contradicts itself or the records it names (a direct conversation of three, an
    /// empty batch, the view of a message that does not exist). A mistake of the caller; nothing
    /// of the request was kept, and trying again does not help.
    #[error("the store was asked for the impossible: {0}")]
    Invalid(String),
}

/// Why a conversation could not be taken.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AcquireError {
    /// No such conversation.
    #[error("no such conversation")]
    NotFound,
    /// Another owner took it less than the claim's `min_tenure` ago.
    #[error("another owner took the conversation {held_for_ms} ms ago")]
    Held {
        /// For how long the present owner has had it, in milliseconds.
        held_for_ms: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one conversation's part of a batch was not appended. Nothing of that part was written.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// The epoch has moved on: somebody else sequences this conversation now.
    #[error("no longer the owner of the conversation")]
    Fenced,
    /// The epoch is ours but the tail is not where the batch expected it (a late entry of a
    /// predecessor). Reload and try again.
    #[error("the tail is at {tail}, not where the batch expected it")]
    TailMoved {
        /// Where the tail really is.
        tail: Seq,
    },
    /// One of the batch's keys is already in the log. Look the keys up and drop those entries.
    #[error("an entry with this idempotency key exists")]
    DuplicateKey {
        /// Index, in the batch, of the first entry whose key is taken.
        index: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
