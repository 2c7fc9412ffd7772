//! The handle that other crates hold.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use quikapp_storage::{
    ConversationId, Entry, EntryId, JsonText, Key16, OwnerId, Person, Seq, SharedStore, StoreError,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Command, CommandError, Config, Limits, Outcome, SendMessage,
    batch::Pending,
    core::{Author, Request, messages, validate},
    key,
    live::Live,
    notices,
    reply::Reply,
    shard::ShardMessage,
    supervisor,
};
use crate::{
    Clock,
    delivery::Tails,
    fanout::Fanout,
    supervision::{ChildSpec, Handle, Supervisor, SupervisorSpec},
};

/// Why the sequencers did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot work.
    #[error("conversations: {0}")]
    Config(String),
    /// An actor did not start.
    #[error("the sequencers did not start: {0}")]
    Spawn(#[from] crate::supervision::StartError),
}

/// The conversations of this process: everything that is written to one goes through here.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversations {
    pub(super) shared: Arc<Shared>,
    /// The supervisor, where it is one of its own.
    alone: Option<Supervisor>,
}

/// What the handle, the shards and the batches share.
pub(crate) struct Shared {
    pub(crate) store: SharedStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) limits: Arc<Limits>,
    pub(crate) owner: OwnerId,
    pub(crate) live: Live,
    pub(crate) tails: Tails,
    pub(crate) tasks: TaskTracker,
    pub(super) shards: Box<[Handle<ShardMessage>]>,
    admission: Box<[Arc<Semaphore>]>,
    hasher: RandomState,
    stopping: CancellationToken,
}

impl Conversations {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub async fn start(
        config: Config,
        store: SharedStore,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let alone = Supervisor::start(SupervisorSpec::new("alone"));
        let started = Self::start_under(&alone, config, store, fanout, clock).await?;
        Ok(Self {
            alone: Some(alone),
            ..started
        })
    }

    /// Starts the shard actors. Until [`stop`](Self::stop), this process may own conversations.
    pub async fn start_under(
        supervisor: &Supervisor,
        config: Config,
        store: SharedStore,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let shared = Arc::new(Shared {
            live: Live::new(fanout),
            tails: Tails::default(),
            limits: Arc::new(config.limits.clone()),
            owner: OwnerId::generate(),
            tasks: TaskTracker::new(),
            shards: (0..config.shards).map(|_| Handle::new()).collect(),
            admission: (0..config.shards)
                .map(|_| Arc::new(Semaphore::new(config.shard_queue)))
                .collect(),
            hasher: RandomState::new(),
            stopping: CancellationToken::new(),
            store,
            clock,
            config,
        });
        let spec = supervisor::spec(&shared);
        supervisor.add(ChildSpec::supervisor(spec)).await?;
        Ok(Self {
            shared,
            alone: None,
        })
    }

    /// Carries out a member's command. The answer comes once it is durable, and before it is
    /// broadcast.
    pub async fn submit(
        &self,
        by: &Person,
        conversation: &ConversationId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        if let Command::Send(send) = &command {
            let now = self.shared.clock.now();
            validate::client_id(send, &self.shared.limits, now)?;
        }
        let by = Author::Person(by.clone());
        self.shared.submit(by, conversation, command).await
    }

    /// The same with an id that was made before: carried out again, it is the same entry.
    pub(crate) async fn submit_with_id(
        &self,
        by: &Person,
        conversation: &ConversationId,
        id: EntryId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        let by = Author::Person(by.clone());
        let request = Request { by, id, command };
        self.shared.submit_request(conversation, request).await
    }

    /// Carries out what no person asks for.
    pub(crate) async fn submit_as_server(
        &self,
        conversation: &ConversationId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        let by = Author::Server;
        self.shared.submit(by, conversation, command).await
    }

    /// Sends a message to whoever is connected, and keeps nothing of it. The caller has checked
    /// that the person may write here. What it answers or whose thread it is in is not checked.
    pub fn send_ephemeral(
        &self,
        by: &Person,
        conversation: &ConversationId,
        send: &SendMessage,
    ) -> Result<JsonText, CommandError> {
        let now = self.shared.clock.now();
        validate::client_id(send, &self.shared.limits, now)?;
        validate::message(send, &self.shared.limits)?;
        let (id, place) = (EntryId::generate(), (conversation, now));
        let body = messages::body(place, &by.user, id, send, None);
        let text: JsonText = serde_json::to_string(&body).unwrap_or_default().into();
        self.shared.live.say(conversation, "message:new", &text);
        Ok(text)
    }

    /// Above so many members receipts are counts.
    pub fn receipts_up_to_members(&self) -> usize {
        self.shared.config.receipts_up_to_members
    }

    /// Who follows the logs on their own time.
    pub fn tails(&self) -> &Tails {
        &self.shared.tails
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn owner(&self) -> OwnerId {
        self.shared.owner
    }

    pub(crate) fn min_tenure_ms(&self) -> u64 {
        self.shared.min_tenure_ms()
    }

    /// After so long without a change a conversation is let go by whoever sequences it.
    pub(crate) fn idle(&self) -> Duration {
        self.shared.config.idle
    }

    /// Whether this process sequences a conversation just now.
    pub(crate) fn is_sequenced_here(&self, conversation: &ConversationId) -> bool {
        self.shared.live.is_sequenced(conversation)
    }

    /// Tells what entries of a conversation had to tell people in their own conversations, as far
    /// as nobody has yet. An error means that something is left.
    pub(crate) async fn tell_late(
        &self,
        conversation: &ConversationId,
        entries: &[&Entry],
    ) -> Result<(), CommandError> {
        notices::late(&self.shared, conversation, entries).await
    }

    /// Writes a notice into a person's own conversation, which is made if there is none.
    pub async fn notify(
        &self,
        person: &Person,
        event: &str,
        payload: JsonText,
    ) -> Result<Outcome, CommandError> {
        notices::notify(&self.shared, person, event, payload, None).await
    }

    /// The same under a key: where there is an entry of that key it stays as it is, and the outcome
    /// says that it was `replayed`, whatever it says.
    pub(crate) async fn notify_once(
        &self,
        person: &Person,
        event: &str,
        payload: JsonText,
        key: Key16,
    ) -> Result<Outcome, CommandError> {
        notices::notify(&self.shared, person, event, payload, Some(key)).await
    }

    /// Whether a message of a person stands in a conversation, by its `client_id`. Reads only.
    pub async fn was_sent(
        &self,
        person: &Person,
        conversation: &ConversationId,
        send: &SendMessage,
    ) -> Result<bool, StoreError> {
        let Some(client_id) = &send.client_id else {
            return Ok(false);
        };
        let keys: Vec<_> = key::of_client(&person.user, client_id).iter().collect();
        let found = self.shared.store.by_keys(conversation, &keys).await?;
        Ok(!found.is_empty())
    }

    /// Sees to it that what is written to a conversation elsewhere is broadcast here too, for as
    /// long as its topic has subscribers. Call it after subscribing; what is above the tail that
    /// is returned arrives as a broadcast.
    pub async fn observe(&self, conversation: &ConversationId) -> Result<Seq, StoreError> {
        let tails = self.observe_all(std::slice::from_ref(conversation)).await?;
        Ok(tails.first().map(|(_, tail)| *tail).unwrap_or_default())
    }

    /// Like [`observe`](Self::observe), for many at once.
    pub async fn observe_all(
        &self,
        conversations: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        let tails = self.shared.store.tails(conversations).await?;
        for (id, tail) in &tails {
            self.shared.live.observe(id, *tail);
        }
        Ok(tails)
    }

    /// Up to where a conversation that is observed here was broadcast here.
    pub fn published(&self, conversation: &ConversationId) -> Option<Seq> {
        self.shared.live.published(conversation)
    }

    /// The topic registry on which entries are broadcast.
    pub fn fanout(&self) -> &Fanout {
        self.shared.live.fanout()
    }

    /// Finishes what was admitted, gives the conversations back, and ends the actors.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        let mut drained = Vec::new();
        for shard in &self.shared.shards {
            let (reply_to, receiver) = oneshot::channel();
            if shard.cast(ShardMessage::Drain { reply_to }).is_ok() {
                drained.push(receiver);
            }
        }
        for receiver in drained {
            // An error means that the shard has ended already.
            let _ = receiver.await;
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        if let Some(alone) = &self.alone {
            alone.stop().await;
        }
    }

    /// Makes the shard of a conversation panic.
    #[cfg(test)]
    pub(crate) fn crash_shard_of(&self, conversation: &ConversationId) {
        let shard = &self.shared.shards[self.shared.shard_of(conversation)];
        assert!(shard.cast(ShardMessage::Crash).is_ok(), "the shard runs");
    }
}

impl Shared {
    /// Queues a command with its conversation's shard and waits for the answer.
    pub(crate) async fn submit(
        &self,
        by: Author,
        conversation: &ConversationId,
        command: Command,
    ) -> Result<Outcome, CommandError> {
        let request = Request {
            by,
            id: EntryId::generate(),
            command,
        };
        self.submit_request(conversation, request).await
    }

    async fn submit_request(
        &self,
        conversation: &ConversationId,
        request: Request,
    ) -> Result<Outcome, CommandError> {
        if self.stopping.is_cancelled() {
            return Err(CommandError::Unavailable);
        }
        let index = self.shard_of(conversation);
        let permit = Arc::clone(&self.admission[index]).try_acquire_owned();
        let permit = permit.map_err(|_| CommandError::Overloaded)?;
        let (reply, answer) = Reply::new(permit);
        let pending = Pending {
            request,
            reply,
            deadline: Instant::now() + self.config.takeover_deadline,
        };
        let submit = ShardMessage::Submit {
            conversation: conversation.clone(),
            pending: Box::new(pending),
        };
        if self.shards[index].cast(submit).is_err() {
            return Err(CommandError::Unavailable);
        }
        answer.await.unwrap_or(Err(CommandError::OutcomeUnknown))
    }

    /// Nothing is admitted any more.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// What a caller hears of a conversation that does not come to rest here.
    pub(crate) fn moved(&self) -> CommandError {
        CommandError::Moved {
            retry_after_ms: self.min_tenure_ms().max(100),
        }
    }

    pub(crate) fn min_tenure_ms(&self) -> u64 {
        u64::try_from(self.config.min_tenure.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long to wait until another process has held a conversation long enough.
    pub(crate) fn wait_for_tenure(&self, held_for_ms: u64) -> Duration {
        let held = Duration::from_millis(held_for_ms);
        let remaining = self.config.min_tenure.saturating_sub(held);
        remaining.max(Duration::from_millis(10))
    }

    /// Commands admitted to a shard and not answered yet.
    pub(super) fn waiting(&self, shard: usize) -> usize {
        let free = self.admission[shard].available_permits();
        self.config.shard_queue - free
    }

    fn shard_of(&self, conversation: &ConversationId) -> usize {
        self.hasher.hash_one(conversation) as usize % self.admission.len()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// Publishes, every so often, what other processes wrote.
pub(super) async fn poll_tails(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = stop.cancelled() => return,
            () = tokio::time::sleep(shared.config.poll) => {}
        }
        if let Err(error) = shared.live.poll(&shared.store).await {
            tracing::warn!(%error, "tails not readable");
        }
    }
}
