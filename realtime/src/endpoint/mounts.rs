//! Which requests belong to a socket.

use std::{fmt, sync::Arc};

use axum::{body::Body, response::Response};
use http::{Request, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{client::Client, connection::Connection, path::PathPattern, upgrade};
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

    /// Answers a request for a socket; any other comes back.
    pub(crate) async fn answer(
        &self,
        connection: &Connection,
        client: Client,
        request: Request<Body>,
    ) -> Result<Response, Request<Body>> {
        let Some((target, path_params)) = self.find(request.uri().path()) else {
            return Err(request);
        };
        let (mut parts, body) = request.into_parts();
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let request = SocketRequest {
            parts,
            path_params,
            client,
        };
        Ok(match target {
            Target::WebSocket(mount) => {
                upgrade::answer(&mount, connection, &request, on_upgrade).await
            }
            Target::LongPoll(longpoll) => longpoll.answer(connection, &request, body).await,
        })
    }

    fn find(&self, path: &str) -> Option<(Target, Vec<(String, String)>)> {
        let matching = |route: &Route| Some((route.target.clone(), route.pattern.matches(path)?));
        self.0.iter().find_map(matching)
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
