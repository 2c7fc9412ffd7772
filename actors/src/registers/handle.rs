//! The handle, and the task behind it.

use std::{sync::Arc, time::Duration};

use quikapp_storage::{
    ConversationId, DeviceCursor, DeviceId, JsonText, MessageId, Mute, Person, RegisterChange, Seq,
    SharedStore, StreamCursor,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{coalesce::Waiting, flush::Flush};
use crate::{
    Clock,
    conversation::{CommandError, Config},
    fanout::Fanout,
    supervision::{ChildSpec, Supervisor, SupervisorSpec},
    users::Changes,
};

/// Changes that are merged into one write at most.
const MOST_AT_ONCE: usize = 1_024;

type Answer = Result<(), CommandError>;

/// A change of one register.
#[derive(Debug, Clone)]
pub enum Change {
    /// A receipt, an unread mark, a draft or a mute.
    Mark(Mark),
    /// A device has everything of a conversation up to a place.
    Cursor(DeviceCursor),
    /// A device has everything of its person's stream up to a place.
    Stream {
        /// Whose.
        person: Person,
        /// Which device.
        device: DeviceId,
        /// Up to where.
        cursor: StreamCursor,
    },
}

/// A change of a register that somebody has in a conversation.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Whose.
    pub person: Person,
    /// The device it was made on, for the receipt.
    pub device: Option<DeviceId>,
    /// Where.
    pub conversation: ConversationId,
    /// The message that was named, for the receipt.
    pub message: Option<MessageId>,
    /// What.
    pub change: RegisterChange,
}

/// Changes registers. Cheap to clone; the task behind it ends with the last handle, after it has
/// written what it was given. Its queue is bounded: when it is full, a change is refused as
/// overloaded.
#[derive(Debug, Clone)]
pub struct Registers {
    changes: mpsc::Sender<(Change, oneshot::Sender<Answer>)>,
}

impl Registers {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub fn start(
        config: &Config,
        store: SharedStore,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
        changes: Changes,
    ) -> Self {
        let alone = Supervisor::start(SupervisorSpec::new("alone"));
        Self::start_under(&alone, config, store, fanout, clock, changes)
    }

    /// Starts the task that writes and broadcasts. After a panic it goes on with what is still
    /// queued; those whose changes were in hand are told.
    pub fn start_under(
        supervisor: &Supervisor,
        config: &Config,
        store: SharedStore,
        fanout: Fanout,
        clock: Arc<dyn Clock>,
        counts: Changes,
    ) -> Self {
        let (changes, receiver) = mpsc::channel(config.register_queue);
        let most = config.receipts_up_to_members;
        let flush = Arc::new(Flush::new(store, fanout, clock, counts, most));
        let receiver = Arc::new(Mutex::new(receiver));
        let (window, queued) = (config.register_window, changes.downgrade());
        let task = ChildSpec::task("registers", "registers", move |stop| {
            let (receiver, flush) = (Arc::clone(&receiver), Arc::clone(&flush));
            async move { run(&mut *receiver.lock().await, &flush, window, &stop).await }
        });
        supervisor.launch(task.queue(move || waiting(&queued)));
        Self { changes }
    }

    /// Makes a change; returns when it is durable and was broadcast.
    pub async fn change(&self, change: Change) -> Answer {
        let (reply_to, answer) = oneshot::channel();
        self.changes
            .try_send((change, reply_to))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CommandError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => CommandError::Unavailable,
            })?;
        // Registers are written so that a repetition does no harm: no outcome is worse than none.
        answer.await.unwrap_or(Err(CommandError::Unavailable))
    }

    /// Sets or clears a draft.
    pub async fn draft(
        &self,
        person: Person,
        conversation: ConversationId,
        draft: Option<JsonText>,
    ) -> Answer {
        let change = RegisterChange::Draft(draft);
        self.change(Change::Mark(plain(person, conversation, change)))
            .await
    }

    /// Sets or clears a mute.
    pub async fn mute(
        &self,
        person: Person,
        conversation: ConversationId,
        mute: Option<Mute>,
    ) -> Answer {
        let change = RegisterChange::Mute(mute);
        self.change(Change::Mark(plain(person, conversation, change)))
            .await
    }

    /// Marks a conversation unread from a place on.
    pub async fn unread_from(
        &self,
        person: Person,
        conversation: ConversationId,
        seq: Seq,
    ) -> Answer {
        let change = RegisterChange::UnreadFrom(seq);
        self.change(Change::Mark(plain(person, conversation, change)))
            .await
    }
}

fn plain(person: Person, conversation: ConversationId, change: RegisterChange) -> Mark {
    Mark {
        person,
        device: None,
        conversation,
        message: None,
        change,
    }
}

type Receiver = mpsc::Receiver<(Change, oneshot::Sender<Answer>)>;

/// Until the last handle has gone, or the task is told to stop; either way what is queued is
/// written first.
async fn run(receiver: &mut Receiver, flush: &Flush, window: Duration, stop: &CancellationToken) {
    let mut last_flush: Option<Instant> = None;
    loop {
        let next = match stop.run_until_cancelled(receiver.recv()).await {
            Some(next) => next,
            None => {
                receiver.close();
                receiver.recv().await
            }
        };
        let Some((change, reply_to)) = next else {
            return;
        };
        let mut waiting = Waiting::new(|cursor: &StreamCursor| flush.rank(cursor));
        waiting.add(change, reply_to);
        let until = last_flush.map_or_else(Instant::now, |last| last + window);
        gather(receiver, &mut waiting, until).await;
        flush.write(waiting.into_changes()).await;
        last_flush = Some(Instant::now());
    }
}

fn waiting<T>(queue: &mpsc::WeakSender<T>) -> usize {
    let queue = queue.upgrade();
    queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
}

/// Takes what is queued and what arrives in time.
async fn gather(
    receiver: &mut Receiver,
    waiting: &mut Waiting<oneshot::Sender<Answer>, impl Fn(&StreamCursor) -> Option<u64>>,
    until: Instant,
) {
    for _ in 1..MOST_AT_ONCE {
        let next = match receiver.try_recv() {
            Ok(next) => Some(next),
            Err(_) => timeout_at(until, receiver.recv()).await.ok().flatten(),
        };
        let Some((change, reply_to)) = next else {
            return;
        };
        waiting.add(change, reply_to);
    }
}
