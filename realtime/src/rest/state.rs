//! What the routes work with.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use quikapp_actors::{
    Clock, conversation::Conversations, delivery::Delivery, documents::Documents, fanout::Fanout,
    people::People, registered::Devices, supervision::Supervisor, typing::Typing, users::Users,
};
use quikapp_storage::{Person, SharedCounters, SharedStore};

use super::Config;
use crate::{
    auth::{self, Authenticator},
    endpoint::OriginPolicy,
    errors::Refusal,
    policy::Policy,
    rate::{Limiter, network_of},
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
    /// Preferences and registered devices.
    pub documents: Documents,
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
    /// Rates that count over all nodes, if nodes share any.
    pub counters: Option<Arc<dyn SharedCounters>>,
    /// Whether guests may sign in.
    pub development: bool,
}

/// The state of the routes. Cheap to clone.
#[derive(Clone)]
pub struct Rest(Arc<Shared>);

pub(super) struct Shared {
    parts: RestParts,
    by_person: Limiter,
    by_address: Limiter,
    devices: Devices,
}

impl Rest {
    /// Routes over these handles.
    pub fn new(parts: RestParts) -> Self {
        let limiter = |name| {
            let limit = parts.config.requests_per_minute;
            Limiter::per_minute(name, limit, parts.counters.clone())
        };
        let (by_person, by_address) = (limiter("rest_person"), limiter("rest_address"));
        let devices = Devices {
            documents: parts.documents.clone(),
            store: parts.store.clone(),
            people: parts.people.clone(),
            delivery: parts.delivery.clone(),
            clock: parts.clock.clone(),
        };
        Self(Arc::new(Shared {
            parts,
            by_person,
            by_address,
            devices,
        }))
    }

    /// The devices that people have registered.
    pub(super) fn devices(&self) -> &Devices {
        &self.0.devices
    }

    pub(super) async fn admit_person(&self, person: &Person) -> Result<(), Refusal> {
        let key = format!("{}\u{1f}{}", person.workspace, person.user);
        let admitted = self.0.by_person.admit(key).await;
        admitted.map_err(Refusal::rate_limited)
    }

    pub(super) async fn admit_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let key = network_of(address).to_string();
        let admitted = self.0.by_address.admit(key).await;
        admitted.map_err(Refusal::rate_limited)
    }
}

impl Deref for Rest {
    type Target = RestParts;
    fn deref(&self) -> &RestParts {
        &self.0.parts
    }
}
