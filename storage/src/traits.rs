//! The traits an adapter implements. All methods may be called concurrently. A method that writes
//! returns only once the write is durable (fsync, or the backend's majority commit).

mod detached;
mod devices;
mod documents;
mod erasure;
mod log_keeper;
mod projections;
mod queue;
mod timers;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    AcquireError, Acquired, Append, AppendError, Appended, Claim, Conversation, ConversationId,
    ConversationSummary, Created, DeviceCursor, DeviceId, Entry, Epoch, Key16, Marks, Member,
    Message, MessageId, MessageSearch, Missed, Mute, NewConversation, Page, Person, Profile,
    ProfileChange, RegisterWrite, Registers, Revocation, RevokedSubject, Role, Seq, StoreError,
    StreamCursor, Timestamp, UserId, WorkspaceId,
};

pub use detached::{DetachedRegisters, DetachedWrite, Fold, ThreadReader};
pub use devices::DeviceStore;
pub use documents::{DocumentKeeper, DocumentStore};
pub use erasure::ErasureStore;
pub use log_keeper::LogKeeper;
pub use projections::ProjectionStore;
pub use queue::QueueStore;
pub use timers::TimerStore;
pub use upkeep::LogUpkeep;

/// Conversations and who is in them.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Creates a conversation, or finds the one that the pair or the id already has. A direct
    /// conversation with anything but two different members is [`StoreError::Invalid`].
    async fn create_conversation(&self, new: NewConversation) -> Result<Created, StoreError>;

    /// One conversation.
    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// The direct conversation of two people, if they have one.
    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError>;

    /// Open memberships, ordered by user id, starting above `after`.
    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError>;

    /// Every interval of one person's membership, oldest first.
    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError>;

    /// The conversations (without the person's own) in which a person is a member now.
    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError>;

    /// A person's list, the most recently active first, starting below `(active_at, id)`.
    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError>;

    /// One item of that list, if the person is a member.
    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError>;
}

/// The logs, and the views that commit with them.
#[async_trait]
pub trait LogStore: Send + Sync {
    /// Takes a conversation: in one atomic update its epoch grows by one, its owner becomes the
    /// claimant and it is marked hot. An owner that claims again gets a new epoch at once, and a
    /// conversation that was released is free, whatever the claim's `min_tenure_ms`.
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError>;

    /// Appends, in one durable commit that may serve many callers. The results stand in the order
    /// of the parts; a part's failure does not touch the others. The epoch is looked at first,
    /// then the keys, then the tail, so that the retry of a batch whose answer was lost learns
    /// that it was kept. A conversation that does not exist is [`AppendError::Fenced`].
    async fn append(&self, parts: Vec<Append>) -> Vec<Result<Appended, AppendError>>;

    /// Clears `hot`, if epoch and tail are still as named; otherwise does nothing.
    async fn release(&self, id: &ConversationId, epoch: Epoch, tail: Seq)
    -> Result<(), StoreError>;

    /// The entries that hold these keys, in no particular order.
    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError>;

    /// Entries with `after < seq`, ascending.
    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// The confirmed tails of conversations; those that do not exist are left out.
    async fn tails(&self, ids: &[ConversationId])
    -> Result<Vec<(ConversationId, Seq)>, StoreError>;

    /// The folded view of messages, in no particular order.
    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError>;

    /// A page of messages visible in one of `visible`, ascending. Messages that `hidden_for` has
    /// deleted for themselves are left out. `thread` picks a thread, `None` the main timeline.
    async fn history(
        &self,
        id: &ConversationId,
        visible: &[Member],
        hidden_for: &UserId,
        thread: Option<MessageId>,
        page: Page,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// Visible messages, newest first, in which every word of the query begins a word of the text
    /// (case folded). Stops after looking at `scan` messages or finding `limit`; the second value
    /// says below which place to go on, `None` at the end.
    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError>;

    /// Hides a message from one person's history ("delete for me").
    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError>;

    /// Pinned messages, oldest first.
    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError>;

    /// What a person missed over all conversations since a cursor, their own included, each entry
    /// only where it is visible to them. An unreadable cursor is an empty page whose `next` is
    /// now: callers check with [`LogStore::cursor_valid`] first.
    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError>;

    /// Sees to it that [`missed`](Self::missed) has what [`tails`](LogStore::tails) has by now of
    /// these conversations. Where an entry is in its log and in the order over all at once, there is
    /// nothing to do.
    async fn complete_stream(&self, _ids: &[ConversationId]) -> Result<(), StoreError> {
        Ok(())
    }

    /// The cursor that stands behind everything written so far.
    async fn cursor_now(&self) -> Result<StreamCursor, StoreError>;

    /// Whether a cursor was issued by this store.
    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError>;

    /// Where a cursor of this store stands among its cursors: a later one has the higher rank.
    /// `None` for what this store did not issue.
    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64>;

    /// [`Entry::n`] at some places, in their order; 0 where there is no such place.
    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError>;

    /// The cursor just behind one entry, or behind the last entry before that place.
    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError>;
}

/// Registers beside the log.
#[async_trait]
pub trait RegisterStore: Send + Sync {
    /// Applies changes in one transaction and returns, in order, the registers as they stand
    /// after each. Marks never go back nor pass the tail; a change that changes nothing keeps its
    /// version. For a conversation that does not exist nothing is kept, and the answer is empty
    /// registers.
    async fn write_registers(
        &self,
        writes: Vec<RegisterWrite>,
    ) -> Result<Vec<Registers>, StoreError>;

    /// One person's registers.
    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError>;

    /// The mutes of several people in one conversation, in their order; `None` where there is none.
    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError>;

    /// The marks of members that changed after `version`, at most `limit`, ascending by version.
    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError>;

    /// Unread messages of a person: `n` at the tail less `n` at the read mark (or `unread_from`).
    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError>;

    /// Raises device cursors, up to the tail; never lowers one.
    async fn write_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError>;

    /// One device's place.
    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError>;

    /// Keeps the stream cursor that a device acknowledged on its `user:` topic, unless it has
    /// acknowledged a later one. A cursor of another store is [`StoreError::Invalid`].
    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError>;

    /// The stream cursor that a device acknowledged last.
    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError>;
}

/// People: profiles, privacy, blocks.
#[async_trait]
pub trait PeopleStore: Send + Sync {
    /// Creates or changes a profile.
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError>;

    /// Profiles of those who have one.
    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError>;

    /// `person` blocks or unblocks `other`.
    async fn set_block(
        &self,
        person: &Person,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Everyone with whom there is a block in either direction.
    async fn blocks(&self, person: &Person) -> Result<Vec<UserId>, StoreError>;
}

/// One-time tickets and revocations.
#[async_trait]
pub trait SecurityStore: Send + Sync {
    /// Keeps the claims behind a ticket (the store gets a hash of the ticket, not the ticket).
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes a ticket: at most one caller ever gets its claims, and none after it expired.
    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError>;

    /// Writes a revocation down and numbers it.
    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError>;

    /// Revocations above a number, ascending.
    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError>;

    /// Waits until another node is heard to have written a revocation above a number; the number.
    /// Only a hint, which may never come: readers poll all the same.
    async fn revocation_hint(&self, above: u64) -> u64 {
        let _ = above;
        std::future::pending().await
    }
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it takes writes.
    pub writable: bool,
    /// What is wrong, for people.
    pub detail: Option<String>,
    /// How long the probe took, in microseconds.
    pub latency_us: u64,
}

/// Everything a node needs kept.
#[async_trait]
pub trait Store:
    ConversationStore
    + LogStore
    + LogUpkeep
    + RegisterStore
    + PeopleStore
    + SecurityStore
    + TimerStore
    + QueueStore
    + DeviceStore
    + DocumentStore
    + ProjectionStore
    + ErasureStore
    + 'static
{
    /// Names this set of data; nodes on different stores do not belong together.
    fn store_id(&self) -> uuid::Uuid;

    /// Writes and reads something small.
    async fn health(&self) -> Health;

    /// Ends background work; what was acknowledged is durable already.
    async fn close(&self);
}

/// How a store is handed about.
pub type SharedStore = Arc<dyn Store>;

/// How the keeper of a log is handed about.
pub type SharedLog = Arc<dyn LogKeeper>;

/// How a keeper of documents is handed about.
pub type SharedDocuments = Arc<dyn DocumentKeeper>;
