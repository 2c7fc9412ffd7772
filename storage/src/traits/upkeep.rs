//! What is done to logs and their views besides appending.

use async_trait::async_trait;

use crate::{
    AppendError, ConversationId, Epoch, JsonText, Message, Person, Seq, StoreError, UserId,
};

/// Taking content out of a log, and writing its folded view anew. Belongs to the store of the log.
#[async_trait]
pub trait LogUpkeep: Send + Sync {
    /// The conversations, the person's own included, in which a person is or ever was a member,
    /// by id, above `after`.
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// Replaces payloads of entries; all else of them stays. Not fenced: a caller only ever makes
    /// a payload less, so that doing it again, or beside a sequencer, does no harm. Places that
    /// are not in the log are passed over.
    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError>;

    /// Forgets which messages a person has hidden from themselves.
    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError>;

    /// Writes folded views as of their `applied_seq`, as whoever took the conversation under
    /// `epoch`. A view to which a newer entry has been applied stays. The view of a message that
    /// is not in the log is [`StoreError::Invalid`], and none is written then;
    /// [`AppendError::Fenced`] after somebody else took the conversation.
    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError>;

    /// Sees to it that what was redacted or forgotten in these conversations is not left in copies
    /// that the store makes for itself (a write-ahead log, changes kept for recovery), as far as
    /// they are the store's to clean. [`StoreError::Overloaded`] while somebody is reading them.
    async fn scrub(&self, ids: &[ConversationId]) -> Result<(), StoreError>;
}
