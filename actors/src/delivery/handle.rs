//! The handle, and the tasks behind it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quikapp_storage::{
    Consumer, ConversationId, DeviceId, EntryId, Person, SharedStore, StoreError, TIMER_SHARDS,
    Timestamp,
};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config, Feed, InUse, Projection,
    acks::{self, Acks},
    devices, erasure,
    payload::ScheduledPayload,
    projections::{Notices, Queue, Threads, Timers},
    projector::{BACK_OFF, Projector},
    recovery, scheduled,
    tails::Tails,
    task::task,
    timers,
};
use crate::{
    Clock,
    conversation::{CommandError, Conversations, SendMessage},
    supervision::{ChildSpec, Supervisor, SupervisorSpec},
};

/// How long a stop waits for projections to see the last entries.
const LAST_ROUNDS: Duration = Duration::from_secs(5);

/// Whether a person may still send what they scheduled at a moment.
pub type MaySend = Arc<
    dyn Fn(
            Person,
            ConversationId,
            Timestamp,
        ) -> Pin<Box<dyn Future<Output = Result<(), CommandError>> + Send>>
        + Send
        + Sync,
>;

/// What delivery stands on.
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// Where everything is kept.
    pub store: SharedStore,
    /// Through whom messages are sent and taken away.
    pub conversations: Conversations,
    /// Decides what is due.
    pub clock: Arc<dyn Clock>,
    /// Asked when a scheduled message's time has come.
    pub may_send: MaySend,
    /// Projections besides those that every node has.
    pub projections: Vec<Arc<dyn Projection>>,
}

/// Delivery of this process. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    shared: Arc<Shared>,
}

/// What the handle and the tasks share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) store: SharedStore,
    pub(super) conversations: Conversations,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) may_send: MaySend,
    pub(super) tails: Tails,
    pub(super) acks: Acks,
    pub(super) in_use: OnceLock<InUse>,
    pub(super) noted: parking_lot::Mutex<devices::Noted>,
    /// One person schedules one message at a time, so that they are counted; people who share a
    /// turn wait for each other needlessly.
    pub(super) turns: Box<[Mutex<()>]>,
    /// One erasure runs at a time; others wait in the store.
    pub(super) erasing: Arc<Semaphore>,
    projectors: Vec<Arc<Projector>>,
    feeds: Vec<Feed>,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

impl Delivery {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub fn start(parts: Parts) -> Self {
        Self::start_under(&Supervisor::start(SupervisorSpec::new("alone")), parts)
    }

    /// Starts the projections, the timers, and the look at what an earlier process left behind.
    pub fn start_under(supervisor: &Supervisor, parts: Parts) -> Self {
        let tails = parts.conversations.tails().clone();
        let feeds = parts.config.feeds();
        let feeds = feeds.map(|feed| Feed::new(tails.open_reader(feed), &parts.store, &tails));
        let feeds: Vec<Feed> = feeds.collect();
        let projections = own_projections(&parts).chain(parts.projections);
        let projectors = projections.map(|projection| {
            Arc::new(Projector {
                lane: match projection.is_sparse() {
                    true => tails.open_sparse_lane(projection.consumer()),
                    false => tails.open_lane(projection.consumer()),
                },
                projection,
                tails: tails.clone(),
                store: Arc::clone(&parts.store),
                window: parts.config.projection_window,
                timeout: parts.config.projection_timeout,
            })
        });
        let shared = Arc::new(Shared {
            projectors: projectors.collect(),
            feeds,
            config: parts.config,
            store: parts.store,
            conversations: parts.conversations,
            clock: parts.clock,
            may_send: parts.may_send,
            tails,
            acks: Acks::default(),
            in_use: OnceLock::new(),
            noted: parking_lot::Mutex::default(),
            turns: (0..TIMER_SHARDS).map(|_| Mutex::default()).collect(),
            erasing: Arc::new(Semaphore::new(1)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        supervisor.launch(ChildSpec::supervisor(shared.tasks()));
        Self { shared }
    }

    /// Keeps a message to be sent at a moment.
    pub async fn schedule(
        &self,
        by: &Person,
        conversation: &ConversationId,
        send: SendMessage,
        at: Timestamp,
    ) -> Result<ScheduledPayload, CommandError> {
        scheduled::schedule(&self.shared, by, conversation, send, at).await
    }

    /// A person's scheduled messages in a conversation, the earliest first.
    pub async fn scheduled(
        &self,
        by: &Person,
        conversation: &ConversationId,
    ) -> Result<Vec<ScheduledPayload>, CommandError> {
        scheduled::list(&self.shared, by, conversation).await
    }

    /// Takes a scheduled message back; `message_not_found` once it is being sent.
    pub async fn cancel(
        &self,
        by: &Person,
        conversation: &ConversationId,
        id: EntryId,
    ) -> Result<(), CommandError> {
        scheduled::cancel(&self.shared, by, conversation, id).await
    }

    /// Has a person erased: durably, and in the background. Their tokens have been revoked
    /// already. Asking again while it is under way changes nothing, and afterwards has everything
    /// looked through once more.
    pub async fn erase(&self, person: &Person) -> Result<(), StoreError> {
        erasure::ask(&self.shared, person).await
    }

    /// Whether a person's erasure is still to be done, or under way.
    pub async fn is_being_erased(&self, person: &Person) -> Result<bool, StoreError> {
        erasure::is_pending(&self.shared, person).await
    }

    /// A device of a person has acknowledged something, durably: in one conversation, or of the
    /// stream over all. Never waits.
    pub fn acknowledged(
        &self,
        person: &Person,
        device: &DeviceId,
        conversation: Option<&ConversationId>,
    ) {
        self.shared.acks.add(person, conversation);
        self.used(person, device, true);
    }

    /// A device of a person has joined. Never waits.
    pub fn device_joined(&self, person: &Person, device: &DeviceId) {
        self.used(person, device, false);
    }

    /// Forgets a device of a person with its cursors, as one that nobody uses; whether it was known.
    /// What waits only for it goes a moment later.
    pub async fn forget_device(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<bool, StoreError> {
        devices::forget(&self.shared, person, device).await
    }

    fn used(&self, person: &Person, device: &DeviceId, is_known: bool) {
        self.shared.acks.used(devices::Used {
            person: person.clone(),
            device: device.clone(),
            is_known,
        });
    }

    /// Whom to ask which devices have a socket here: those are in use as long as they do. Said once;
    /// before that, only joins and acknowledgements count.
    pub fn ask_for_devices(&self, in_use: InUse) {
        let _ = self.shared.in_use.set(in_use);
    }

    /// A reader of the event feed that the settings name.
    pub fn feed(&self, name: &str) -> Option<Feed> {
        let consumer = Consumer::feed(name)?;
        let mut feeds = self.shared.feeds.iter();
        feeds.find(|feed| *feed.consumer() == consumer).cloned()
    }

    /// Sets the gauges to how far every projection and every reader of the feed is behind now. Asks
    /// none of their tasks, so that it is true of one that hangs.
    pub fn record(&self) {
        for projector in &self.shared.projectors {
            projector.lane.lag().record(projector.lane.consumer());
        }
        for feed in &self.shared.feeds {
            feed.lag().record(feed.consumer());
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Ends the tasks, after the projections have seen what was written last: a start after an
    /// orderly stop has nothing to find again. Call it once the conversations have stopped.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        let rest = async {
            while !self.shared.tails.is_at_rest() {
                let mut all_went_well = true;
                for projector in &self.shared.projectors {
                    all_went_well &= projector.round().await;
                }
                if !all_went_well {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        };
        if tokio::time::timeout(LAST_ROUNDS, rest).await.is_err() {
            tracing::warn!("projections are behind; the next start goes on from there");
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

impl Shared {
    /// Everything that runs in the background, one for one.
    fn tasks(self: &Arc<Self>) -> SupervisorSpec {
        let mut spec = SupervisorSpec::new("delivery");
        for projector in &self.projectors {
            let (projector, counted) = (Arc::clone(projector), Arc::clone(projector));
            let task = self.task("projection", move || {
                let projector = Arc::clone(&projector);
                async move { projector.run().await }
            });
            spec = spec.child(task.queue(move || counted.lane.lag().conversations));
        }
        for shard in 0..TIMER_SHARDS {
            let shared = Arc::clone(self);
            let run = move || timers::run(Arc::clone(&shared), shard);
            spec = spec.child(self.task("timers", run));
        }
        let shared = Arc::clone(self);
        let queue = self.task("queue", move || timers::forget_old(Arc::clone(&shared)));
        let shared = Arc::clone(self);
        let acks = self.task("acknowledgements", move || acks::run(Arc::clone(&shared)));
        let shared = Arc::clone(self);
        let devices = self.task("devices", move || devices::run(Arc::clone(&shared)));
        let shared = Arc::clone(self);
        let recovery = self.task("recovery", move || recovery::run(Arc::clone(&shared)));
        spec.child(queue).child(acks).child(devices).child(recovery)
    }

    fn task<F>(&self, kind: &'static str, run: impl Fn() -> F + Send + Sync + 'static) -> ChildSpec
    where
        F: Future<Output = ()> + Send + 'static,
    {
        task(&self.tasks, &self.stopping, kind, run)
    }
}

fn own_projections(parts: &Parts) -> impl Iterator<Item = Arc<dyn Projection>> + use<> {
    let notices = Notices {
        store: Arc::clone(&parts.store),
        conversations: parts.conversations.clone(),
        clock: Arc::clone(&parts.clock),
        told_within_ms: parts.config.queue_ttl_ms(),
    };
    let tails = parts.conversations.tails();
    let derived = projections(&parts.store, tails, &parts.config).into_iter();
    derived.chain([Arc::new(notices) as Arc<dyn Projection>])
}

/// The projections that every node has and that can be derived anew.
pub(super) fn projections(
    store: &SharedStore,
    tails: &Tails,
    config: &Config,
) -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Queue {
            store: Arc::clone(store),
            tails: tails.clone(),
            up_to_members: config.queue_up_to_members,
            cap: config.queue_entries,
        }),
        Arc::new(Threads {
            store: Arc::clone(store),
        }),
        Arc::new(Timers {
            store: Arc::clone(store),
        }),
    ]
}
