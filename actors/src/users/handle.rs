//! The handle.

use std::sync::Arc;

use quikapp_storage::{Person, SharedStore};

use super::{
    Changes, Overview,
    kind::{Ask, Persons},
};
use crate::{
    Clock, delivery,
    documents::Documents,
    entities::{self, Entities, EntityError, Quarantined},
    people::People,
    supervision::{StartError, Supervisor},
};

/// What persons' entities stand on.
pub struct Parts {
    /// How far back devices are served.
    pub delivery: delivery::Config,
    /// Where everything is kept.
    pub store: SharedStore,
    /// What they call their devices.
    pub documents: Documents,
    /// Who is connected.
    pub people: People,
    /// The counts that writers raise:
    /// [`Tails::changes`](crate::delivery::Tails::changes).
    pub changes: Changes,
    /// Decides what is too old.
    pub clock: Arc<dyn Clock>,
}

/// The persons of this node, as entities. Cheap to clone.
#[derive(Clone)]
pub struct Users(Entities<Persons>);

impl Users {
    /// Starts the host. Nobody is active yet. An orderly stop lets everybody go.
    pub async fn start_under(
        supervisor: &Supervisor,
        config: &entities::Config,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let entities = Entities::start_under(supervisor, config, Persons(parts)).await?;
        Ok(Self(entities))
    }

    /// What waits for a person: everything that this process acknowledged before the question.
    pub async fn overview(&self, person: &Person) -> Result<Overview, EntityError> {
        let asked = self.0.ask(&Arc::new(person.clone()), Ask::Overview).await?;
        asked.map_err(|_| EntityError::Unavailable)
    }

    /// How many persons are in memory.
    pub fn active(&self) -> u64 {
        self.0.active()
    }

    /// Lets a person's entity on this node out of quarantine; says whether it was in.
    pub async fn release(&self, person: &Person) -> Result<bool, EntityError> {
        self.0.release(&Arc::new(person.clone())).await
    }

    /// Persons whose entities failed too often.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.0.quarantined()
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").finish_non_exhaustive()
    }
}
