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
    origin::OriginPolicy,
    request_id::{RequestId, X_REQUEST_ID},
    tls::{Tls, TlsError},
};

/// Everything a listener serves. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    routes: Router,
    admission: Admission,
    proxies: TrustedProxies,
    pub(super) origins: OriginPolicy,
    pub(super) tls: Option<Tls>,
    pub(super) header_timeout: Duration,
    pub(super) drain_timeout: Duration,
    request_timeout: Duration,
}

impl Endpoint {
    /// An endpoint with these routes. Reads the TLS files.
    pub fn new(config: &Config, routes: Router) -> Result<Self, TlsError> {
        let shared = Shared {
            routes: routes.fallback(async || answer::not_found()),
            admission: Admission::new(config.max_connections, config.max_connections_per_address),
            proxies: config.proxies(),
            origins: config.allowed_origins.clone(),
            tls: Tls::load(&config.tls)?,
            header_timeout: config.header_timeout,
            drain_timeout: config.drain_timeout,
            request_timeout: config.request_timeout,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
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
            Err(_) => answer::unavailable("timeout", "the request took too long"),
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
        // Only the path: a query may hold tokens.
        let span = tracing::info_span!(
            "request",
            id = id.as_str(),
            method = %request.method(),
            path = request.uri().path(),
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
        let method = request.method().clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(id);
        let response = self.endpoint.route(request).await;
        record(&method, response.status(), began.elapsed());
        response
    }
}

fn record(method: &http::Method, status: StatusCode, took: Duration) {
    tracing::debug!(
        status = status.as_u16(),
        took_ms = took.as_millis(),
        "answered"
    );
    let method = known_method(method);
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
