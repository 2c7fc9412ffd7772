//! From an HTTP request to a WebSocket (protocol.md items 2 to 6, in the order recorded).

use std::{future::Future, mem};

use axum::{body::Body, response::Response};
use futures_util::FutureExt;
use http::{
    HeaderValue, Method, StatusCode,
    header::{RETRY_AFTER, SEC_WEBSOCKET_EXTENSIONS},
    request::Parts,
};

use super::{
    answer,
    connection::{Connection, Permits},
    handshake::Handshake,
    mounts::SocketRequest,
    negotiate::{self, Asked, NotConnected},
    stream::NetStream,
    subprotocol,
};
use crate::{
    socket::{ConnectRefusal, Mount, Session, Transport, serve_websocket},
    ws::{CompressionPolicy, Deflate},
};

/// What a request is answered, and the socket that begins behind that answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Boxed, as it is handed on a dozen times until it is served.
    pub(crate) opened: Option<Box<Opened>>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let opened = None;
        Self { response, opened }
    }
}

/// A WebSocket that only waits for its 101 to be sent.
#[derive(Debug)]
pub(crate) struct Opened {
    session: Session,
    deflate: Option<Deflate>,
    permits: Permits,
}

impl Opened {
    /// Serves the socket; `read_before` came behind the request. What is returned holds nothing
    /// of HTTP any more: an idle socket costs what this costs.
    pub(crate) fn serve(
        self: Box<Self>,
        stream: NetStream,
        read_before: &[u8],
    ) -> impl Future<Output = ()> + Send + use<> {
        let Self {
            session,
            deflate,
            permits,
        } = *self;
        serve_websocket(session, stream, deflate, read_before).map(move |()| drop(permits))
    }

    /// Nothing comes of it: the client has gone.
    pub(crate) async fn abandon(self) {
        self.session.end().await;
    }
}

/// Answers a request on a mount's WebSocket path.
pub(crate) async fn answer(
    mount: &Mount,
    connection: &Connection,
    request: &mut SocketRequest,
) -> Answer {
    match open(mount, connection, request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.into(),
    }
}

async fn open(
    mount: &Mount,
    connection: &Connection,
    request: &mut SocketRequest,
) -> Result<Answer, Response> {
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
    let deflate = options.compress.then(|| deflate(parts)).flatten();
    // Who is not let in does not hear what else is wrong.
    let handshake = Handshake::of(parts);
    let asked = Asked {
        query,
        headers: mem::take(&mut request.parts.headers),
        transport: Transport::WebSocket,
        auth_token: offer.auth_token,
    };
    let session = negotiate::connect(mount, connection, request, asked)
        .await
        .map_err(refusal)?;
    let handshake =
        handshake.map_err(|error| answer::plain(StatusCode::BAD_REQUEST, error.to_string()))?;
    let extensions = deflate.as_ref().map(Deflate::response);
    let now = mount.hub().clock.now();
    let response = handshake.accept(now, offer.subprotocol.as_deref(), extensions.as_deref());
    let opened = Opened {
        session,
        deflate,
        permits,
    };
    Ok(Answer {
        response,
        opened: Some(Box::new(opened)),
    })
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
