//! What the routes work with.

use std::{net::IpAddr, ops::Deref, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quikapp_actors::{
    Clock, conversation::Conversations, delivery::Delivery, fanout::Fanout, people::People,
    supervision::Supervisor, typing::Typing, users::Users,
};
use quikapp_storage::{Person, SharedStore};
use tokio::time::Instant;

use super::Config;
use crate::{
    auth::{self, Authenticator},
    endpoint::OriginPolicy,
    errors::Refusal,
    policy::Policy,
    rate::{Buckets, network_of},
};

/// The handles that routes use.
pub struct RestParts {
    /// Who calls.
    pub authenticator: Authenticator,
    /// What they may do.
    pub policy: Policy,
    /// What is kept.
    pub store: SharedStore,
    /// What is said.
    pub conversations: Conversations,
    /// What is said later.
    pub delivery: Delivery,
    /// Who listens.
    pub fanout: Fanout,
    /// Who is online.
    pub people: People,
    /// What waits for whom.
    pub users: Users,
    /// Who types.
    pub typing: Typing,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub config: Config,
    /// Tokens of guests.
    pub auth: auth::Config,
    /// Which pages may call.
    pub origins: OriginPolicy,
    /// What runs in the background.
    pub tree: Supervisor,
    /// Whether guests may sign in.
    pub development: bool,
}

/// The state of the routes. Cheap to clone.
#[derive(Clone)]
pub struct Rest(Arc<Shared>);

pub(super) struct Shared {
    parts: RestParts,
    by_person: Mutex<Buckets<Person>>,
    by_address: Mutex<Buckets<IpAddr>>,
}

impl Rest {
    /// Routes over these handles.
    pub fn new(parts: RestParts) -> Self {
        let minute = Duration::from_secs(60);
        let limit = parts.config.requests_per_minute;
        Self(Arc::new(Shared {
            parts,
            by_person: Mutex::new(Buckets::new(limit, minute)),
            by_address: Mutex::new(Buckets::new(limit, minute)),
        }))
    }

    pub(super) fn admit_person(&self, person: &Person) -> Result<(), Refusal> {
        let admitted = self
            .0
            .by_person
            .lock()
            .admit(person.clone(), Instant::now());
        admitted.map_err(Refusal::rate_limited)
    }

    pub(super) fn admit_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = network_of(address);
        let admitted = self.0.by_address.lock().admit(address, Instant::now());
        admitted.map_err(Refusal::rate_limited)
    }
}

impl Deref for Rest {
    type Target = RestParts;
    fn deref(&self) -> &RestParts {
        &self.0.parts
    }
}
