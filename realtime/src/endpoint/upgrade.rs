//! From an HTTP request to a WebSocket (protocol.md items 2 to 6, in the order recorded).

use axum::{body::Body, response::Response};
use futures_util::FutureExt;
use http::{
    HeaderValue, Method, StatusCode,
    header::{RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS},
    request::Parts,
};
use hyper::upgrade::{OnUpgrade, Upgraded};

use super::{
    answer,
    connection::{Connection, HttpStream, Permits},
    handshake::Handshake,
    mounts::SocketRequest,
    negotiate::{self, NotConnected},
    subprotocol,
};
use crate::{
    socket::{ConnectRefusal, Mount, Session, Transport, serve_websocket},
    ws::{CompressionPolicy, Deflate},
};

/// Answers a request on a mount's WebSocket path.
pub(crate) async fn answer(
    mount: &Mount,
    connection: &Connection,
    request: &SocketRequest,
    on_upgrade: Option<OnUpgrade>,
) -> Response {
    match open(mount, connection, request).await {
        Ok(opening) => opening.accept(on_upgrade),
        Err(refusal) => refusal,
    }
}

/// A WebSocket that only waits for its 101 to be sent.
struct Opening {
    handshake: Handshake,
    subprotocol: Option<String>,
    deflate: Option<Deflate>,
    session: Session,
    permits: Permits,
}

async fn open(
    mount: &Mount,
    connection: &Connection,
    request: &SocketRequest,
) -> Result<Opening, Response> {
    let (options, parts) = (mount.options(), &request.parts);
    if parts.method != Method::GET {
        return Err(answer::plain(StatusCode::BAD_REQUEST, Body::empty()));
    }
    let query =
        negotiate::params(parts).map_err(|_| answer::phoenix_error(StatusCode::BAD_REQUEST))?;
    if !negotiate::origin_allowed(&options.origins, connection, &parts.headers) {
        return Err(forbidden());
    }
    let offer = subprotocol::negotiate(&parts.headers, &options.subprotocols, options.auth_token);
    let offer = offer.map_err(|_| forbidden())?;
    let permits = connection
        .socket_permits(request.client)
        .map_err(|full| answer::unavailable(full.reason()))?;
    let transport = Transport::WebSocket;
    let session = negotiate::connect(
        mount,
        connection,
        request,
        query,
        transport,
        offer.auth_token,
    )
    .await
    .map_err(refusal)?;
    let handshake = Handshake::of(parts)
        .map_err(|error| answer::plain(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Opening {
        handshake,
        subprotocol: offer.subprotocol,
        deflate: options.compress.then(|| deflate(parts)).flatten(),
        session,
        permits,
    })
}

impl Opening {
    fn accept(self, on_upgrade: Option<OnUpgrade>) -> Response {
        let Some(on_upgrade) = on_upgrade else {
            return answer::plain(StatusCode::BAD_REQUEST, Body::empty());
        };
        let extensions = self.deflate.as_ref().map(Deflate::response);
        let switching = self
            .handshake
            .accept(self.subprotocol.as_deref(), extensions.as_deref());
        let (session, deflate, permits) = (self.session, self.deflate, self.permits);
        tokio::spawn(async move {
            match on_upgrade.await {
                Ok(upgraded) => spawn_socket(upgraded, session, deflate, permits),
                Err(error) => {
                    tracing::debug!(%error, "gone before the upgrade");
                    session.end().await;
                }
            }
        });
        switching
    }
}

/// Serves an upgraded connection in a task of its own, which holds nothing of HTTP any more: an
/// idle socket costs what this task costs.
fn spawn_socket(upgraded: Upgraded, session: Session, deflate: Option<Deflate>, permits: Permits) {
    let Ok(parts) = upgraded.downcast::<HttpStream>() else {
        tracing::error!("an upgraded connection is not ours");
        return;
    };
    let stream = parts.io.into_inner().into_inner();
    let served =
        serve_websocket(session, stream, deflate, &parts.read_buf).map(move |()| drop(permits));
    tokio::spawn(served);
}

fn deflate(parts: &Parts) -> Option<Deflate> {
    let offers = parts.headers.get_all(SEC_WEBSOCKET_EXTENSIONS).into_iter();
    let offers = offers.filter_map(|value| value.to_str().ok());
    Deflate::negotiate(offers, CompressionPolicy::default())
}

fn refusal(reason: NotConnected) -> Response {
    match reason {
        NotConnected::Version => forbidden(),
        NotConnected::Refused(refusal) => refused(refusal),
        NotConnected::Crashed => answer::phoenix_error(StatusCode::INTERNAL_SERVER_ERROR),
        NotConnected::Unavailable(reason) => answer::unavailable(reason),
    }
}

fn refused(refusal: ConnectRefusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = answer::plain(status, refusal.body);
    if let Some(seconds) = refusal.retry_after_s {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn forbidden() -> Response {
    answer::plain(StatusCode::FORBIDDEN, Body::empty())
}
