//! What has not reached all devices of a person.

use async_trait::async_trait;

use crate::{
    Backlog, ConversationId, DeviceId, PendingEntry, PendingQueue, Person, ProjectionStep, Seq,
    StoreError, StreamCursor, Timestamp, UserId, WorkspaceId,
};

/// The store-and-forward queue: a projection of the log that knows which of a person's entries
/// some device of theirs lacks. It lives where the device cursors live.
///
/// A device of a person is known from the first cursor that it wrote. It lacks an entry while its
/// cursor in the conversation is before the entry and its stream cursor is as well; beside a log
/// of another store a stream cursor counts once [`QueueStore::trim_queue`] has been told of it, for
/// what was queued by then. A person without a known device has no queue: such a client names its
/// own place.
#[async_trait]
pub trait QueueStore: Send + Sync {
    /// In one transaction: moves the projection's cursor, and puts those of the entries that some
    /// device of their person lacks into the person's queue. Beyond `cap` entries of one person
    /// the oldest are dropped. Nothing happens, and the answer is `false`, when the cursor is not
    /// at [`ProjectionStep::from`].
    async fn enqueue(
        &self,
        step: &ProjectionStep,
        workspace: &WorkspaceId,
        entries: Vec<PendingEntry>,
        cap: usize,
    ) -> Result<bool, StoreError>;

    /// Drops what all devices of a person have by now: in one conversation, or in all.
    async fn trim_queue(
        &self,
        acknowledged: Vec<(Person, Option<ConversationId>)>,
    ) -> Result<(), StoreError>;

    /// A person's queue: the conversations with urgent entries first, each kind by its oldest
    /// entry, at most `limit`.
    async fn queue(&self, person: &Person, limit: usize) -> Result<PendingQueue, StoreError>;

    /// The devices of a person that are known, by id.
    async fn devices(&self, person: &Person) -> Result<Vec<DeviceId>, StoreError>;

    /// Sets the totals of people's queues to what is in them, whatever they were: in the order of
    /// people, above `after`, at most `limit`; whom. Others may write meanwhile.
    async fn recount_queues(
        &self,
        after: Option<&Person>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError>;

    /// Drops entries older than a moment, at most `limit`; how many.
    async fn expire_queue(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;

    /// How much a person missed behind a cursor over all conversations, and how old the oldest of
    /// it is. No more than `enough` entries are counted, and nothing further is looked at. `None`
    /// for a cursor that this store did not issue.
    async fn backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError>;

    /// Those of `people` who have a device that lacks a place of a conversation, or none at all;
    /// nobody's device lacks place 0.
    async fn lacking(
        &self,
        id: &ConversationId,
        seq: Seq,
        workspace: &WorkspaceId,
        people: &[UserId],
    ) -> Result<Vec<UserId>, StoreError>;
}
