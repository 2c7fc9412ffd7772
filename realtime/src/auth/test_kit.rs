//! A node's authentication on an embedded store in a directory of its own, for tests.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use quikapp_actors::{
    Clock,
    clock::ManualClock,
    conversation::Conversations,
    delivery::{self, Delivery},
    fanout::Fanout,
};
use quikapp_storage::{Person, SharedStore, Timestamp, UserId, WorkspaceId};

use super::{Authenticator, Config, Grant, Principal, Revocations, Secret, Tickets, Tokens};
use crate::policy::{self, Policy};

/// When tests begin, by the clock of the kit.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// One node. Several may share a directory, as processes of one host do.
pub(crate) struct Node {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) store: SharedStore,
    pub(crate) clock: ManualClock,
    pub(crate) fanout: Fanout,
    pub(crate) config: Config,
    pub(crate) authenticator: Authenticator,
    pub(crate) policy: Policy,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default(), policy::Config::default()).await
    }

    pub(crate) async fn with(config: Config, policy: policy::Config) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let store = open(&dir);
        Self::on(dir, store, config, policy).await
    }

    /// Another node beside this one, on the same data.
    pub(crate) async fn beside(&self) -> Self {
        let dir = Arc::clone(&self.dir);
        let store = open(&dir);
        Self::on(dir, store, self.config.clone(), policy::Config::default()).await
    }

    /// A node on a store of the test's choice.
    pub(crate) async fn on(
        dir: Arc<tempfile::TempDir>,
        store: SharedStore,
        config: Config,
        policy: policy::Config,
    ) -> Self {
        let manual = ManualClock::at(NOW);
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        let fanout = Fanout::new();
        let secret = Secret::new("k".repeat(64)).unwrap();
        let revocations = Revocations::start(
            store.clone(),
            clock.clone(),
            fanout.clone(),
            config.revocation_poll,
            config.max_lifetime,
        );
        let revocations = revocations.await.unwrap();
        Self {
            policy: Policy::new(store.clone(), revocations.clone(), clock.clone(), policy),
            authenticator: Authenticator {
                tokens: Tokens::new(&config, &[secret], clock.clone()).unwrap(),
                tickets: Tickets::new(store.clone(), clock.clone(), config.ticket_ttl),
                revocations,
                clock,
            },
            dir,
            store,
            clock: manual,
            fanout,
            config,
        }
    }

    /// Delivery that looks for what is due all the time.
    pub(crate) fn delivery(&self, conversations: &Conversations) -> Delivery {
        let config = delivery::Config {
            projection_window: Duration::from_millis(5),
            timer_poll: Duration::from_millis(5),
            ..delivery::Config::default()
        };
        self.delivery_with(conversations, config)
    }

    pub(crate) fn delivery_with(
        &self,
        conversations: &Conversations,
        config: delivery::Config,
    ) -> Delivery {
        Delivery::start(delivery::Parts {
            config,
            store: self.store.clone(),
            conversations: conversations.clone(),
            clock: Arc::new(self.clock.clone()),
            may_send: self.policy.may_send(),
            projections: Vec::new(),
        })
    }

    pub(crate) fn token(&self, grant: &Grant) -> String {
        let minted = self
            .authenticator
            .tokens
            .mint(grant, Duration::from_secs(3600));
        minted.unwrap().token
    }

    pub(crate) async fn principal(&self, grant: &Grant) -> Principal {
        self.authenticator
            .tokens
            .verify(&self.token(grant))
            .await
            .unwrap()
    }
}

fn open(dir: &tempfile::TempDir) -> SharedStore {
    quikapp_storage::open(&quikapp_storage::Config::at(dir.path())).unwrap()
}

pub(crate) fn person(workspace: &str, user: &str) -> Person {
    Person {
        workspace: WorkspaceId::new(workspace).unwrap(),
        user: UserId::new(user).unwrap(),
    }
}

pub(crate) fn member(workspace: &str, user: &str) -> Grant {
    Grant::member(person(workspace, user))
}

pub(crate) fn admin(workspace: &str, user: &str) -> Grant {
    Grant::admin(person(workspace, user))
}

/// Awaits what background work brings about.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.expect("the condition holds in time");
}
