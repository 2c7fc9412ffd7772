//! A socket's handler, router and assigns, without their types.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use quikapp_actors::fanout::Note;
use quikapp_protocol::Payload;
use quikapp_storage::{Seq, Timestamp};

use super::SocketHandler;
use crate::channel::{Address, JoinError, Joined, Router};

/// What is known about a socket's client, replaced as a whole when its token is renewed.
pub(crate) struct Assigned<A>(RwLock<Arc<A>>);

impl<A> Assigned<A> {
    pub(crate) fn get(&self) -> Arc<A> {
        Arc::clone(&self.0.read())
    }

    fn set(&self, assigns: A) {
        *self.0.write() = Arc::new(assigns);
    }
}

/// The typed side of a session.
pub(crate) trait Scope: Send + Sync {
    /// The topic's broadcasts travel on this topic; `None` if no channel is routed.
    fn source(&self, topic: &str) -> Option<Arc<str>>;

    fn join(&self, address: Arc<Address>, params: Payload) -> Option<BoxFuture<'static, Joined>>;

    fn reauthenticate(self: Arc<Self>, token: String) -> BoxFuture<'static, Result<(), JoinError>>;

    fn expires_at(&self) -> Option<Timestamp>;

    /// See [`SocketHandler::log_ends_at`].
    fn log_ends_at(&self, note: &Note) -> Option<Seq>;
}

pub(super) struct SocketScope<H: SocketHandler> {
    pub(super) handler: Arc<H>,
    pub(super) router: Arc<Router<H::Assigns>>,
    pub(super) assigned: Arc<Assigned<H::Assigns>>,
}

impl<H: SocketHandler> SocketScope<H> {
    pub(super) fn new(
        handler: Arc<H>,
        router: Arc<Router<H::Assigns>>,
        assigns: H::Assigns,
    ) -> Self {
        let assigned = Arc::new(Assigned(RwLock::new(Arc::new(assigns))));
        Self {
            handler,
            router,
            assigned,
        }
    }
}

impl<H: SocketHandler> Scope for SocketScope<H> {
    fn source(&self, topic: &str) -> Option<Arc<str>> {
        self.router.find(topic).map(|target| target.source)
    }

    fn join(&self, address: Arc<Address>, params: Payload) -> Option<BoxFuture<'static, Joined>> {
        let target = self.router.find(address.topic())?;
        let (channel, assigned) = (Arc::clone(target.channel), Arc::clone(&self.assigned));
        Some(channel.join(address, assigned, target.source, params))
    }

    fn reauthenticate(self: Arc<Self>, token: String) -> BoxFuture<'static, Result<(), JoinError>> {
        Box::pin(async move {
            let assigns = self.assigned.get();
            let renewed = self.handler.reauthenticate(&assigns, token).await?;
            self.assigned.set(renewed);
            Ok(())
        })
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.handler.expires_at(&self.assigned.get())
    }

    fn log_ends_at(&self, note: &Note) -> Option<Seq> {
        self.handler.log_ends_at(&self.assigned.get(), note)
    }
}
