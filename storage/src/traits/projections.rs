//! What is derived from the log on its own time, and how far that has come.

use async_trait::async_trait;

use crate::{
    Consumer, ConversationId, HotConversation, MessageId, ProjectionStep, Seq, StoreError,
    ThreadEntry, ThreadUnread, UserId,
};

/// Projections with durable cursors. A consumer reads the log behind its cursor, writes its
/// effect, and moves the cursor with it: in the transaction of the effect where both are in one
/// database, after it where they are not. A cursor moves by compare-and-set, so that of two who
/// project the same conversation one does nothing.
#[async_trait]
pub trait ProjectionStore: Send + Sync {
    /// Up to where a consumer has come in some conversations, in their order; 0 where it never
    /// was.
    async fn projected(
        &self,
        consumer: &Consumer,
        ids: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError>;

    /// Moves a cursor, if it is at [`ProjectionStep::from`]. Says whether it was.
    async fn move_projection(&self, step: &ProjectionStep) -> Result<bool, StoreError>;

    /// Forgets what a consumer has derived from a conversation, and sets its cursor to 0. What
    /// people set themselves (a thread's read mark) stays.
    async fn reset_projection(
        &self,
        consumer: &Consumer,
        id: &ConversationId,
    ) -> Result<(), StoreError>;

    /// Conversations that are hot, by id, above `after`: since they were last at rest something
    /// may have been written that not every projection has seen.
    async fn hot(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError>;

    /// All conversations, people's own included, by id, above `after`.
    async fn all_conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// The effect of [`Consumer::THREADS`], in one transaction with its cursor: counts messages
    /// of threads, makes their senders and the named people followers (to whom what was there before
    /// is read), and moves the sender's own mark. Nothing happens, and the answer is `false`, when the cursor is not at
    /// [`ProjectionStep::from`].
    async fn project_threads(
        &self,
        step: &ProjectionStep,
        entries: Vec<ThreadEntry>,
    ) -> Result<bool, StoreError>;

    /// Raises a member's read mark in a thread, up to its newest message; never lowers it. The
    /// thread as it is then, or `None` if there is no such thread, or they are not a member.
    async fn read_thread(
        &self,
        id: &ConversationId,
        user: &UserId,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError>;

    /// Threads that a member follows: the named ones, as far as they are followed, or the most
    /// recently active; at most `limit`, the most recent first. Messages from before the membership
    /// that is open now are not unread. To whoever is not a member there are no threads; who comes
    /// back follows what they followed.
    async fn threads(
        &self,
        id: &ConversationId,
        user: &UserId,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError>;
}
