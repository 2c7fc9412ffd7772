//! A store whose commits fail on request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quikapp_storage::*;

/// What the next write comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Written, but nobody knows.
    UnknownButWritten,
    /// Not written, and nobody knows.
    UnknownAndLost,
    /// Not written, and that is known.
    Unavailable,
}

/// Faults to come.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    next: Mutex<Option<Fault>>,
    next_in: Mutex<Option<(ConversationId, Fault)>>,
    next_creation: Mutex<Option<Fault>>,
    refuses_acquire: AtomicBool,
    refuses_hot: AtomicBool,
    hot_refused: AtomicUsize,
    refuses_entries: AtomicBool,
    refuses_documents: AtomicBool,
    stuck: Mutex<Vec<Timer>>,
    stuck_found: AtomicUsize,
    lacking_asked: AtomicUsize,
    appended_to: Mutex<Vec<ConversationId>>,
}

impl Faults {
    /// Makes the next append fail.
    pub(crate) fn inject(&self, fault: Fault) {
        *self.next.lock() = Some(fault);
    }

    /// Makes the next append to a conversation fail.
    pub(crate) fn inject_in(&self, id: &ConversationId, fault: Fault) {
        *self.next_in.lock() = Some((id.clone(), fault));
    }

    /// Makes the next creation of a conversation fail.
    pub(crate) fn inject_creation(&self, fault: Fault) {
        *self.next_creation.lock() = Some(fault);
    }

    /// How many appends to a conversation there were, whatever came of them.
    pub(crate) fn appends_to(&self, id: &ConversationId) -> usize {
        let appended_to = self.appended_to.lock();
        appended_to.iter().filter(|it| *it == id).count()
    }

    /// Nothing that was injected is still to come.
    pub(crate) fn are_over(&self) -> bool {
        let is_none = self.next.lock().is_none() && self.next_in.lock().is_none();
        is_none && self.next_creation.lock().is_none()
    }

    fn of_append(&self, parts: &[Append]) -> Option<Fault> {
        let mut next_in = self.next_in.lock();
        let is_meant = |(id, _): &mut (ConversationId, Fault)| {
            parts.iter().any(|part| part.conversation == *id)
        };
        let meant = next_in.take_if(is_meant).map(|(_, fault)| fault);
        meant.or_else(|| self.next.lock().take())
    }

    /// Makes taking a conversation fail, until further notice.
    pub(crate) fn refuse_acquire(&self, refuse: bool) {
        self.refuses_acquire.store(refuse, Ordering::SeqCst);
    }

    /// Makes reading what is hot fail, until further notice.
    pub(crate) fn refuse_hot(&self, refuse: bool) {
        self.refuses_hot.store(refuse, Ordering::SeqCst);
    }

    /// How often that has failed.
    pub(crate) fn hot_refused(&self) -> usize {
        self.hot_refused.load(Ordering::SeqCst)
    }

    /// Makes reading logs fail, until further notice.
    pub(crate) fn refuse_entries(&self, refuse: bool) {
        self.refuses_entries.store(refuse, Ordering::SeqCst);
    }

    /// Makes keeping documents fail, until further notice.
    pub(crate) fn refuse_documents(&self, refuse: bool) {
        self.refuses_documents.store(refuse, Ordering::SeqCst);
    }

    /// From now on these timers are due, and no timer can be moved or deleted, until there are
    /// none of them.
    pub(crate) fn stick(&self, timers: Vec<Timer>) {
        *self.stuck.lock() = timers;
    }

    /// How often those were found due.
    pub(crate) fn stuck_found(&self) -> usize {
        self.stuck_found.load(Ordering::SeqCst)
    }

    /// How often it was asked who lacks a place.
    pub(crate) fn lacking_asked(&self) -> usize {
        self.lacking_asked.load(Ordering::SeqCst)
    }

    fn writes_timers(&self) -> Result<(), StoreError> {
        match self.stuck.lock().is_empty() {
            true => Ok(()),
            false => Err(StoreError::Unavailable("injected".to_owned())),
        }
    }
}

/// See the module.
pub(crate) struct FaultyStore {
    inner: SharedStore,
    faults: Arc<Faults>,
}

impl FaultyStore {
    pub(crate) fn new(inner: SharedStore, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl ConversationStore for FaultyStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Created, StoreError> {
        let fault = self.faults.next_creation.lock().take();
        let injected = "injected".to_owned();
        match fault {
            None => self.inner.create_conversation(new).await,
            Some(Fault::UnknownButWritten) => {
                self.inner.create_conversation(new).await?;
                Err(StoreError::Unknown(injected))
            }
            Some(Fault::UnknownAndLost) => Err(StoreError::Unknown(injected)),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable(injected)),
        }
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.inner.conversation(id).await
    }

    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError> {
        self.inner.direct(workspace, a, b).await
    }

    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.inner.members(id, after, limit).await
    }

    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError> {
        self.inner.membership(id, user).await
    }

    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        self.inner.conversations_of(person).await
    }

    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        self.inner.list_conversations(person, below, limit).await
    }

    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError> {
        self.inner.summary(person, id).await
    }
}

#[async_trait]
impl LogStore for FaultyStore {
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError> {
        if self.faults.refuses_acquire.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("injected".to_owned()).into());
        }
        self.inner.acquire(id, claim).await
    }

    async fn append(&self, parts: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let ids = parts.iter().map(|part| part.conversation.clone());
        self.faults.appended_to.lock().extend(ids);
        let unknown = || StoreError::Unknown("injected".to_owned()).into();
        match self.faults.of_append(&parts) {
            None => self.inner.append(parts).await,
            Some(Fault::UnknownButWritten) => {
                let results = self.inner.append(parts).await;
                results.into_iter().map(|_| Err(unknown())).collect()
            }
            Some(Fault::UnknownAndLost) => parts.iter().map(|_| Err(unknown())).collect(),
            Some(Fault::Unavailable) => {
                let error = || StoreError::Unavailable("injected".to_owned()).into();
                parts.iter().map(|_| Err(error())).collect()
            }
        }
    }

    async fn release(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        self.inner.release(id, epoch, tail).await
    }

    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError> {
        self.inner.by_keys(id, keys).await
    }

    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if self.faults.refuses_entries.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("injected".to_owned()));
        }
        self.inner.entries(id, after, limit).await
    }

    async fn tails(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        self.inner.tails(ids).await
    }

    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        self.inner.messages(id, ids).await
    }

    async fn history(
        &self,
        id: &ConversationId,
        visible: &[Member],
        hidden_for: &UserId,
        thread: Option<MessageId>,
        page: Page,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.inner
            .history(id, visible, hidden_for, thread, page, limit)
            .await
    }

    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        self.inner.search(id, search).await
    }

    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        self.inner.hide_message(id, user, message).await
    }

    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError> {
        self.inner.pinned(id).await
    }

    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        self.inner.missed(person, after, limit).await
    }

    async fn complete_stream(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        self.inner.complete_stream(ids).await
    }

    async fn cursor_now(&self) -> Result<StreamCursor, StoreError> {
        self.inner.cursor_now().await
    }

    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError> {
        self.inner.cursor_valid(cursor).await
    }

    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64> {
        self.inner.cursor_rank(cursor)
    }

    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError> {
        self.inner.counts(places).await
    }

    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError> {
        self.inner.cursor_of(id, seq).await
    }
}

#[async_trait]
impl LogUpkeep for FaultyStore {
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.inner.ever_in(person, after, limit).await
    }

    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError> {
        self.inner.redact(id, payloads).await
    }

    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        self.inner.forget_hidden(id, user).await
    }

    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError> {
        self.inner.put_views(id, epoch, views).await
    }

    async fn scrub(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        self.inner.scrub(ids).await
    }
}

#[async_trait]
impl DeviceStore for FaultyStore {
    async fn devices_used(
        &self,
        devices: Vec<(Person, DeviceId)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.devices_used(devices, at).await
    }

    async fn forget_unused_devices(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        self.inner.forget_unused_devices(before, now, limit).await
    }

    async fn forget_excess_devices(
        &self,
        person: &Person,
        most: usize,
        in_hand: &[DeviceId],
    ) -> Result<u64, StoreError> {
        let gone = self.inner.forget_excess_devices(person, most, in_hand);
        gone.await
    }

    async fn forget_device(&self, person: &Person, device: &DeviceId) -> Result<bool, StoreError> {
        self.inner.forget_device(person, device).await
    }

    async fn last_used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.inner.last_used(person, devices).await
    }
}

#[async_trait]
impl DocumentStore for FaultyStore {
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.documents(kind, workspace, users).await
    }

    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        if self.faults.refuses_documents.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("injected".to_owned()));
        }
        self.inner.put_document(document).await
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        self.inner.forget_documents(person).await
    }
}

#[async_trait]
impl ErasureStore for FaultyStore {
    async fn forget_registers(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        self.inner.forget_registers(id, user).await
    }

    async fn forget_devices(&self, person: &Person) -> Result<(), StoreError> {
        self.inner.forget_devices(person).await
    }

    async fn forget_profile(&self, person: &Person) -> Result<(), StoreError> {
        self.inner.forget_profile(person).await
    }
}

#[async_trait]
impl RegisterStore for FaultyStore {
    async fn write_registers(
        &self,
        writes: Vec<RegisterWrite>,
    ) -> Result<Vec<Registers>, StoreError> {
        self.inner.write_registers(writes).await
    }

    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Registers, StoreError> {
        self.inner.registers(id, user).await
    }

    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        self.inner.mutes(id, users).await
    }

    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        self.inner.marks_since(id, version, limit).await
    }

    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError> {
        self.inner.unread(id, user).await
    }

    async fn write_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        self.inner.write_cursors(cursors).await
    }

    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        self.inner.device_cursor(person, device, id).await
    }

    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError> {
        self.inner.write_stream_cursor(person, device, cursor).await
    }

    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        self.inner.stream_cursor(person, device).await
    }
}

#[async_trait]
impl PeopleStore for FaultyStore {
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError> {
        self.inner.put_profile(person, change).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError> {
        self.inner.profiles(workspace, users).await
    }

    async fn set_block(
        &self,
        person: &Person,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.set_block(person, other, blocked, at).await
    }

    async fn blocks(&self, person: &Person) -> Result<Vec<UserId>, StoreError> {
        self.inner.blocks(person).await
    }
}

#[async_trait]
impl SecurityStore for FaultyStore {
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.put_ticket(hash, claims, expires).await
    }

    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.inner.take_ticket(hash, now).await
    }

    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError> {
        self.inner.revoke(subject, at, forget_after).await
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        self.inner.revocations_since(number).await
    }
}

#[async_trait]
impl TimerStore for FaultyStore {
    async fn put_timer(&self, timer: NewTimer) -> Result<bool, StoreError> {
        self.inner.put_timer(timer).await
    }

    async fn move_timer(
        &self,
        fired: &Fired,
        due_at: Timestamp,
        payload: &str,
    ) -> Result<Option<u64>, StoreError> {
        self.faults.writes_timers()?;
        self.inner.move_timer(fired, due_at, payload).await
    }

    async fn delete_timer(&self, fired: &Fired) -> Result<bool, StoreError> {
        self.faults.writes_timers()?;
        self.inner.delete_timer(fired).await
    }

    async fn timer(&self, kind: TimerKind, id: &str) -> Result<Option<Timer>, StoreError> {
        self.inner.timer(kind, id).await
    }

    async fn due_timers(
        &self,
        shard: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let stuck = self.faults.stuck.lock().clone();
        if stuck.first().is_some_and(|timer| timer.shard == shard) {
            self.faults.stuck_found.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            return Ok(stuck);
        }
        self.inner.due_timers(shard, now, limit).await
    }

    async fn timers_of(
        &self,
        kind: TimerKind,
        group: &str,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        self.inner.timers_of(kind, group, limit).await
    }
}

#[async_trait]
impl QueueStore for FaultyStore {
    async fn enqueue(
        &self,
        step: &ProjectionStep,
        workspace: &WorkspaceId,
        entries: Vec<PendingEntry>,
        cap: usize,
    ) -> Result<bool, StoreError> {
        self.inner.enqueue(step, workspace, entries, cap).await
    }

    async fn trim_queue(
        &self,
        acknowledged: Vec<(Person, Option<ConversationId>)>,
    ) -> Result<(), StoreError> {
        self.inner.trim_queue(acknowledged).await
    }

    async fn queue(&self, person: &Person, limit: usize) -> Result<PendingQueue, StoreError> {
        self.inner.queue(person, limit).await
    }

    async fn devices(&self, person: &Person) -> Result<Vec<DeviceId>, StoreError> {
        self.inner.devices(person).await
    }

    async fn recount_queues(
        &self,
        after: Option<&Person>,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        self.inner.recount_queues(after, limit).await
    }

    async fn expire_queue(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.inner.expire_queue(before, limit).await
    }

    async fn backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        self.inner.backlog(person, after, enough).await
    }

    async fn lacking(
        &self,
        id: &ConversationId,
        seq: Seq,
        workspace: &WorkspaceId,
        people: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        self.faults.lacking_asked.fetch_add(1, Ordering::SeqCst);
        self.inner.lacking(id, seq, workspace, people).await
    }
}

#[async_trait]
impl ProjectionStore for FaultyStore {
    async fn projected(
        &self,
        consumer: &Consumer,
        ids: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError> {
        self.inner.projected(consumer, ids).await
    }

    async fn move_projection(&self, step: &ProjectionStep) -> Result<bool, StoreError> {
        self.inner.move_projection(step).await
    }

    async fn reset_projection(
        &self,
        consumer: &Consumer,
        id: &ConversationId,
    ) -> Result<(), StoreError> {
        self.inner.reset_projection(consumer, id).await
    }

    async fn hot(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        if self.faults.refuses_hot.load(Ordering::SeqCst) {
            self.faults.hot_refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Unavailable("injected".to_owned()));
        }
        self.inner.hot(after, limit).await
    }

    async fn all_conversations(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.inner.all_conversations(after, limit).await
    }

    async fn project_threads(
        &self,
        step: &ProjectionStep,
        entries: Vec<ThreadEntry>,
    ) -> Result<bool, StoreError> {
        self.inner.project_threads(step, entries).await
    }

    async fn read_thread(
        &self,
        id: &ConversationId,
        user: &UserId,
        root: MessageId,
        seq: Seq,
    ) -> Result<Option<ThreadUnread>, StoreError> {
        self.inner.read_thread(id, user, root, seq).await
    }

    async fn threads(
        &self,
        id: &ConversationId,
        user: &UserId,
        roots: Option<&[MessageId]>,
        limit: usize,
    ) -> Result<Vec<ThreadUnread>, StoreError> {
        self.inner.threads(id, user, roots, limit).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn store_id(&self) -> uuid::Uuid {
        self.inner.store_id()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
