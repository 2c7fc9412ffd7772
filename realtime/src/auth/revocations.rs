//! Tokens and people that are no longer welcome.
//!
//! A revocation is written to the store, acts on this node at once, and on other nodes when they
//! read it: within their poll interval, well below a second. When the store cannot be read, what is
//! known stays in force and [`Revocations::problem`] says so.

mod set;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::RwLock;
use quikapp_actors::{
    Clock,
    fanout::{Close, Fanout},
    supervision::{ChildSpec, Supervisor, SupervisorSpec},
};
use quikapp_storage::{
    Person, Revocation, RevokedSubject, SharedStore, StoreError, Timestamp, WorkspaceId,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Principal, principal};
use crate::errors::CloseCode;
use set::RevokedSet;

/// A poll that takes longer has failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(5);

/// The revocations in force. Cheap to clone; the poll ends with the last clone.
#[derive(Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    fanout: Fanout,
    remember: Duration,
    set: RwLock<RevokedSet>,
    problem: RwLock<Option<String>>,
}

impl Revocations {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub async fn start(
        store: SharedStore,
        clock: Arc<dyn Clock>,
        fanout: Fanout,
        poll: Duration,
        remember: Duration,
    ) -> Result<Self, StoreError> {
        let alone = Supervisor::start(SupervisorSpec::new("alone"));
        Self::start_under(&alone, store, clock, fanout, poll, remember).await
    }

    /// Reads what the store knows, and from then on every `poll` what was added. Revocations are
    /// remembered for `remember`, the longest time a token may live.
    pub async fn start_under(
        supervisor: &Supervisor,
        store: SharedStore,
        clock: Arc<dyn Clock>,
        fanout: Fanout,
        poll: Duration,
        remember: Duration,
    ) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner {
            store,
            clock,
            fanout,
            remember,
            set: RwLock::default(),
            problem: RwLock::default(),
        });
        inner.read_new().await?;
        let (followed, store) = (Arc::downgrade(&inner), inner.store.clone());
        let task = ChildSpec::task("revocations", "revocations", move |stop| {
            let (followed, store) = (followed.clone(), store.clone());
            async move {
                stop.run_until_cancelled(follow(followed, store, poll))
                    .await;
            }
        });
        supervisor.launch(task);
        Ok(Self { inner })
    }

    /// Whether a principal's token, or the person, was revoked.
    pub fn refuse(&self, principal: &Principal) -> bool {
        self.inner.set.read().refuses(principal)
    }

    /// Revokes one token of a workspace. Its sockets close.
    pub async fn revoke_token(&self, workspace: &WorkspaceId, jti: &str) -> Result<(), StoreError> {
        let subject = RevokedSubject::Jti(qualified(workspace, jti));
        self.inner.revoke(subject, self.inner.longest()).await
    }

    /// The owner of a token signs out. Its sockets close, with another code.
    pub async fn sign_out(&self, principal: &Principal) -> Result<(), StoreError> {
        let token = qualified(principal.workspace(), &principal.jti);
        let subject = RevokedSubject::SignedOut(token);
        self.inner.revoke(subject, principal.expires_at).await
    }

    /// Revokes every token that a person has by now. Their sockets close.
    pub async fn revoke_person(&self, person: Person) -> Result<(), StoreError> {
        let subject = RevokedSubject::Person(person);
        self.inner.revoke(subject, self.inner.longest()).await
    }

    /// A socket goes on with a fresh token. It stays known under the token it was opened with, so
    /// that revoking the fresh one must find it there.
    pub fn renewed(&self, holder: &Principal, fresh: &Principal) {
        let mut set = self.inner.set.write();
        set.link(holder, fresh);
    }

    /// Why revocations of other nodes may be unknown at the moment, for readiness.
    pub fn problem(&self) -> Option<String> {
        self.inner.problem.read().clone()
    }
}

impl Inner {
    async fn revoke(
        &self,
        subject: RevokedSubject,
        forget_after: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let revocation = self.store.revoke(subject, now, forget_after).await?;
        self.enforce(&revocation);
        Ok(())
    }

    /// By when the youngest token of now has ended.
    fn longest(&self) -> Timestamp {
        let remember = i64::try_from(self.remember.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().0.saturating_add(remember))
    }

    async fn read_new(&self) -> Result<(), StoreError> {
        let after = self.set.read().read_up_to();
        for revocation in self.store.revocations_since(after).await? {
            self.enforce(&revocation);
            self.set.write().has_read(revocation.number);
        }
        self.set.write().forget(self.clock.now());
        Ok(())
    }

    /// First nothing new is let in, then what is in is closed.
    fn enforce(&self, revocation: &Revocation) {
        let Some(tokens) = self.set.write().add(revocation) else {
            return;
        };
        let close = close_of(&revocation.subject);
        if let RevokedSubject::Person(person) = &revocation.subject {
            self.fanout
                .disconnect(&principal::socket_id(person), &close);
        }
        for token in tokens {
            self.fanout
                .disconnect(&principal::token_socket_id(&token), &close);
        }
    }

    async fn poll(&self) {
        let outcome = match timeout(POLL_TIMEOUT, self.read_new()).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("reading revocations took too long".into()),
        };
        let mut problem = self.problem.write();
        if let (Err(error), None) = (&outcome, problem.as_ref()) {
            tracing::warn!(
                error,
                "revocations cannot be read; the last known stay in force"
            );
        }
        *problem = outcome.err();
    }
}

/// Reads at every tick, and as soon as the store has heard of something new.
async fn follow(inner: Weak<Inner>, store: SharedStore, poll: Duration) {
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            number = store.revocation_hint(heard) => heard = number,
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.poll().await;
        heard = heard.max(inner.set.read().read_up_to());
    }
}

fn close_of(subject: &RevokedSubject) -> Close {
    let (code, reason) = match subject {
        RevokedSubject::Person(_) | RevokedSubject::Jti(_) => (CloseCode::Policy, "revoked"),
        RevokedSubject::SignedOut(_) => (CloseCode::SignedOut, "signed_out"),
    };
    Close::new(code.code(), reason)
}

/// Other issuers may number tokens as they like, so a token's id counts within its workspace.
pub(super) fn qualified(workspace: &WorkspaceId, jti: &str) -> String {
    [workspace.as_str(), "\u{1f}", jti].concat()
}
