//! Registers of conversations whose log another store keeps.

use async_trait::async_trait;

use crate::{
    ConversationId, DeviceCursor, DeviceId, Marks, MessageId, Mute, Person, RegisterWrite,
    Registers, Seq, StoreError, StreamCursor, ThreadUnread, UserId,
};

/// A change of a register, with what only the keeper of the log knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachedWrite {
    /// The change.
    pub write: RegisterWrite,
    /// The tail of the conversation, which no mark passes.
    pub tail: Seq,
}

/// What a stretch of a log does to read marks: sending reads, and a new member has read all that
/// was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Whose log.
    pub conversation: ConversationId,
    /// The stretch begins behind this place.
    pub after: Seq,
    /// And ends with this one.
    pub to: Seq,
    /// Up to where people have read by it.
    pub read: Vec<(UserId, Seq)>,
}

/// A member's view of the threads of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadReader {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Whose view.
    pub user: UserId,
    /// The first place of the membership that is open: nothing before it is unread.
    pub from: Seq,
}

/// The registers of a store that does not keep the log. Nothing is known here of a conversation
/// but its id, so nothing is refused because it does not exist: whoever composes stores has asked
/// the log.
///
/// What an append does to marks is derived from the log, and each conversation has a place up to
/// which that was done. A crash between the two stores leaves the place behind, and whoever takes
/// the conversation next does the rest: doing it twice changes nothing.
#[async_trait]
pub trait DetachedRegisters: Send + Sync {
    /// As [`RegisterStore::write_registers`](crate::RegisterStore::write_registers).
    async fn write_detached(
        &self,
        writes: Vec<DetachedWrite>,
    ) -> Result<Vec<Registers>, StoreError>;

    /// One person's registers.
    async fn detached(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError>;

    /// As [`RegisterStore::mutes`](crate::RegisterStore::mutes).
    async fn detached_mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError>;

    /// The marks of one person in several conversations, in their order.
    async fn detached_marks(
        &self,
        user: &UserId,
        ids: &[ConversationId],
    ) -> Result<Vec<Marks>, StoreError>;

    /// As [`RegisterStore::marks_since`](crate::RegisterStore::marks_since).
    async fn detached_marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError>;

    /// Up to which place the log has been folded into the marks.
    async fn folded(&self, id: &ConversationId) -> Result<Seq, StoreError>;

    /// In one transaction: raises read marks (and delivered ones with them, clearing
    /// `unread_from`), each only if it stands before the named place, so that a second time
    /// changes nothing; and moves the place up to which the log was folded to [`Fold::to`], if it
    /// is not before [`Fold::after`].
    async fn fold(&self, folds: Vec<Fold>) -> Result<(), StoreError>;

    /// Raises device cursors, which are not beyond the tails; never lowers one.
    async fn write_detached_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError>;

    /// One device's place.
    async fn detached_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError>;

    /// Keeps a stream cursor with its rank ([`LogStore::cursor_rank`](crate::LogStore::cursor_rank)),
    /// unless one of a higher rank is kept.
    async fn write_detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
        rank: u64,
    ) -> Result<(), StoreError>;

    /// The stream cursor that is kept.
    async fn detached_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError>;

    /// As [`ProjectionStore::read_thread`](crate::ProjectionStore::read_thread).
    async fn read_detached_thread(
        &self,
        reader: ThreadReader,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError>;

    /// As [`ProjectionStore::threads`](crate::ProjectionStore::threads).
    async fn detached_threads(
        &self,
        reader: ThreadReader,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError>;
}
