//! Forgetting a person beside the log.

use async_trait::async_trait;

use crate::{ConversationId, Person, StoreError, UserId};

/// What is kept of a person beside the log, and forgotten when the person is erased. Forgetting
/// what is not there is no error.
#[async_trait]
pub trait ErasureStore: Send + Sync {
    /// Forgets a person's registers in one conversation: marks, draft, mute, and what they follow
    /// and have read of threads. Lives where registers live.
    async fn forget_registers(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError>;

    /// Forgets a person's devices: their cursors and the queue of what they lack. Lives where
    /// registers live.
    async fn forget_devices(&self, person: &Person) -> Result<(), StoreError>;

    /// Forgets a person's profile, and blocks by and of them. Lives where people live.
    async fn forget_profile(&self, person: &Person) -> Result<(), StoreError>;
}
