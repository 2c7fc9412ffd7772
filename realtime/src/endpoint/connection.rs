//! One connection, as long as it speaks HTTP.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::response::Response;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::{
    Endpoint,
    admission::{Full, Permit},
    answer,
    client::Client,
    patience::Patient,
    stream::NetStream,
};

/// What hyper reads from and writes to; an upgrade gets it back.
pub(crate) type HttpStream = TokioIo<Patient<NetStream>>;

/// What is known about a connection before its first request. An upgraded socket keeps it, and
/// with it its place under the connection cap.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoint: Endpoint,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) permit: Arc<Permit>,
    /// The listener stops.
    pub(crate) stop: CancellationToken,
}

/// The places under the caps that a socket holds: its connection's, and its client's if that is
/// behind a proxy.
pub(crate) type Permits = (Arc<Permit>, Option<Permit>);

impl Connection {
    /// The places for a socket of this connection.
    pub(crate) fn socket_permits(&self, client: Client) -> Result<Permits, Full> {
        let admission = self.endpoint.admission();
        let behind_proxy = client
            .proxied
            .then(|| admission.admit_behind_proxy(client.ip))
            .transpose()?;
        Ok((self.permit.clone(), behind_proxy))
    }
}

/// Serves requests until the client leaves, falls silent, or upgrades; after `stop`, the request
/// in flight is the last.
pub(crate) async fn serve(stream: NetStream, connection: Connection) {
    let stop = connection.stop.clone();
    let header_timeout = connection.endpoint.shared.header_timeout;
    let write_timeout = connection.endpoint.shared.write_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let connection = connection.clone();
        async move { Ok::<Response, Infallible>(connection.answer(request).await) }
    });
    let stream = TokioIo::new(Patient::new(stream, write_timeout));
    let served = builder(header_timeout)
        .serve_connection(stream, service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Answers one request with 503 and closes.
pub(crate) async fn refuse(stream: NetStream, full: Full, header_timeout: Duration) {
    let service = service_fn(|_: Request<Incoming>| async move {
        let answer = answer::unavailable_and_close(full.reason());
        Ok::<Response, Infallible>(answer)
    });
    let served = builder(header_timeout)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(stream, header_timeout)), service);
    // The client is turned away; how it takes it changes nothing.
    let _ = served.await;
}

fn builder(header_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
}

/// Bytes of a request's line and headers, which hold at most a few tokens.
const MAX_HEADER_BYTES: usize = 64 * 1024;
