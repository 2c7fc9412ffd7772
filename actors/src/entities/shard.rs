//! The actor that holds a share of a kind's entities.
//!
//! It decides by each entity's core; what an entity does runs as a task beside it, and ends with
//! it. Restart policy: its supervisor starts it again, empty, once nothing of the life before runs;
//! callers that waited in it are told.

use std::{collections::HashMap, collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, concurrency::JoinHandle};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    EntityError, Kind,
    core::{Core, Effect, Input, Phase, Why},
    host::Shared,
    life::Life,
};
use crate::supervision::panic_text;

/// A message on its way to its entity. The permit of the host's admission goes with it.
pub(super) struct Pending<K: Kind> {
    pub(super) message: K::Message,
    pub(super) reply: Reply<K>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Whom to tell, and of what.
pub(super) enum Reply<K: Kind> {
    /// Of the answer.
    Answered(oneshot::Sender<Result<K::Reply, EntityError>>),
    /// That the message was taken, or not.
    Taken(Option<oneshot::Sender<Result<(), EntityError>>>),
}

impl<K: Kind> Reply<K> {
    /// The message is in the entity's queue.
    fn taken(&mut self) {
        if let Self::Taken(taken) = self
            && let Some(taken) = taken.take()
        {
            // Whether the caller still waits does not matter, here and below.
            let _ = taken.send(Ok(()));
        }
    }

    fn answer(self, reply: K::Reply) {
        if let Self::Answered(answered) = self {
            let _ = answered.send(Ok(reply));
        }
    }

    fn refuse(self, error: EntityError) {
        match self {
            Self::Answered(answered) => drop(answered.send(Err(error))),
            Self::Taken(Some(taken)) => drop(taken.send(Err(error))),
            Self::Taken(None) => {
                metrics::counter!("quikapp_entity_messages_dropped_total", "kind" => K::NAME)
                    .increment(1);
            }
        }
    }
}

/// What a shard is told.
pub(super) enum ShardMessage<K: Kind> {
    /// A message for an entity.
    Deliver { id: K::Id, pending: Box<Pending<K>> },
    /// A task beside the shard has ended.
    Done { id: K::Id, done: Done<K> },
    /// See what is due.
    Sweep,
    /// Let an entity out of quarantine; says whether it was in.
    Release {
        id: K::Id,
        reply_to: oneshot::Sender<bool>,
    },
    /// Finish what is there, write everything away, and end.
    Drain,
    /// Panic.
    #[cfg(test)]
    Crash,
}

impl<K: Kind> ractor::Message for ShardMessage<K> {}

/// How a task has ended, and the entity if it is still there.
pub(super) enum Done<K: Kind> {
    Activated(K::Entity),
    ActivationFailed,
    Handled(K::Entity),
    Passivated,
    NotPassivated(K::Entity),
    Panicked {
        rest: VecDeque<Box<Pending<K>>>,
        text: String,
    },
}

pub(super) struct Slot<K: Kind> {
    core: Core<Box<Pending<K>>>,
    /// Absent while a task has it.
    entity: Option<K::Entity>,
    last_panic: String,
}

/// See the module.
pub(super) struct Shard<K: Kind>(pub(super) std::marker::PhantomData<fn(K)>);

pub(super) struct ShardState<K: Kind> {
    shared: Arc<Shared<K>>,
    index: usize,
    /// Tasks tell this life and no other how they ended.
    myself: ActorRef<ShardMessage<K>>,
    life: Life,
    slots: HashMap<K::Id, Slot<K>>,
    is_draining: bool,
    sweeps: JoinHandle<()>,
}

impl<K: Kind> Actor for Shard<K> {
    type Msg = ShardMessage<K>;
    type State = ShardState<K>;
    type Arguments = (Arc<Shared<K>>, usize);

    async fn pre_start(
        &self,
        myself: ActorRef<ShardMessage<K>>,
        (shared, index): (Arc<Shared<K>>, usize),
    ) -> Result<ShardState<K>, ActorProcessingErr> {
        let life = shared.live(index).await;
        shared.views[index].clear();
        let period = shared.sweep_every();
        Ok(ShardState {
            shared,
            index,
            myself: myself.clone(),
            life,
            slots: HashMap::new(),
            is_draining: false,
            sweeps: myself.send_interval(period, || ShardMessage::Sweep),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage<K>>,
        message: ShardMessage<K>,
        state: &mut ShardState<K>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Deliver { id, pending } => state.deliver(&id, pending),
            ShardMessage::Done { id, done } => state.done(&id, done),
            ShardMessage::Sweep => state.everywhere(|| Input::Tick),
            ShardMessage::Release { id, reply_to } => state.release(&id, reply_to),
            ShardMessage::Drain => {
                state.is_draining = true;
                state.everywhere(|| Input::Stop);
            }
            #[cfg(test)]
            ShardMessage::Crash => panic!("asked to"),
        }
        if state.is_draining && state.slots.is_empty() {
            myself.stop(None);
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ShardMessage<K>>,
        state: &mut ShardState<K>,
    ) -> Result<(), ActorProcessingErr> {
        state.sweeps.abort();
        Ok(())
    }
}

/// However a shard ends, what it had under way is cut off.
impl<K: Kind> Drop for ShardState<K> {
    fn drop(&mut self) {
        self.life.cut_off();
    }
}

impl<K: Kind> ShardState<K> {
    fn deliver(&mut self, id: &K::Id, mut pending: Box<Pending<K>>) {
        if self.is_draining {
            return pending.reply.refuse(EntityError::Unavailable);
        }
        let slot = self.slots.entry(id.clone()).or_insert_with(|| {
            self.shared.views[self.index].moved(id, None, Some(Phase::Fallen));
            Slot {
                core: Core::new(),
                entity: None,
                last_panic: String::new(),
            }
        });
        let before = slot.core.phase();
        let now = self.shared.now();
        let effects = match slot.core.admits(now, &self.shared.bounds) {
            Ok(()) => {
                pending.reply.taken();
                let message = Input::Message(pending);
                slot.core.handle(message, now, &self.shared.bounds)
            }
            Err(why) => {
                pending.reply.refuse(error_of(why));
                Vec::new()
            }
        };
        self.run(id, before, effects);
    }

    fn done(&mut self, id: &K::Id, done: Done<K>) {
        let Some(slot) = self.slots.get_mut(id) else {
            // No entity is forgotten while a task has it.
            return;
        };
        let input = match done {
            Done::Activated(entity) => {
                slot.entity = Some(entity);
                Input::Activated
            }
            Done::ActivationFailed => Input::ActivationFailed,
            Done::Handled(entity) => {
                slot.entity = Some(entity);
                Input::Handled
            }
            Done::Passivated => Input::Passivated,
            Done::NotPassivated(entity) => {
                slot.entity = Some(entity);
                Input::NotPassivated
            }
            Done::Panicked { rest, text } => {
                tracing::error!(
                    kind = K::NAME,
                    id = K::label(id),
                    text,
                    "an entity panicked"
                );
                slot.last_panic = text;
                Input::Panicked { rest }
            }
        };
        self.tell(id, input);
    }

    fn release(&mut self, id: &K::Id, reply_to: oneshot::Sender<bool>) {
        let slot = self.slots.get(id);
        let was_in = slot.is_some_and(|slot| slot.core.phase() == Phase::Quarantined);
        self.tell(id, Input::Release);
        let _ = reply_to.send(was_in);
    }

    fn everywhere(&mut self, input: impl Fn() -> Input<Box<Pending<K>>>) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            self.tell(&id, input());
        }
    }

    fn tell(&mut self, id: &K::Id, input: Input<Box<Pending<K>>>) {
        let now = self.shared.now();
        if let Some(slot) = self.slots.get_mut(id) {
            let before = slot.core.phase();
            let effects = slot.core.handle(input, now, &self.shared.bounds);
            self.run(id, before, effects);
        }
    }

    fn run(&mut self, id: &K::Id, before: Phase, effects: Vec<Effect<Box<Pending<K>>>>) {
        let view = &self.shared.views[self.index];
        let after = self.slots.get(id).map(|slot| slot.core.phase());
        let is_forgotten = effects.iter().any(|it| matches!(it, Effect::Forget));
        view.moved(id, Some(before), after.filter(|_| !is_forgotten));
        for effect in effects {
            match effect {
                Effect::Activate => self.spawn(id, activate),
                Effect::Handle(batch) => {
                    self.spawn_with(id, |shared, id, entity| handle(shared, id, entity, batch));
                }
                Effect::Passivate => self.spawn_with(id, passivate),
                Effect::Refuse(refused, why) => {
                    for pending in refused {
                        pending.reply.refuse(error_of(why));
                    }
                }
                Effect::Restarted => {
                    self.shared.views[self.index].restarted();
                    metrics::counter!("quikapp_actor_restarts_total", "kind" => K::NAME)
                        .increment(1);
                }
                Effect::Quarantined => self.quarantine(id),
                Effect::Forget => drop(self.slots.remove(id)),
            }
        }
    }

    fn quarantine(&mut self, id: &K::Id) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        tracing::error!(
            kind = K::NAME,
            id = K::label(id),
            failure = slot.last_panic,
            "an entity fails too often and is quarantined"
        );
        metrics::counter!("quikapp_entity_quarantines_total", "kind" => K::NAME).increment(1);
        self.shared.views[self.index].quarantined(id, &slot.last_panic);
    }

    fn spawn_with<Run>(
        &mut self,
        id: &K::Id,
        run: impl FnOnce(Arc<Shared<K>>, K::Id, K::Entity) -> Run,
    ) where
        Run: Future<Output = Done<K>> + Send + 'static,
    {
        let entity = self.slots.get_mut(id).and_then(|slot| slot.entity.take());
        if let Some(entity) = entity {
            self.spawn(id, |shared, id| run(shared, id, entity));
        }
    }

    fn spawn<Run>(&self, id: &K::Id, run: impl FnOnce(Arc<Shared<K>>, K::Id) -> Run)
    where
        Run: Future<Output = Done<K>> + Send + 'static,
    {
        let (myself, id) = (self.myself.clone(), id.clone());
        let running = run(Arc::clone(&self.shared), id.clone());
        self.life.run(async move {
            let done = running.await;
            // A shard that has ended does not know the entity any more.
            let _ = myself.cast(ShardMessage::Done { id, done });
        });
    }
}

async fn activate<K: Kind>(shared: Arc<Shared<K>>, id: K::Id) -> Done<K> {
    let activated = AssertUnwindSafe(shared.kind.activate(&id)).catch_unwind();
    match activated.await {
        Ok(Ok(entity)) => Done::Activated(entity),
        Ok(Err(error)) => {
            tracing::warn!(kind = K::NAME, id = K::label(&id), %error, "not activated");
            Done::ActivationFailed
        }
        Err(panic) => panicked(VecDeque::new(), panic.as_ref()),
    }
}

async fn handle<K: Kind>(
    shared: Arc<Shared<K>>,
    id: K::Id,
    mut entity: K::Entity,
    mut batch: VecDeque<Box<Pending<K>>>,
) -> Done<K> {
    while let Some(pending) = batch.pop_front() {
        let Pending {
            message,
            reply,
            permit,
        } = *pending;
        let handled = shared.kind.handle(&id, &mut entity, message);
        match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(answer) => reply.answer(answer),
            Err(panic) => {
                reply.refuse(EntityError::OutcomeUnknown);
                return panicked(batch, panic.as_ref());
            }
        }
        drop(permit);
    }
    Done::Handled(entity)
}

async fn passivate<K: Kind>(shared: Arc<Shared<K>>, id: K::Id, mut entity: K::Entity) -> Done<K> {
    let passivated = shared.kind.passivate(&id, &mut entity);
    match AssertUnwindSafe(passivated).catch_unwind().await {
        Ok(Ok(())) => Done::Passivated,
        Ok(Err(error)) => {
            tracing::warn!(kind = K::NAME, id = K::label(&id), %error, "not passivated");
            Done::NotPassivated(entity)
        }
        Err(panic) => panicked(VecDeque::new(), panic.as_ref()),
    }
}

fn panicked<K: Kind>(
    rest: VecDeque<Box<Pending<K>>>,
    panic: &(dyn std::any::Any + Send),
) -> Done<K> {
    let text = panic_text(panic);
    Done::Panicked { rest, text }
}

fn error_of(why: Why) -> EntityError {
    match why {
        Why::Overloaded => EntityError::Overloaded,
        Why::Quarantined(remaining) => EntityError::Quarantined {
            retry_after_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
        },
        Why::Unavailable => EntityError::Unavailable,
    }
}
