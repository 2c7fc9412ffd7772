//! One or more processes' worth of sequencers on an embedded store.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use quikapp_storage::{
    ConversationId, ConversationKind, Epoch, NewConversation, Person, Role, Seq, SharedStore,
    Timestamp, UserId, WorkspaceId,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::faulty::{Faults, FaultyStore};
use crate::{
    Clock, SystemClock,
    conversation::{
        Command, CommandError, Config, Conversations, Outcome, SendMessage, topic_of, wire,
    },
    fanout::{
        ConnectionId, Deliveries, Delivery, Drained, Fanout, Lane, Outbox, OutboxLimits, SlotKey,
        Subscription,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Kit {
    pub(super) conversations: Conversations,
    pub(super) store: SharedStore,
    pub(super) faults: Arc<Faults>,
    pub(super) clock: Arc<dyn Clock>,
    dir: Arc<TempDir>,
}

impl Kit {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        Self::at(Arc::new(tempfile::tempdir().unwrap()), config, false).await
    }

    pub(super) async fn with_clock(config: Config, clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::assemble(dir, config, false, clock).await
    }

    pub(super) async fn faulty() -> Self {
        Self::faulty_at(Arc::new(SystemClock)).await
    }

    pub(super) async fn faulty_at(clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::assemble(dir, Config::default(), true, clock).await
    }

    /// Another process on the same data directory.
    pub(super) async fn second_process(&self, config: Config) -> Self {
        Self::at(Arc::clone(&self.dir), config, false).await
    }

    async fn at(dir: Arc<TempDir>, config: Config, faulty: bool) -> Self {
        Self::assemble(dir, config, faulty, Arc::new(SystemClock)).await
    }

    async fn assemble(
        dir: Arc<TempDir>,
        config: Config,
        faulty: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let path = dir.path().join("data");
        let store = quikapp_storage::open(&quikapp_storage::Config::at(path)).unwrap();
        let faults = Arc::<Faults>::default();
        let store: SharedStore = if faulty {
            Arc::new(FaultyStore::new(store, Arc::clone(&faults)))
        } else {
            store
        };
        let started =
            Conversations::start(config, Arc::clone(&store), Fanout::new(), clock.clone()).await;
        Self {
            conversations: started.unwrap(),
            store,
            faults,
            clock,
            dir,
        }
    }

    pub(super) async fn group(&self, members: &[&str]) -> ConversationId {
        let roles = [Role::Owner]
            .into_iter()
            .chain(std::iter::repeat(Role::Member));
        self.create(ConversationKind::Group, members, roles).await
    }

    pub(super) async fn direct(&self, a: &str, b: &str) -> ConversationId {
        let roles = std::iter::repeat(Role::Member);
        self.create(ConversationKind::Direct, &[a, b], roles).await
    }

    async fn create(
        &self,
        kind: ConversationKind,
        members: &[&str],
        roles: impl Iterator<Item = Role>,
    ) -> ConversationId {
        let new = self.new_conversation(kind, members, roles);
        let id = new.id.clone();
        self.conversations.create(new).await.unwrap();
        id
    }

    pub(super) fn new_conversation(
        &self,
        kind: ConversationKind,
        members: &[&str],
        roles: impl Iterator<Item = Role>,
    ) -> NewConversation {
        let members: Vec<_> = members.iter().map(|name| person(name).user).collect();
        NewConversation {
            id: ConversationId::generate(),
            workspace: person("ann").workspace,
            kind,
            name: None,
            created_by: members[0].clone(),
            created_at: self.clock.now(),
            members: members.into_iter().zip(roles).collect(),
        }
    }

    /// The events in somebody's own conversation.
    pub(super) async fn told(&self, name: &str) -> Vec<String> {
        let own = person(name).own_conversation();
        let entries = self.store.entries(&own, Seq(0), 10_000).await.unwrap();
        let events = entries.iter().map(|entry| wire::pushed(entry).event);
        events.map(std::borrow::Cow::into_owned).collect()
    }

    pub(super) async fn submit(
        &self,
        by: &str,
        id: &ConversationId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        self.conversations.submit(&person(by), id, command).await
    }

    pub(super) async fn send(
        &self,
        by: &str,
        id: &ConversationId,
        send: SendMessage,
    ) -> Result<Outcome, CommandError> {
        self.submit(by, id, Command::Send(Box::new(send))).await
    }

    /// Sends as a good client does: again, with the same client_id, after any retryable refusal.
    pub(super) async fn send_until_done(
        &self,
        by: &str,
        id: &ConversationId,
        send: SendMessage,
    ) -> Outcome {
        let attempts = async {
            loop {
                match self.send(by, id, send.clone()).await {
                    Ok(outcome) => return outcome,
                    Err(
                        CommandError::Moved { .. }
                        | CommandError::Overloaded
                        | CommandError::Unavailable
                        | CommandError::OutcomeUnknown,
                    ) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        timeout(PATIENCE, attempts).await.expect("accepted in time")
    }

    pub(super) async fn block(&self, by: &str, other: &str, blocked: bool) {
        let (person, other) = (person(by), person(other).user);
        let now = SystemClock.now();
        let set = self.store.set_block(&person, &other, blocked, now).await;
        set.unwrap();
    }

    pub(super) async fn log(&self, id: &ConversationId) -> Vec<Seq> {
        let entries = self.store.entries(id, Seq(0), 10_000).await.unwrap();
        entries.into_iter().map(|entry| entry.seq).collect()
    }

    pub(super) async fn epoch(&self, id: &ConversationId) -> Epoch {
        self.store.conversation(id).await.unwrap().unwrap().epoch
    }

    pub(super) async fn wait_until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async { while !holds().await {} };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}");
    }

    pub(super) fn listen(&self, id: &ConversationId) -> Listener {
        let outbox = Arc::new(Outbox::new(ConnectionId(1), OutboxLimits::default()));
        let fanout = self.conversations.fanout();
        let subscription = fanout.subscribe(&topic_of(id), &outbox, SlotKey(0), Lane::Own);
        Listener {
            outbox,
            waiting: Deliveries::new(),
            _subscription: subscription,
        }
    }
}

/// Somebody on a topic.
pub(super) struct Listener {
    outbox: Arc<Outbox>,
    waiting: Deliveries,
    _subscription: Subscription,
}

impl Listener {
    /// The places of the next broadcasts.
    pub(super) async fn seqs(&mut self, count: usize) -> Vec<Seq> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            if let Delivery::Broadcast { broadcast, .. } = self.next().await {
                seqs.push(broadcast.seq().unwrap());
            }
        }
        seqs
    }

    pub(super) async fn event(&mut self) -> (String, Value) {
        loop {
            if let Delivery::Broadcast { broadcast, .. } = self.next().await {
                let payload = broadcast.payload().parse().unwrap();
                return (broadcast.event().to_owned(), payload);
            }
        }
    }

    pub(super) async fn note<T: Clone + 'static>(&mut self) -> T {
        loop {
            if let Delivery::Note { note, .. } = self.next().await
                && let Some(message) = note.get::<T>()
            {
                return message.clone();
            }
        }
    }

    async fn next(&mut self) -> Delivery {
        while self.waiting.is_empty() {
            let drained = poll_fn(|cx| match self.outbox.poll_drain(cx, &mut self.waiting) {
                Poll::Ready(Drained::Close(close)) => panic!("cut off: {close:?}"),
                other => other.map(drop),
            });
            timeout(PATIENCE, drained).await.expect("heard in time");
        }
        self.waiting.pop_front().unwrap()
    }
}

pub(super) fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new(name).unwrap(),
    }
}

pub(super) fn message(content: &str) -> SendMessage {
    SendMessage {
        kind: "text".into(),
        content: Some(content.into()),
        ..SendMessage::default()
    }
}

/// A `client_id` as clients make them, where there is a horizon.
pub(super) fn made_at(at: Timestamp) -> String {
    let ms = u64::try_from(at.0).unwrap();
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &[7; 10]);
    id.into_uuid().to_string()
}

pub(super) fn with_id(client_id: &str, content: &str) -> SendMessage {
    SendMessage {
        client_id: Some(client_id.into()),
        ..message(content)
    }
}
