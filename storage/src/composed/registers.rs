//! Registers that lie beside a log of another store.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;

use crate::{
    ConversationId, ConversationSummary, DetachedRegisters, DetachedWrite, DeviceCursor, DeviceId,
    Marks, MessageId, Mute, PendingConversation, Person, RegisterStore, RegisterWrite, Registers,
    Seq, SharedLog, StoreError, StreamCursor, ThreadReader, ThreadUnread, UserId,
};

/// Asks the log where a conversation stands, then the store of the registers.
pub(super) struct Detached {
    log: SharedLog,
    registers: Arc<dyn DetachedRegisters>,
}

impl Detached {
    /// Registers of the conversations of a log.
    pub(super) fn new(log: SharedLog, registers: Arc<dyn DetachedRegisters>) -> Self {
        Self { log, registers }
    }

    /// Puts unread counts into summaries, which the store of the log cannot know.
    pub(super) async fn count_unread(
        &self,
        user: &UserId,
        mut summaries: Vec<ConversationSummary>,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        if summaries.is_empty() {
            return Ok(summaries);
        }
        let ids: Vec<ConversationId> = summaries
            .iter()
            .map(|summary| summary.conversation.id.clone())
            .collect();
        let marks = self.registers.detached_marks(user, &ids).await?;
        let places = marks.iter().map(Marks::read_until);
        let places: Vec<(ConversationId, Seq)> = ids.into_iter().zip(places).collect();
        let counts = self.log.counts(&places).await?;
        for (summary, read) in summaries.iter_mut().zip(counts) {
            summary.unread = summary.conversation.n.saturating_sub(read);
        }
        Ok(summaries)
    }

    /// Moves devices in the conversations of their person's queue to where their stream cursors
    /// stand: what is beside the log cannot compare those with an entry, and knows devices by
    /// their places in conversations alone.
    pub(super) async fn follow_streams(
        &self,
        person: &Person,
        devices: &[DeviceId],
        queued: &[PendingConversation],
    ) -> Result<(), StoreError> {
        if queued.is_empty() {
            return Ok(());
        }
        let mut moved = Vec::new();
        for device in devices {
            let cursor = self.registers.detached_stream_cursor(person, device);
            let Some(rank) = cursor
                .await?
                .and_then(|cursor| self.log.cursor_rank(&cursor))
            else {
                continue;
            };
            for part in queued {
                let seq = self.passed(part, rank).await?;
                moved.extend(seq.map(|seq| DeviceCursor {
                    person: person.clone(),
                    device: device.clone(),
                    conversation: part.conversation.clone(),
                    seq,
                }));
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        self.registers.write_detached_cursors(moved).await
    }

    /// The last place of a queued stretch that a stream cursor stands behind.
    async fn passed(
        &self,
        part: &PendingConversation,
        rank: u64,
    ) -> Result<Option<Seq>, StoreError> {
        let (id, mut low, mut high) = (&part.conversation, part.first, part.last);
        if self.is_passed(id, high, rank).await? {
            return Ok(Some(high));
        }
        if !self.is_passed(id, low, rank).await? {
            return Ok(None);
        }
        // It stands behind `low`, and not behind `high`.
        while high > low.next() {
            let middle = Seq(low.0.midpoint(high.0));
            if self.is_passed(id, middle, rank).await? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(Some(low))
    }

    /// Whether a stream cursor stands behind an entry. One that has no place in the stream yet has
    /// the cursor of the entry before it: no cursor stands behind that.
    async fn is_passed(
        &self,
        id: &ConversationId,
        seq: Seq,
        rank: u64,
    ) -> Result<bool, StoreError> {
        let own = self.rank_of(id, seq).await?;
        let before = self.rank_of(id, Seq(seq.0.saturating_sub(1))).await?;
        Ok(before < own && own <= Some(rank))
    }

    async fn rank_of(&self, id: &ConversationId, seq: Seq) -> Result<Option<u64>, StoreError> {
        let cursor = self.log.cursor_of(id, seq).await?;
        Ok(self.log.cursor_rank(&cursor))
    }

    /// As [`ProjectionStore::read_thread`](crate::ProjectionStore::read_thread).
    pub(super) async fn read_thread(
        &self,
        id: &ConversationId,
        user: &UserId,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        match self.reader(id, user).await? {
            Some(reader) => self.registers.read_detached_thread(reader, root, seq).await,
            None => Ok(None),
        }
    }

    /// As [`ProjectionStore::threads`](crate::ProjectionStore::threads).
    pub(super) async fn threads(
        &self,
        id: &ConversationId,
        user: &UserId,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError> {
        match self.reader(id, user).await? {
            Some(reader) => self.registers.detached_threads(reader, roots, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// Since when somebody is a member, which the store of the registers cannot know.
    async fn reader(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Option<ThreadReader>, StoreError> {
        let intervals = self.log.membership(id, user).await?;
        let open = intervals.iter().find(|interval| interval.to_seq.is_none());
        Ok(open.map(|open| ThreadReader {
            conversation: id.clone(),
            user: user.clone(),
            from: open.from_seq,
        }))
    }

    async fn tails(
        &self,
        ids: impl Iterator<Item = &ConversationId>,
    ) -> Result<HashMap<ConversationId, Seq>, StoreError> {
        let mut ids: Vec<ConversationId> = ids.cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(self.log.tails(&ids).await?.into_iter().collect())
    }
}

#[async_trait]
impl RegisterStore for Detached {
    async fn write_registers(
        &self,
        writes: Vec<RegisterWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        let tails = self
            .tails(writes.iter().map(|write| &write.conversation))
            .await?;
        let mut places = Vec::new();
        let mut known = Vec::new();
        let count = writes.len();
        for (place, write) in writes.into_iter().enumerate() {
            if let Some(&tail) = tails.get(&write.conversation) {
                places.push(place);
                known.push(DetachedWrite { write, tail });
            }
        }
        let mut answers = vec![Registers::default(); count];
        if known.is_empty() {
            return Ok(answers);
        }
        let written = self.registers.write_detached(known).await?;
        for (place, registers) in places.into_iter().zip(written) {
            answers[place] = registers;
        }
        Ok(answers)
    }

    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        self.registers.detached(id, user).await
    }

    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        self.registers.detached_mutes(id, users).await
    }

    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        self.registers
            .detached_marks_since(id, version, limit)
            .await
    }

    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError> {
        let Some(conversation) = self.log.conversation(id).await? else {
            return Ok(0);
        };
        let ids = std::slice::from_ref(id);
        let marks = self.registers.detached_marks(user, ids).await?;
        let read = marks.first().map_or(Seq(0), Marks::read_until);
        let counts = self.log.counts(&[(id.clone(), read)]).await?;
        let read = counts.first().copied().unwrap_or(0);
        Ok(conversation.n.saturating_sub(read))
    }

    async fn write_cursors(&self, mut cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        let tails = self
            .tails(cursors.iter().map(|cursor| &cursor.conversation))
            .await?;
        cursors.retain_mut(|cursor| match tails.get(&cursor.conversation) {
            Some(tail) => {
                cursor.seq = cursor.seq.min(*tail);
                true
            }
            None => false,
        });
        if cursors.is_empty() {
            return Ok(());
        }
        self.registers.write_detached_cursors(cursors).await
    }

    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        self.registers.detached_cursor(person, device, id).await
    }

    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError> {
        let rank = self
            .log
            .cursor_rank(cursor)
            .ok_or_else(|| StoreError::Invalid("not a cursor of this store".to_owned()))?;
        self.registers
            .write_detached_stream_cursor(person, device, cursor, rank)
            .await
    }

    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        self.registers.detached_stream_cursor(person, device).await
    }
}
