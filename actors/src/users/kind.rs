//! The shell: one person's entity.

use std::sync::Arc;

use quikapp_storage::{ConversationId, DocumentKind, Person, StoreError};
use serde::{Deserialize, Serialize};

use super::{
    Changes, Overview, Parts, Watch,
    core::{Core, Effect, Input},
    read,
};
use crate::{
    entities::{ActivateError, Kind},
    registered::Registered,
};

/// How often a question looks at the counts. The first look finds what has changed, the second
/// what a membership that is new brings; what changes meanwhile is for the next question.
const LOOKS: usize = 2;

/// What a person's entity can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// What waits for them.
    Overview,
}

/// The store could not say now. Nothing is lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("what waits for the person cannot be read now")]
pub struct NotKnown;

/// Persons, as a kind of entity.
pub(super) struct Persons(pub(super) Parts);

/// One person in memory. Dropping it, however that comes about, ends its watches.
pub(super) struct Active {
    core: Core,
    person: Watch<Person>,
    /// Of their own conversation: what is said there waits for their devices, too.
    own: Watch<ConversationId>,
    /// By id, without spare room.
    conversations: Vec<Watch<ConversationId>>,
}

impl Active {
    fn new(changes: &Changes, person: &Person) -> Self {
        Self {
            core: Core::default(),
            person: changes.watch_person(person),
            own: changes.watch_conversation(&person.own_conversation()),
            conversations: Vec::new(),
        }
    }

    fn look(&self) -> Input {
        let counts = self.conversations.iter();
        Input::Look {
            person: self.person.count() + self.own.count(),
            conversations: counts.map(|it| (it.key().clone(), it.count())).collect(),
        }
    }

    fn watch(&mut self, changes: &Changes, ids: &[ConversationId]) {
        let watches = &mut self.conversations;
        watches.reserve_exact(ids.len());
        watches.extend(ids.iter().map(|id| changes.watch_conversation(id)));
        watches.sort_by(|a, b| a.key().cmp(b.key()));
        watches.dedup_by(|a, b| a.key() == b.key());
        watches.shrink_to_fit();
    }

    fn unwatch(&mut self, ids: &[ConversationId]) {
        self.conversations.retain(|it| !ids.contains(it.key()));
        self.conversations.shrink_to_fit();
    }
}

impl Persons {
    /// Reads again what has changed.
    async fn refresh(&self, person: &Person, active: &mut Active) -> Result<(), StoreError> {
        for _ in 0..LOOKS {
            let look = active.look();
            let mut effects = active.core.handle(look, self.0.clock.now());
            if effects.is_empty() {
                break;
            }
            while !effects.is_empty() {
                let mut next = Vec::new();
                for effect in effects {
                    for input in self.run(person, active, effect).await? {
                        next.extend(active.core.handle(input, self.0.clock.now()));
                    }
                }
                effects = next;
            }
        }
        Ok(())
    }

    async fn run(
        &self,
        person: &Person,
        active: &mut Active,
        effect: Effect,
    ) -> Result<Vec<Input>, StoreError> {
        let store = &self.0.store;
        Ok(match effect {
            Effect::ReadMemberships => {
                let ids = read::memberships(store, person).await?.into_iter();
                let ids = ids.map(|id| self.0.changes.shared(id)).collect();
                vec![Input::Memberships(ids)]
            }
            Effect::Watch(ids) => {
                active.watch(&self.0.changes, &ids);
                Vec::new()
            }
            Effect::Unwatch(ids) => {
                active.unwatch(&ids);
                Vec::new()
            }
            Effect::Count(ids) => {
                let tallies = read::tallies(store, person, ids).await?.into_iter();
                tallies
                    .map(|(id, tally)| Input::Counted(id, tally))
                    .collect()
            }
            Effect::ReadWaiting => {
                let most = self.0.delivery.devices_per_person;
                let (queue, devices) = read::waiting(store, person, most).await?;
                vec![Input::Waiting { queue, devices }]
            }
            Effect::Measure(devices) => {
                let (config, now) = (&self.0.delivery, self.0.clock.now());
                let measured = read::measured(store, config, now, person, devices).await?;
                let inputs = measured.into_iter();
                inputs
                    .map(|(device, is_beyond)| Input::Measured(device, is_beyond))
                    .collect()
            }
        })
    }

    async fn overview(&self, person: &Person, active: &mut Active) -> Result<Overview, StoreError> {
        self.refresh(person, active).await?;
        let connected = self.0.people.connected(person);
        let connected = connected.map(|it| it.devices).unwrap_or_default();
        let registered = self.registered(person).await;
        let now = self.0.clock.now();
        Ok(Overview {
            chosen: self.0.people.chosen(person).await?,
            ..active.core.overview(&connected, &registered, now)
        })
    }

    /// What people call their devices. A list that cannot be read, or a store of devices that is
    /// away, keeps nobody from seeing the rest.
    async fn registered(&self, person: &Person) -> Registered {
        let kept = self.0.documents.read(person, DocumentKind::Devices).await;
        let kept = kept.map_err(|error| error.to_string());
        let list =
            kept.and_then(|kept| Registered::of(kept.as_ref()).map_err(|error| error.to_string()));
        list.unwrap_or_else(|error| {
            tracing::warn!(%error, "the registered devices of a person cannot be read");
            Registered::default()
        })
    }
}

impl Kind for Persons {
    const NAME: &'static str = "user";
    type Id = Arc<Person>;
    type Message = Ask;
    type Reply = Result<Overview, NotKnown>;
    type Entity = Box<Active>;

    fn label(id: &Arc<Person>) -> String {
        id.user.to_string()
    }

    fn tenant(id: &Arc<Person>) -> Option<String> {
        Some(id.workspace.to_string())
    }

    /// Everything is read before the first question is answered; watches stand before that.
    async fn activate(&self, id: &Arc<Person>) -> Result<Box<Active>, ActivateError> {
        let mut active = Box::new(Active::new(&self.0.changes, id));
        self.refresh(id, &mut active).await?;
        Ok(active)
    }

    async fn handle(
        &self,
        id: &Arc<Person>,
        active: &mut Box<Active>,
        Ask::Overview: Ask,
    ) -> Result<Overview, NotKnown> {
        self.overview(id, active).await.map_err(|error| {
            tracing::warn!(%error, "what waits for a person cannot be read");
            NotKnown
        })
    }

    /// Nothing is in memory that the store does not have.
    async fn passivate(&self, _: &Arc<Person>, _: &mut Box<Active>) -> Result<(), ActivateError> {
        Ok(())
    }
}
