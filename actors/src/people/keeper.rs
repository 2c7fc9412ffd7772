//! Writes down what people choose and when they were last here, in the order in which it happened
//! and many at a time, so that the store's commits are shared.

use std::{sync::Arc, sync::Weak, time::Duration};

use futures_util::future::join_all;
use indexmap::IndexMap;
use quikapp_storage::{PeopleStore, Person, ProfileChange, Timestamp};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{
    ChooseError, Chosen, CustomStatus, NotConnected, Status, handle::Inner, settling::Settling,
};
use crate::{
    presence::Presence,
    supervision::{ChildSpec, Supervisor},
};

/// As many wishes may wait; beyond, choices are refused and last-seen times are lost.
const QUEUE: usize = 8192;

/// As many wishes are written at once.
const BATCH: usize = 256;

/// The clock of the machine may jump: expiries are looked at no less often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a person chooses.
#[derive(Debug)]
pub(super) enum Choice {
    /// A status.
    Status(Status),
    /// A custom status, or none.
    Custom(Option<CustomStatus>),
}

#[derive(Debug)]
enum Wish {
    Choose {
        person: Person,
        choice: Choice,
        reply_to: oneshot::Sender<Result<(), ChooseError>>,
    },
    LastSeen {
        person: Person,
        at: Timestamp,
    },
    Flush {
        reply_to: oneshot::Sender<()>,
    },
}

/// The queue of the writing task. Bounded: when it is full, choices are refused as overloaded and
/// last-seen times are dropped and counted.
#[derive(Debug)]
pub(super) struct Keeper(mpsc::Sender<Wish>);

impl Keeper {
    /// Starts the task. It ends when the handle of the people is gone. After a panic it goes on
    /// with what is still queued; those whose wishes were in hand are told.
    pub(super) fn start(
        supervisor: &Supervisor,
        people: Weak<Inner>,
        store: Arc<dyn PeopleStore>,
        presence: Presence,
    ) -> Self {
        let (wishes, queue) = mpsc::channel(QUEUE);
        let queued = wishes.downgrade();
        let work = Arc::new(Mutex::new(Work {
            people,
            store,
            queue,
            settling: Settling::new(presence),
        }));
        let task = ChildSpec::task("people", "people", move |stop| {
            let work = work.clone();
            async move { work.lock().await.run(&stop).await }
        });
        supervisor.launch(task.queue(move || waiting(&queued)));
        Self(wishes)
    }

    pub(super) async fn choose(&self, person: &Person, choice: Choice) -> Result<(), ChooseError> {
        let (reply_to, reply) = oneshot::channel();
        let wish = Wish::Choose {
            person: person.clone(),
            choice,
            reply_to,
        };
        let queued = self.0.try_send(wish);
        queued.map_err(|_| ChooseError::Overloaded)?;
        reply.await.unwrap_or(Err(ChooseError::Overloaded))
    }

    pub(super) fn keep_last_seen(&self, person: Person, at: Timestamp) {
        if self.0.try_send(Wish::LastSeen { person, at }).is_err() {
            metrics::counter!("quikapp_last_seen_dropped_total").increment(1);
        }
    }

    pub(super) async fn flush(&self) {
        let (reply_to, reply) = oneshot::channel();
        if self.0.send(Wish::Flush { reply_to }).await.is_ok() {
            // An error means that the task has ended, and nothing is left to wait for.
            let _ = reply.await;
        }
    }
}

fn waiting(queue: &mpsc::WeakSender<Wish>) -> usize {
    let queue = queue.upgrade();
    queue.map_or(0, |queue| queue.max_capacity() - queue.capacity())
}

/// What the task works on, which outlives its panics.
struct Work {
    people: Weak<Inner>,
    store: Arc<dyn PeopleStore>,
    queue: mpsc::Receiver<Wish>,
    settling: Settling,
}

impl Work {
    /// Until the people are gone, or the task is told to stop; either way what is queued is written
    /// first.
    async fn run(&mut self, stop: &CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wishes = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = looks.tick() => {
                    if let Some(people) = self.people.upgrade() {
                        people.expire();
                    }
                    self.settling.try_again();
                }
                received = self.queue.recv_many(&mut wishes, BATCH) => {
                    if received == 0 {
                        return;
                    }
                    let batch = Batch::of(&self.people, wishes.drain(..));
                    batch.write(&self.people, self.store.as_ref()).await;
                }
                // Who waits for an answer comes first.
                () = self.settling.doubts() => {
                    if let Some(people) = self.people.upgrade() {
                        self.settling.settle(&people, self.store.as_ref()).await;
                    }
                }
            }
        }
    }
}

/// What is to be written of one person, and who waits for it.
#[derive(Debug, Default)]
struct Wanted {
    choices: Vec<Choice>,
    last_seen: Option<Timestamp>,
    waiting: Vec<oneshot::Sender<Result<(), ChooseError>>>,
}

#[derive(Debug, Default)]
struct Batch {
    wanted: IndexMap<Person, Wanted>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn of(people: &Weak<Inner>, wishes: impl Iterator<Item = Wish>) -> Self {
        let mut batch = Self::default();
        for wish in wishes {
            match wish {
                Wish::Choose {
                    person,
                    choice,
                    reply_to,
                } => batch.choose(people, person, choice, reply_to),
                Wish::LastSeen { person, at } => {
                    batch.wanted.entry(person).or_default().last_seen = Some(at);
                }
                Wish::Flush { reply_to } => batch.flushed.push(reply_to),
            }
        }
        batch
    }

    fn choose(
        &mut self,
        people: &Weak<Inner>,
        person: Person,
        choice: Choice,
        reply_to: oneshot::Sender<Result<(), ChooseError>>,
    ) {
        let people = people.upgrade();
        if people.is_none_or(|people| people.chosen(&person).is_err()) {
            // Nobody waits for the reply of a person who has gone.
            let _ = reply_to.send(Err(NotConnected.into()));
            return;
        }
        let wanted = self.wanted.entry(person).or_default();
        wanted.choices.push(choice);
        wanted.waiting.push(reply_to);
    }

    async fn write(self, people: &Weak<Inner>, store: &dyn PeopleStore) {
        let writes = self.wanted.into_iter();
        let writes = writes.map(|(person, wanted)| wanted.write(person, people, store));
        join_all(writes).await;
        for flushed in self.flushed {
            let _ = flushed.send(());
        }
    }
}

impl Wanted {
    async fn write(mut self, person: Person, people: &Weak<Inner>, store: &dyn PeopleStore) {
        let waiting = std::mem::take(&mut self.waiting);
        let outcome = self.written(&person, people, store).await;
        if let Err(ChooseError::Store(error)) = &outcome {
            tracing::warn!(%error, "a profile could not be written");
        }
        for reply_to in waiting {
            let _ = reply_to.send(outcome.clone());
        }
    }

    /// Once it is written, it is published.
    async fn written(
        self,
        person: &Person,
        people: &Weak<Inner>,
        store: &dyn PeopleStore,
    ) -> Result<(), ChooseError> {
        let mut change = ProfileChange {
            last_seen: self.last_seen,
            ..ProfileChange::default()
        };
        if self.choices.is_empty() {
            return Ok(store.put_profile(person, change).await?);
        }
        let people = people.upgrade().ok_or(NotConnected)?;
        let chosen = laid_over(people.chosen_before(person).await?, self.choices);
        // Statuses and times have no keys that JSON could not hold.
        change.presence = Some(serde_json::to_string(&chosen).ok().map(Into::into));
        store.put_profile(person, change).await?;
        Ok(people.choose(person, chosen)?)
    }
}

/// Choices over what was chosen before them.
fn laid_over(mut chosen: Chosen, choices: Vec<Choice>) -> Chosen {
    for choice in choices {
        match choice {
            Choice::Status(status) => chosen.status = status,
            Choice::Custom(custom) => chosen.custom = custom.map(Box::new),
        }
    }
    chosen
}
