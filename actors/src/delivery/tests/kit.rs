//! A process: sequencers and delivery on a store in a directory of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quikapp_storage::{
    Consumer, ConversationId, ConversationKind, DeviceCursor, DeviceId, Entry, EntryKind,
    NewConversation, Person, ProjectionStep, Role, Seq, SharedStore, StoreError, Timestamp, UserId,
    WorkspaceId,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Clock,
    clock::ManualClock,
    conversation::{
        self, Command, CommandError, Conversations, Limits, MessageClass, Outcome, SendMessage,
        tests::faulty::{Faults, FaultyStore},
    },
    delivery::{Config, Delivery, MaySend, Parts, Projection, devices},
    fanout::Fanout,
};

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Kit {
    pub(super) store: SharedStore,
    pub(super) conversations: Conversations,
    pub(super) delivery: Delivery,
    pub(super) clock: ManualClock,
    /// What the door of authorization answers, instead of letting everybody through.
    pub(super) refuses: Arc<Mutex<Option<CommandError>>>,
    dir: Arc<TempDir>,
}

/// Settings under which everything happens at once.
pub(super) fn eager() -> Config {
    Config {
        projection_window: Duration::from_millis(1),
        timer_poll: Duration::from_millis(2),
        ..Config::default()
    }
}

impl Kit {
    pub(super) async fn new() -> Self {
        Self::with(eager(), Vec::new()).await
    }

    pub(super) async fn with(config: Config, projections: Vec<Arc<dyn Projection>>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = ManualClock::at(START);
        Self::at(dir, clock, config, projections).await
    }

    async fn at(
        dir: Arc<TempDir>,
        clock: ManualClock,
        config: Config,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Self {
        let path = dir.path().join("data");
        let store = quikapp_storage::open(&quikapp_storage::Config::at(path)).unwrap();
        Self::assemble(store, dir, clock, config, projections).await
    }

    /// On a store whose operations can be made to fail, and are counted.
    pub(super) async fn faulty(config: Config) -> (Self, Arc<Faults>) {
        let (dir, faults) = (Arc::new(tempfile::tempdir().unwrap()), Arc::default());
        let at = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&at).unwrap();
        let store = Arc::new(FaultyStore::new(store, Arc::clone(&faults)));
        let clock = ManualClock::at(START);
        let kit = Self::assemble(store, dir, clock, config, Vec::new()).await;
        (kit, faults)
    }

    /// With limits of what clients send.
    pub(super) async fn limited(limits: Limits) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let at = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&at).unwrap();
        let place = (store, dir, ManualClock::at(START));
        Self::assemble_with(limits, place, eager(), Vec::new()).await
    }

    /// On a store that the test has opened.
    pub(super) async fn on(
        store: SharedStore,
        config: Config,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::assemble(store, dir, ManualClock::at(START), config, projections).await
    }

    /// With a consumer of its own, which hangs while that is said.
    pub(super) async fn with_a_consumer_that_hangs() -> (Self, Arc<AtomicBool>) {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let at = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&at).unwrap();
        let hangs = Arc::new(AtomicBool::new(true));
        let consumer = Arc::new(Hanging {
            store: store.clone(),
            hangs: Arc::clone(&hangs),
        });
        let clock = ManualClock::at(START);
        let kit = Self::assemble(store, dir, clock, eager(), vec![consumer]).await;
        (kit, hangs)
    }

    async fn assemble(
        store: SharedStore,
        dir: Arc<TempDir>,
        clock: ManualClock,
        config: Config,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Self {
        let place = (store, dir, clock);
        Self::assemble_with(Limits::default(), place, config, projections).await
    }

    async fn assemble_with(
        limits: Limits,
        (store, dir, clock): (SharedStore, Arc<TempDir>, ManualClock),
        config: Config,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Self {
        let settings = conversation::Config {
            limits,
            idle: Duration::from_millis(40),
            min_tenure: Duration::ZERO,
            ..conversation::Config::default()
        };
        let (fanout, now) = (Fanout::new(), Arc::new(clock.clone()));
        let conversations = Conversations::start(settings, store.clone(), fanout, now.clone());
        let conversations = conversations.await.unwrap();
        let refuses = Arc::<Mutex<Option<CommandError>>>::default();
        let asked = Arc::clone(&refuses);
        let may_send: MaySend = Arc::new(move |_, _, _| {
            let answer = asked.lock().clone().map_or(Ok(()), Err);
            Box::pin(std::future::ready(answer))
        });
        let delivery = Delivery::start(Parts {
            config,
            store: store.clone(),
            conversations: conversations.clone(),
            clock: now,
            may_send,
            projections,
        });
        Self {
            store,
            conversations,
            delivery,
            clock,
            refuses,
            dir,
        }
    }

    /// Another process on the same data, after this one has stopped, or while it is still there.
    pub(super) async fn next(&self, config: Config) -> Self {
        Self::at(
            Arc::clone(&self.dir),
            self.clock.clone(),
            config,
            Vec::new(),
        )
        .await
    }

    pub(super) async fn stop(&self) {
        self.conversations.stop().await;
        self.delivery.stop().await;
        self.store.close().await;
    }

    pub(super) async fn group(&self, members: &[&str]) -> ConversationId {
        let id = ConversationId::generate();
        let members = members.iter().enumerate().map(|(nth, name)| {
            let role = if nth == 0 { Role::Owner } else { Role::Member };
            (person(name).user, role)
        });
        let new = NewConversation {
            id: id.clone(),
            workspace: person("ann").workspace,
            kind: ConversationKind::Group,
            name: None,
            created_by: person("ann").user,
            created_at: START,
            members: members.collect(),
        };
        self.conversations.create(new).await.unwrap();
        id
    }

    pub(super) async fn submit(
        &self,
        by: &str,
        id: &ConversationId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        self.conversations.submit(&person(by), id, command).await
    }

    pub(super) async fn send(&self, by: &str, id: &ConversationId, send: SendMessage) -> Outcome {
        let command = Command::Send(Box::new(send));
        self.submit(by, id, command).await.unwrap()
    }

    pub(super) async fn log(&self, id: &ConversationId) -> Vec<Entry> {
        self.store.entries(id, Seq(0), 10_000).await.unwrap()
    }

    /// What was written to a person's own conversation, newest last.
    pub(super) async fn notices(&self, name: &str) -> Vec<Value> {
        let log = self.log(&person(name).own_conversation()).await;
        let notices = log.iter().filter(|it| it.kind == EntryKind::Notice);
        notices
            .map(|it| serde_json::from_str(&it.payload).unwrap())
            .collect()
    }

    pub(super) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A device says what it has.
    pub(super) async fn acknowledge(
        &self,
        name: &str,
        device: &str,
        id: &ConversationId,
        seq: u64,
    ) {
        let cursor = DeviceCursor {
            person: person(name),
            device: DeviceId::new(device).unwrap(),
            conversation: id.clone(),
            seq: Seq(seq),
        };
        self.store.write_cursors(vec![cursor]).await.unwrap();
        let device = DeviceId::new(device).unwrap();
        self.delivery.acknowledged(&person(name), &device, Some(id));
    }

    /// Writes down which devices are in use, and forgets those that are not.
    pub(super) async fn rounds_of_devices(&self) {
        let shared = self.delivery.shared();
        let used = shared.acks.take_used();
        devices::note(shared, used).await.unwrap();
        devices::round(shared, &mut None).await.unwrap();
    }

    /// How much of a conversation is in somebody's queue.
    pub(super) async fn queued(&self, name: &str, id: &ConversationId) -> u64 {
        let queue = self.store.queue(&person(name), 100).await.unwrap();
        let mut parts = queue.conversations.iter();
        let part = parts.find(|part| part.conversation == *id);
        part.map_or(0, |part| part.count)
    }

    pub(super) async fn is_hot(&self, id: &ConversationId) -> bool {
        let hot = self.store.hot(None, 10_000).await.unwrap();
        hot.iter().any(|hot| hot.id == *id)
    }

    pub(super) async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let held = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(held.is_ok(), "waited in vain: {what}");
    }
}

struct Hanging {
    store: SharedStore,
    hangs: Arc<AtomicBool>,
}

/// Under which name it is known.
pub(super) fn hanging() -> Consumer {
    Consumer::feed("hanging").unwrap()
}

#[async_trait]
impl Projection for Hanging {
    fn consumer(&self) -> Consumer {
        hanging()
    }

    async fn project(&self, step: &ProjectionStep, _: &[Entry]) -> Result<bool, StoreError> {
        while self.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.store.move_projection(step).await
    }
}

pub(super) fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new(name).unwrap(),
    }
}

pub(super) fn text(content: &str) -> SendMessage {
    SendMessage {
        kind: "text".into(),
        content: Some(content.into()),
        ..SendMessage::default()
    }
}

pub(super) fn of_class(class: MessageClass, content: &str) -> SendMessage {
    SendMessage {
        class,
        ..text(content)
    }
}
