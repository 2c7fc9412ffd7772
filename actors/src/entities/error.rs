//! Why a message was not handled.

use serde::{Deserialize, Serialize};

/// Why an entity did not take or answer a message. Plain data: it may have come from another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum EntityError {
    /// Too much waits, for this entity or for all. Nothing was done.
    #[error("too many messages wait")]
    Overloaded,
    /// The entity is on its way to another node. Nothing was done; try again after a while.
    #[error("the entity is moving to another node")]
    Moved {
        /// When trying again makes sense.
        retry_after_ms: u64,
    },
    /// The entity has failed too often and is left alone. Nothing was done.
    #[error("the entity has failed too often and is left alone")]
    Quarantined {
        /// When it is let out by itself.
        retry_after_ms: u64,
    },
    /// The entity cannot be brought up, or the node stops. Nothing was done.
    #[error("the entity cannot be reached")]
    Unavailable,
    /// The entity failed with the message in hand: what it did of it is not known.
    #[error("the entity failed with the message in hand")]
    OutcomeUnknown,
}

impl EntityError {
    /// Whether nothing was done, so that sending the message again cannot do it twice.
    pub fn is_retryable(self) -> bool {
        self != Self::OutcomeUnknown
    }
}

/// An entity could not be brought up or written away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActivateError(pub String);

impl From<quikapp_storage::StoreError> for ActivateError {
    fn from(error: quikapp_storage::StoreError) -> Self {
        Self(error.to_string())
    }
}
