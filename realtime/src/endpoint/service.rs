//! What answers requests: the socket mounts, and the routes beside them.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::{Method, Request, Uri};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tracing::{Instrument, Level, Span};

use super::{
    admission::{Admission, Full, Permit},
    answer,
    client::{Client, TrustedProxies},
    config::Config,
    connection::Connection,
    counted::Counted,
    mounts::{Found, Mounts, SocketRequest},
    request_id::{RequestId, X_REQUEST_ID},
    tls::{Tls, TlsError},
    upgrade::Answer,
};
use crate::{
    errors::Reason,
    longpoll::{LongPoll, Nodes},
    socket::Mount,
    telemetry::redact,
};

/// Everything a listener serves. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    routes: Router,
    mounts: Mounts,
    admission: Admission,
    proxies: TrustedProxies,
    public_host: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) header_timeout: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) write_timeout: Duration,
    request_timeout: Duration,
    counted: Counted,
}

/// Puts an [`Endpoint`] together.
#[derive(Debug)]
pub struct EndpointBuilder {
    config: Config,
    routes: Router,
    mounts: Vec<Mount>,
    nodes: Option<Nodes>,
}

impl EndpointBuilder {
    /// Adds routes. What neither they nor a mount answer is 404.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Adds a place where sockets connect, over WebSocket and, if its options say so, long-poll.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Passes long-poll requests for sessions of other nodes on to them, and takes theirs.
    #[must_use]
    pub fn nodes(mut self, nodes: Option<Nodes>) -> Self {
        self.nodes = nodes;
        self
    }

    /// Reads the TLS files.
    pub fn build(self) -> Result<Endpoint, TlsError> {
        let tls = Tls::load(&self.config.tls)?;
        let mounts = self.mount_table();
        let config = self.config;
        let shared = Shared {
            routes: self.routes.fallback(async || answer::not_found()),
            mounts,
            admission: Admission::new(config.max_connections, config.max_connections_per_address),
            proxies: config.proxies(),
            public_host: (!config.public_host.is_empty()).then_some(config.public_host),
            tls,
            header_timeout: config.header_timeout,
            drain_timeout: config.drain_timeout,
            write_timeout: config.write_timeout,
            request_timeout: config.request_timeout,
            counted: Counted::default(),
        };
        let shared = Arc::new(shared);
        Ok(Endpoint { shared })
    }

    fn mount_table(&self) -> Mounts {
        let per_address = self.config.max_connections_per_address;
        let sessions = Admission::new(self.config.long_poll.max_sessions, per_address);
        let mut mounts = Mounts::default();
        for mount in &self.mounts {
            mounts.add_websocket(mount);
            if let Some(options) = &mount.options().longpoll {
                let (options, config) = (options.clone(), self.config.long_poll.clone());
                let (nodes, sessions) = (self.nodes.clone(), sessions.clone());
                let longpoll = LongPoll::new(mount.clone(), options, config, nodes, sessions);
                mounts.add_longpoll(mount, longpoll);
            }
        }
        mounts
    }
}

impl Endpoint {
    /// An endpoint that answers 404 to everything, yet.
    pub fn builder(config: &Config) -> EndpointBuilder {
        EndpointBuilder {
            config: config.clone(),
            routes: Router::new(),
            mounts: Vec::new(),
            nodes: None,
        }
    }

    /// The host name that browsers know this service by, if it is configured.
    pub(crate) fn public_host(&self) -> Option<&str> {
        self.shared.public_host.as_deref()
    }

    /// The connection caps and counts.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Takes a place for a new connection. A trusted proxy carries many clients, so that only the
    /// node's cap applies to it.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Result<Permit, Full> {
        if self.shared.proxies.trusts(peer.ip()) {
            self.shared.admission.admit_proxy()
        } else {
            self.shared.admission.admit(peer.ip())
        }
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let answered = self.shared.routes.clone().oneshot(request);
        match timeout(self.shared.request_timeout, answered).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => answer::unavailable(Reason::Timeout),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The socket that a request is for, if it is for one.
    pub(crate) fn find(&self, request: &Request<Body>) -> Option<Found> {
        self.endpoint.shared.mounts.find(request.uri().path())
    }

    /// Answers a request of this connection, which is for what was [found](Self::find): with a
    /// request id, in a span, counted.
    pub(crate) async fn answer(&self, request: Request<Body>, found: Option<Found>) -> Answer {
        let began = Instant::now();
        let id = RequestId::of(request.headers());
        let shared = &self.endpoint.shared;
        let headers = request.headers();
        let client = shared.proxies.client(self.peer, self.tls, headers);
        // Of the many sockets that open hardly any is mentioned, and writing down what they asked
        // would take as long as anything else of it.
        let is_spanless =
            found.as_ref().is_some_and(Found::opens_socket) && !tracing::enabled!(Level::DEBUG);
        let span = match is_spanless {
            true => Span::none(),
            false => span(&id, request.method(), request.uri(), client),
        };
        let method = request.method().clone();
        let mut answer = match found {
            Some(mut found) => {
                let spanless = is_spanless.then(|| id.clone());
                let (mut request, body) = found.request(request, client, spanless);
                let answered = found.answer(self, &mut request, body);
                answered.instrument(span).await
            }
            None => {
                // Boxed, as long-poll is: a connect should not be as large as they are.
                let routed = Box::pin(self.answer_route(request, client, id.clone(), began));
                routed.instrument(span).await.into()
            }
        };
        let status = answer.response.status();
        shared.counted.answered(&method, status, began.elapsed());
        let headers = answer.response.headers_mut();
        headers.insert(X_REQUEST_ID, id.header());
        answer
    }

    /// Requests for sockets come by the thousand, and health checks by the clock; the others are
    /// worth a line each.
    async fn answer_route(
        &self,
        mut request: Request<Body>,
        client: Client,
        id: RequestId,
        began: Instant,
    ) -> Response {
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(id);
        let is_check = CHECKS.contains(&request.uri().path());
        let response = self.endpoint.route(request).await;
        let (status, took_us) = (response.status().as_u16(), began.elapsed().as_micros());
        if is_check {
            tracing::debug!(status, took_us, "answered");
        } else {
            tracing::info!(status, took_us, "answered");
        }
        response
    }
}

fn span(id: &RequestId, method: &Method, uri: &Uri, client: Client) -> Span {
    tracing::info_span!(
        "request",
        id = id.as_str(),
        method = %method,
        path = uri.path(),
        query = %redact::Query(uri.query()),
        client = %client.ip,
    )
}

/// The span of a request that was given none, now that something is to be said of it.
pub(super) fn late_span(request: &SocketRequest) -> Span {
    let parts = &request.parts;
    match &request.spanless {
        Some(id) => span(id, &parts.method, &parts.uri, request.client),
        None => Span::none(),
    }
}

/// What machines ask again and again.
const CHECKS: [&str; 5] = [
    "/health",
    "/health/ready",
    "/health/live",
    "/actuator/health",
    "/metrics",
];
