//! The actor that holds a share of the conversations.
//!
//! It queues commands by conversation and sees to it that each conversation has at most one batch
//! under way; batches run as tasks beside it, so that parts of many conversations meet in one
//! commit of the store. Its supervisor starts it again after a panic, empty: callers that
//! waited in it are told, batches under way finish by themselves, and the epochs keep what comes
//! after apart from them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_storage::ConversationId;
use ractor::{Actor, ActorProcessingErr, ActorRef, concurrency::JoinHandle};
use tokio::{sync::oneshot, time::Instant};

use super::{
    CommandError,
    batch::{self, Pending},
    core::Core,
    handle::Shared,
};

/// How often a batch lets others run first: whoever answers one command with the next is not ready
/// at once, but has to be woken by what the runtime reads in between.
const ROUNDS: usize = 4;

/// How often idle conversations are looked for, as a part of the time they may be idle.
const SWEEPS_PER_IDLE: u32 = 4;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum ShardMessage {
    /// Carry out a command.
    Submit {
        conversation: ConversationId,
        pending: Box<Pending>,
    },
    /// What was under way for a conversation has ended.
    Finished {
        conversation: ConversationId,
        core: Option<Box<Core>>,
    },
    /// Release conversations that have been idle.
    Sweep,
    /// Finish what is queued, release everything, and say so.
    Drain { reply_to: oneshot::Sender<()> },
    /// Panic.
    #[cfg(test)]
    Crash,
}

impl ractor::Message for ShardMessage {}

/// What a shard starts with.
#[derive(Debug)]
pub(crate) struct ShardArgs {
    pub(crate) shared: Arc<Shared>,
}

/// The conversations of a shard.
#[derive(Debug)]
pub(crate) struct ShardState {
    shared: Arc<Shared>,
    slots: HashMap<ConversationId, Slot>,
    draining: Option<oneshot::Sender<()>>,
    sweeps: JoinHandle<()>,
}

/// One conversation that is sequenced here.
#[derive(Debug)]
struct Slot {
    queue: Queue,
    /// Absent while something is under way, and before the first batch.
    core: Option<Core>,
    is_busy: bool,
    last_used: Instant,
}

/// Commands that wait for the next batch.
#[derive(Debug, Clone, Default)]
struct Queue(Arc<Mutex<VecDeque<Box<Pending>>>>);

impl Queue {
    /// Gives the command back if as many wait already.
    fn push(&self, pending: Box<Pending>, most: usize) -> Result<(), Box<Pending>> {
        let mut queue = self.0.lock();
        if queue.len() >= most {
            return Err(pending);
        }
        queue.push_back(pending);
        Ok(())
    }

    /// Lets others run that are ready, a few times over, unless there is a whole batch. Where none
    /// are, it takes as long as so many looks at the network.
    async fn gather(&self, most: usize) {
        for _ in 0..ROUNDS {
            if self.0.lock().len() >= most {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The first of them. Takes the handle too: a queue is its shard's, and ends with it.
    fn take(self, most: usize) -> Vec<Pending> {
        let mut queue = self.0.lock();
        let most = most.min(queue.len());
        queue.drain(..most).map(|pending| *pending).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shard;

impl Actor for Shard {
    type Msg = ShardMessage;
    type State = ShardState;
    type Arguments = ShardArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ShardMessage>,
        args: ShardArgs,
    ) -> Result<ShardState, ActorProcessingErr> {
        let period = args.shared.config.idle / SWEEPS_PER_IDLE;
        let period = period.max(Duration::from_millis(10));
        Ok(ShardState {
            shared: args.shared,
            slots: HashMap::new(),
            draining: None,
            sweeps: myself.send_interval(period, || ShardMessage::Sweep),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage>,
        message: ShardMessage,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Submit {
                conversation,
                pending,
            } => state.submit(&myself, conversation, pending),
            ShardMessage::Finished { conversation, core } => {
                state.finished(&myself, conversation, core.map(|core| *core));
            }
            ShardMessage::Sweep => state.sweep(&myself),
            ShardMessage::Drain { reply_to } => state.drain(&myself, reply_to),
            #[cfg(test)]
            ShardMessage::Crash => panic!("asked to"),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ShardMessage>,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        state.sweeps.abort();
        Ok(())
    }
}

impl ShardState {
    fn submit(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        conversation: ConversationId,
        pending: Box<Pending>,
    ) {
        if self.draining.is_some() {
            return pending.reply.refuse(CommandError::Unavailable);
        }
        let most = self.shared.config.conversation_queue;
        let slot = self.slots.entry(conversation.clone()).or_default();
        if let Err(pending) = slot.queue.push(pending, most) {
            return pending.reply.refuse(CommandError::Overloaded);
        }
        slot.last_used = Instant::now();
        self.start_batch(myself, conversation);
    }

    fn finished(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        conversation: ConversationId,
        core: Option<Core>,
    ) {
        let Some(slot) = self.slots.get_mut(&conversation) else {
            return;
        };
        slot.core = core;
        slot.is_busy = false;
        if !slot.queue.is_empty() {
            self.start_batch(myself, conversation);
        } else if slot.core.is_none() {
            self.slots.remove(&conversation);
            self.shared.live.end(&conversation);
        }
        self.go_on_draining(myself);
    }

    /// The batch is taken from the queue when the commands that are on their way have got there
    /// ([`Queue::gather`]): who speaks together is answered together, and who listens hears it at
    /// once. Else the first would be written alone, and the others behind it.
    fn start_batch(&mut self, myself: &ActorRef<ShardMessage>, conversation: ConversationId) {
        let Some(slot) = self.slots.get_mut(&conversation) else {
            return;
        };
        if slot.is_busy {
            return;
        }
        slot.is_busy = true;
        let (queue, most) = (slot.queue.clone(), self.shared.config.batch);
        let core = slot.core.take();
        let shared = Arc::clone(&self.shared);
        let finish = Finish::new(myself, conversation);
        self.shared.tasks.spawn(async move {
            queue.gather(most).await;
            let batch = queue.take(most);
            let core = batch::run(&shared, &finish.conversation, core, batch).await;
            finish.with(core);
        });
    }

    fn sweep(&mut self, myself: &ActorRef<ShardMessage>) {
        let idle = self.shared.config.idle;
        self.release(myself, |slot| slot.last_used.elapsed() >= idle);
    }

    fn drain(&mut self, myself: &ActorRef<ShardMessage>, reply_to: oneshot::Sender<()>) {
        self.draining = Some(reply_to);
        self.go_on_draining(myself);
    }

    fn go_on_draining(&mut self, myself: &ActorRef<ShardMessage>) {
        if self.draining.is_none() {
            return;
        }
        self.release(myself, |_| true);
        if self.slots.is_empty()
            && let Some(reply_to) = self.draining.take()
        {
            let _ = reply_to.send(());
            myself.stop(None);
        }
    }

    /// Gives conversations back. Commands that arrive meanwhile wait and then take them again.
    fn release(&mut self, myself: &ActorRef<ShardMessage>, which: impl Fn(&Slot) -> bool) {
        for (conversation, slot) in &mut self.slots {
            if slot.is_busy || !slot.queue.is_empty() || !which(slot) {
                continue;
            }
            let Some(core) = slot.core.take() else {
                continue;
            };
            slot.is_busy = true;
            let shared = Arc::clone(&self.shared);
            let finish = Finish::new(myself, conversation.clone());
            self.shared.tasks.spawn(async move {
                let id = &finish.conversation;
                let (epoch, tail) = (core.epoch(), core.tail());
                let retired = shared.tails.retire(&shared.store, id, epoch, tail);
                if let Err(error) = retired.await {
                    tracing::debug!(conversation = %id, %error, "not released");
                }
            });
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            core: None,
            is_busy: false,
            last_used: Instant::now(),
        }
    }
}

/// Tells the shard that a task has ended, however it ended.
struct Finish {
    shard: ActorRef<ShardMessage>,
    conversation: ConversationId,
    core: Option<Core>,
}

impl Finish {
    fn new(shard: &ActorRef<ShardMessage>, conversation: ConversationId) -> Self {
        Self {
            shard: shard.clone(),
            conversation,
            core: None,
        }
    }

    /// Gives the conversation back as it is now.
    fn with(mut self, core: Option<Core>) {
        self.core = core;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        // A shard that has been restarted meanwhile does not know the conversation, and need not.
        let _ = self.shard.cast(ShardMessage::Finished {
            conversation: self.conversation.clone(),
            core: self.core.take().map(Box::new),
        });
    }
}
