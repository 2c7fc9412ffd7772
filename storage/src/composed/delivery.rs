//! Timers, the queue and projections. A projection's effects and its cursor are beside the
//! registers, in one transaction; what it reads, and what is hot, is in the store of the log.

use async_trait::async_trait;

use super::{Composed, Registers};
use crate::{
    Backlog, Consumer, ConversationId, DeviceId, Fired, HotConversation, MessageId, NewTimer,
    PendingEntry, PendingQueue, Person, ProjectionStep, ProjectionStore, QueueStore, Seq,
    StoreError, StreamCursor, ThreadEntry, ThreadUnread, Timer, TimerKind, TimerStore, Timestamp,
    UserId, WorkspaceId,
};

/// Conversations of a queue that are looked at when a stream was acknowledged.
const QUEUED: usize = 1_000;

#[async_trait]
impl TimerStore for Composed {
    async fn put_timer(&self, timer: NewTimer) -> Result<bool, StoreError> {
        self.timers.put_timer(timer).await
    }

    async fn move_timer(
        &self,
        fired: &Fired,
        due_at: Timestamp,
        payload: &str,
    ) -> Result<Option<u64>, StoreError> {
        self.timers.move_timer(fired, due_at, payload).await
    }

    async fn delete_timer(&self, fired: &Fired) -> Result<bool, StoreError> {
        self.timers.delete_timer(fired).await
    }

    async fn timer(&self, kind: TimerKind, id: &str) -> Result<Option<Timer>, StoreError> {
        self.timers.timer(kind, id).await
    }

    async fn due_timers(
        &self,
        shard: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        self.timers.due_timers(shard, now, limit).await
    }

    async fn timers_of(
        &self,
        kind: TimerKind,
        group: &str,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        self.timers.timers_of(kind, group, limit).await
    }
}

#[async_trait]
impl QueueStore for Composed {
    async fn enqueue(
        &self,
        step: &ProjectionStep,
        workspace: &WorkspaceId,
        entries: Vec<PendingEntry>,
        cap: usize,
    ) -> Result<bool, StoreError> {
        self.beside.enqueue(step, workspace, entries, cap).await
    }

    async fn trim_queue(
        &self,
        acknowledged: Vec<(Person, Option<ConversationId>)>,
    ) -> Result<(), StoreError> {
        if let Registers::Detached(registers, _) = &self.registers {
            let streams = acknowledged.iter().filter(|(_, id)| id.is_none());
            for (person, _) in streams {
                let queued = self.beside.queue(person, QUEUED).await?.conversations;
                let devices = self.beside.devices(person).await?;
                registers.follow_streams(person, &devices, &queued).await?;
            }
        }
        self.beside.trim_queue(acknowledged).await
    }

    async fn queue(&self, person: &Person, limit: usize) -> Result<PendingQueue, StoreError> {
        self.beside.queue(person, limit).await
    }

    async fn devices(&self, person: &Person) -> Result<Vec<DeviceId>, StoreError> {
        self.beside.devices(person).await
    }

    async fn recount_queues(
        &self,
        after: Option<&Person>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        self.beside.recount_queues(after, limit).await
    }

    async fn expire_queue(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.beside.expire_queue(before, limit).await
    }

    async fn backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        self.log.log_backlog(person, after, enough).await
    }

    async fn lacking(
        &self,
        id: &ConversationId,
        seq: Seq,
        workspace: &WorkspaceId,
        people: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        self.beside.lacking(id, seq, workspace, people).await
    }
}

#[async_trait]
impl ProjectionStore for Composed {
    async fn projected(
        &self,
        consumer: &Consumer,
        ids: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError> {
        self.beside.projected(consumer, ids).await
    }

    async fn move_projection(&self, step: &ProjectionStep) -> Result<bool, StoreError> {
        self.beside.move_projection(step).await
    }

    async fn reset_projection(
        &self,
        consumer: &Consumer,
        id: &ConversationId,
    ) -> Result<(), StoreError> {
        self.beside.reset_projection(consumer, id).await
    }

    async fn hot(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        self.log.hot_logs(after, limit).await
    }

    async fn all_conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.log.all_logs(after, limit).await
    }

    async fn project_threads(
        &self,
        step: &ProjectionStep,
        entries: Vec<ThreadEntry>,
    ) -> Result<bool, StoreError> {
        self.beside.project_threads(step, entries).await
    }

    async fn read_thread(
        &self,
        id: &ConversationId,
        user: &UserId,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        match &self.registers {
            Registers::WithLog => self.beside.read_thread(id, user, root, seq).await,
            Registers::Detached(detached, _) => detached.read_thread(id, user, root, seq).await,
        }
    }

    async fn threads(
        &self,
        id: &ConversationId,
        user: &UserId,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError> {
        match &self.registers {
            Registers::WithLog => self.beside.threads(id, user, roots, limit).await,
            Registers::Detached(detached, _) => detached.threads(id, user, roots, limit).await,
        }
    }
}
