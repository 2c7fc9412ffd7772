//! What both transports settle before a socket exists, in Phoenix's order: the query, the origin,
//! the version, and then `connect`.

use std::net::SocketAddr;

use http::{
    HeaderMap,
    header::{HOST, ORIGIN},
    request::Parts,
};

use super::{
    connection::Connection,
    mounts::SocketRequest,
    origin::{OriginPolicy, split_authority},
    query::{self, InvalidQuery},
    service::late_span,
    vsn,
};
use crate::{
    errors::Reason,
    socket::{ConnectInfo, ConnectRefusal, Mount, Session, Transport},
};

/// Why no socket came of a request.
#[derive(Debug)]
pub(crate) enum NotConnected {
    /// The version fits no serializer.
    Version,
    /// `connect` said no.
    Refused(ConnectRefusal),
    /// `connect` failed: HTTP 500.
    Crashed,
    /// `connect` took too long, or the node stops: HTTP 503.
    Unavailable(Reason),
}

impl From<ConnectRefusal> for NotConnected {
    fn from(refusal: ConnectRefusal) -> Self {
        match (refusal.status, refusal.body.is_empty()) {
            (500, true) => Self::Crashed,
            (503, true) if refusal.reason == "draining" => Self::Unavailable(Reason::Restarting),
            (503, true) => Self::Unavailable(Reason::Timeout),
            _ => Self::Refused(refusal),
        }
    }
}

/// Query parameters of a request.
pub(crate) fn params(parts: &Parts) -> Result<Vec<(String, String)>, InvalidQuery> {
    query::parse(parts.uri.query().unwrap_or_default())
}

/// Whether the page that sent the request may connect.
pub(crate) fn origin_allowed(
    policy: &OriginPolicy,
    connection: &Connection,
    headers: &HeaderMap,
) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return policy.allows(None, None);
    };
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let public_host = connection.endpoint.public_host().map(str::to_owned);
    let own_host = public_host.or_else(|| {
        let host = headers.get(HOST).map(text)?;
        Some(split_authority(&host)?.0)
    });
    policy.allows(Some(&text(origin)), own_host.as_deref())
}

/// What the handler is told of a request besides its path and its client.
pub(crate) struct Asked {
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) transport: Transport,
    pub(crate) auth_token: Option<String>,
}

/// Asks the mount's handler.
pub(crate) async fn connect(
    mount: &Mount,
    connection: &Connection,
    request: &SocketRequest,
    asked: Asked,
) -> Result<Session, NotConnected> {
    let Asked {
        query,
        headers,
        transport,
        auth_token,
    } = asked;
    let vsn = version(mount, &query).ok_or(NotConnected::Version)?;
    let info = ConnectInfo {
        transport,
        vsn,
        peer: SocketAddr::new(request.client.ip, connection.peer.port()),
        path_params: request.path_params.clone(),
        query,
        headers,
        auth_token,
    };
    match mount.connect(info).await {
        Ok(session) => {
            let transport = transport.as_str();
            tracing::debug!(socket = session.id().0, transport, "connected");
            Ok(session)
        }
        Err(refusal) => {
            let (status, reason) = (refusal.status, &refusal.reason);
            late_span(request)
                .in_scope(|| tracing::info!(status, reason = %reason, "connect refused"));
            Err(refusal.into())
        }
    }
}

fn version(mount: &Mount, query: &[(String, String)]) -> Option<quikapp_protocol::Vsn> {
    if query::is_structured(query, "vsn") {
        return None;
    }
    vsn::negotiate(query::last(query, "vsn"), &mount.options().serializers)
}
