//! A place where clients connect.

use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use quikapp_actors::fanout::Outbox;
use quikapp_protocol::Vsn;

use super::{
    ConnectInfo, ConnectRefusal, Hub, Limits, Link, Session, SocketHandler, scope::SocketScope,
};
use crate::{channel::Router, endpoint::OriginPolicy};

/// How the long-poll transport of a mount behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongPollOptions {
    /// How long a GET waits for messages.
    pub window: Duration,
    /// Which pages may poll, if others than may open a WebSocket.
    pub origins: Option<OriginPolicy>,
}

impl Default for LongPollOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            origins: None,
        }
    }
}

/// How a mount's transports behave.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// What follows the mount's path for WebSockets.
    pub websocket_path: String,
    /// Long-poll beside WebSocket, at `<mount>/longpoll`.
    pub longpoll: Option<LongPollOptions>,
    /// The serializers that may be asked for.
    pub serializers: Vec<Vsn>,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// WebSocket subprotocols; none configured means that none is looked at.
    pub subprotocols: Vec<String>,
    /// Accept the token that phoenix.js 1.8 sends beside the query.
    pub auth_token: bool,
    /// Agree to permessage-deflate.
    pub compress: bool,
    /// The largest frame of a client, in bytes (close code 1009).
    pub max_frame_size: Option<usize>,
    /// The largest message of a client, all its fragments together, in bytes (close code 1009).
    pub max_message_size: usize,
    /// A WebSocket from which nothing comes for this long is closed.
    pub idle_timeout: Duration,
    /// How long `connect` may take (HTTP 503).
    pub connect_timeout: Duration,
    /// What one socket may do.
    pub limits: Limits,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            websocket_path: "/websocket".into(),
            longpoll: Some(LongPollOptions::default()),
            serializers: vec![Vsn::V1, Vsn::V2],
            origins: OriginPolicy::OwnHost,
            subprotocols: Vec::new(),
            auth_token: false,
            compress: false,
            max_frame_size: None,
            max_message_size: 16 * 1024 * 1024,
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// A socket at a path. Cloning shares it.
#[derive(Clone)]
pub struct Mount {
    path: Arc<str>,
    options: Arc<MountOptions>,
    hub: Arc<Hub>,
    socket: Arc<dyn Connect>,
}

impl Mount {
    /// Puts a socket at a path, whose segments may be variables: `/socket/:tenant`.
    pub fn new<H: SocketHandler>(
        path: &str,
        handler: H,
        router: Router<H::Assigns>,
        hub: &Hub,
        options: MountOptions,
    ) -> Self {
        let socket = Socket {
            handler: Arc::new(handler),
            router: Arc::new(router),
        };
        Self {
            path: path.into(),
            options: Arc::new(options),
            hub: Arc::new(hub.clone()),
            socket: Arc::new(socket),
        }
    }

    /// The path, without the transport's.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How its transports behave.
    pub fn options(&self) -> &MountOptions {
        &self.options
    }

    /// What its sockets share with those of other mounts.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Asks the handler. A handler that panics is answered 500, one that takes too long 503, and
    /// so is everybody while the process stops.
    ///
    /// Not an `async fn`: that would keep what it is told beside what the handler makes of it.
    pub fn connect(
        &self,
        info: ConnectInfo,
    ) -> impl Future<Output = Result<Session, ConnectRefusal>> + Send + '_ {
        let is_draining = self.hub.connections.is_draining();
        let connecting = (!is_draining).then(|| {
            let (hub, options) = (Arc::clone(&self.hub), Arc::clone(&self.options));
            Arc::clone(&self.socket).connect(info, hub, options)
        });
        async move {
            let Some(connecting) = connecting else {
                return Err(ConnectRefusal::forbidden("draining").with_status(503));
            };
            let caught = AssertUnwindSafe(connecting).catch_unwind();
            match tokio::time::timeout(self.options.connect_timeout, caught).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_panic)) => {
                    tracing::error!(path = self.path(), "connect panicked");
                    Err(ConnectRefusal::forbidden("connect crashed").with_status(500))
                }
                Err(_elapsed) => {
                    Err(ConnectRefusal::forbidden("connect timed out").with_status(503))
                }
            }
        }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mount").field(&self.path).finish()
    }
}

/// A handler and its router, without their types.
trait Connect: Send + Sync {
    fn connect(
        self: Arc<Self>,
        info: ConnectInfo,
        hub: Arc<Hub>,
        options: Arc<MountOptions>,
    ) -> BoxFuture<'static, Result<Session, ConnectRefusal>>;
}

struct Socket<H: SocketHandler> {
    handler: Arc<H>,
    router: Arc<Router<H::Assigns>>,
}

impl<H: SocketHandler> Connect for Socket<H> {
    fn connect(
        self: Arc<Self>,
        info: ConnectInfo,
        hub: Arc<Hub>,
        options: Arc<MountOptions>,
    ) -> BoxFuture<'static, Result<Session, ConnectRefusal>> {
        Box::pin(async move {
            let (vsn, transport) = (info.vsn, info.transport);
            let connected = self.handler.connect(info).await?;
            let outbox = Outbox::new(hub.connections.next_id(), options.limits.outbox);
            let link = Link {
                outbox: Arc::new(outbox),
                hub,
                vsn,
                transport,
            };
            let (handler, router) = (Arc::clone(&self.handler), Arc::clone(&self.router));
            let scope = Arc::new(SocketScope::new(handler, router, connected.assigns));
            let ids = connected.socket_ids;
            Ok(Session::new(Arc::new(link), scope, options, &ids))
        })
    }
}
