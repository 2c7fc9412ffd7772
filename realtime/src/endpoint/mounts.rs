//! Which requests belong to a socket.

use std::{fmt, mem, sync::Arc};

use axum::body::Body;
use http::{Request, request::Parts};

use super::{
    RequestId, client::Client, connection::Connection, path::PathPattern, upgrade, upgrade::Answer,
};
use crate::{longpoll::LongPoll, socket::Mount};

const LONG_POLL_PATH: &str = "longpoll";

/// The socket mounts of an endpoint, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<Route>);

struct Route {
    pattern: PathPattern,
    target: Target,
}

#[derive(Clone)]
enum Target {
    WebSocket(Mount),
    LongPoll(Arc<LongPoll>),
}

/// A request for a socket, as far as its path and connection tell.
#[derive(Debug)]
pub(crate) struct SocketRequest {
    pub(crate) parts: Parts,
    pub(crate) path_params: Vec<(String, String)>,
    pub(crate) client: Client,
    /// Its id, if it has no span: one is made when there is something to be said of it.
    pub(crate) spanless: Option<RequestId>,
}

impl Mounts {
    pub(crate) fn add_websocket(&mut self, mount: &Mount) {
        let path = format!("{}/{}", mount.path(), mount.options().websocket_path);
        self.add(&path, Target::WebSocket(mount.clone()));
    }

    pub(crate) fn add_longpoll(&mut self, mount: &Mount, longpoll: LongPoll) {
        let path = format!("{}/{LONG_POLL_PATH}", mount.path());
        self.add(&path, Target::LongPoll(Arc::new(longpoll)));
    }

    fn add(&mut self, path: &str, target: Target) {
        let pattern = PathPattern::parse(path);
        self.0.push(Route { pattern, target });
    }

    /// The socket that a path leads to.
    pub(crate) fn find(&self, path: &str) -> Option<Found> {
        self.0.iter().find_map(|route| {
            let path_params = route.pattern.matches(path)?;
            let target = route.target.clone();
            Some(Found {
                target,
                path_params,
            })
        })
    }
}

/// Where a request for a socket goes.
pub(crate) struct Found {
    target: Target,
    path_params: Vec<(String, String)>,
}

impl Found {
    /// Whether the request may become a WebSocket.
    pub(crate) fn opens_socket(&self) -> bool {
        matches!(self.target, Target::WebSocket(_))
    }

    /// The request, as it is looked at from here on, and its body.
    pub(crate) fn request(
        &mut self,
        request: Request<Body>,
        client: Client,
        spanless: Option<RequestId>,
    ) -> (SocketRequest, Body) {
        let (parts, body) = request.into_parts();
        let path_params = mem::take(&mut self.path_params);
        let request = SocketRequest {
            parts,
            path_params,
            client,
            spanless,
        };
        (request, body)
    }

    /// Answers it.
    pub(crate) async fn answer(
        &self,
        connection: &Connection,
        request: &mut SocketRequest,
        body: Body,
    ) -> Answer {
        match &self.target {
            Target::WebSocket(mount) => upgrade::answer(mount, connection, request).await,
            Target::LongPoll(longpoll) => {
                let answered = Box::pin(longpoll.answer(connection, request, body));
                answered.await.into()
            }
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match &self.target {
            Target::WebSocket(_) => "websocket",
            Target::LongPoll(_) => "longpoll",
        };
        write!(f, "{:?} ({transport})", self.pattern)
    }
}
