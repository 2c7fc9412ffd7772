//! What answers requests: the socket mounts, and the routes beside them.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tracing::Instrument;

use super::{
    admission::{Admission, Full, Permit},
    answer,
    client::{Client, TrustedProxies},
    config::Config,
    connection::Connection,
    mounts::Mounts,
    request_id::{RequestId, X_REQUEST_ID},
    tls::{Tls, TlsError},
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
    /// Answers a request of this connection: with a request id, in a span, counted.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        let id = RequestId::of(request.headers());
        let client = self
            .endpoint
            .shared
            .proxies
            .client(self.peer, self.tls, request.headers());
        let span = tracing::info_span!(
            "request",
            id = id.as_str(),
            method = %request.method(),
            path = request.uri().path(),
            query = %redact::Query(request.uri().query()),
            client = %client.ip,
        );
        let mut response = self
            .dispatch(request, client, id.clone())
            .instrument(span)
            .await;
        response.headers_mut().insert(X_REQUEST_ID, id.header());
        response
    }

    async fn dispatch(
        &self,
        request: Request<Incoming>,
        client: Client,
        id: RequestId,
    ) -> Response {
        let began = Instant::now();
        let method = known_method(request.method());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(id);
        let mounts = &self.endpoint.shared.mounts;
        let response = match mounts.answer(self, client, request).await {
            Ok(response) => response,
            Err(request) => self.answer_route(request, began).await,
        };
        count(method, response.status(), began.elapsed());
        response
    }

    /// Requests for sockets come by the thousand, and health checks by the clock; the others are
    /// worth a line each.
    async fn answer_route(&self, request: Request<Body>, began: Instant) -> Response {
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

/// What machines ask again and again.
const CHECKS: [&str; 5] = [
    "/health",
    "/health/ready",
    "/health/live",
    "/actuator/health",
    "/metrics",
];

fn count(method: &'static str, status: StatusCode, took: Duration) {
    let class = ["?", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let class = class[usize::from(status.as_u16() / 100).min(5)];
    metrics::counter!("quikapp_http_requests_total", "method" => method, "status" => class)
        .increment(1);
    metrics::histogram!("quikapp_http_request_duration_seconds", "method" => method)
        .record(took.as_secs_f64());
}

/// A method as a metric label: a client may invent methods, but not labels.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
