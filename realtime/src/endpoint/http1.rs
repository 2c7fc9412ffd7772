//! Requests of a connection, by hyper.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    admission::Full,
    answer,
    connection::{Begun, Connection},
    patience::Patient,
    rewound::Rewound,
    stream::NetStream,
    upgrade::Opened,
};

/// Serves requests. `read` was read before and is read once more; what the first is answered may be
/// known already.
pub(super) async fn serve<S>(
    read: Bytes,
    stream: S,
    connection: Connection,
    known: Option<Response>,
) -> Option<Begun<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = connection.stop.clone();
    let header_timeout = connection.endpoint.shared.header_timeout;
    let write_timeout = connection.endpoint.shared.write_timeout;
    let (known, upgrade) = (Mutex::new(known), Arc::new(Mutex::new(None)));
    let upgrading = Arc::clone(&upgrade);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let known = known.lock().take();
        let (connection, upgrading) = (connection.clone(), Arc::clone(&upgrading));
        async move {
            if let Some(response) = known {
                return Ok::<Response, Infallible>(response);
            }
            let on_upgrade = hyper::upgrade::on(&mut request);
            let request = request.map(Body::new);
            let found = connection.find(&request);
            let answer = connection.answer(request, found).await;
            if let Some(opened) = answer.opened {
                *upgrading.lock() = Some((opened, on_upgrade));
            }
            Ok(answer.response)
        }
    });
    let stream = Patient::new(Rewound::new(read, stream), write_timeout);
    let ended = {
        let served = builder(header_timeout).serve_connection(TokioIo::new(stream), service);
        let mut served = pin!(served.with_upgrades());
        tokio::select! {
            // An answer that is known is given, even if the listener stops.
            biased;
            ended = served.as_mut() => ended,
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
    // The connection is gone here, so that an upgrade that it did not come to has failed.
    let (opened, on_upgrade) = upgrade.lock().take()?;
    match on_upgrade.await {
        Ok(upgraded) => begin(opened, upgraded).await,
        Err(error) => {
            tracing::debug!(%error, "gone before the upgrade");
            opened.abandon().await;
            None
        }
    }
}

/// Takes the stream out of hyper again.
async fn begin<S>(opened: Box<Opened>, upgraded: Upgraded) -> Option<Begun<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(parts) = upgraded.downcast::<TokioIo<Patient<Rewound<S>>>>() else {
        tracing::error!("an upgraded connection is not ours");
        opened.abandon().await;
        return None;
    };
    let (stream, unread) = parts.io.into_inner().into_inner().into_parts();
    let behind = Bytes::from([parts.read_buf, unread].concat());
    Some(Begun {
        opened,
        stream,
        behind,
    })
}

/// Answers one request with 503 and closes.
pub(super) async fn refuse(stream: NetStream, full: Full, header_timeout: Duration) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use http::StatusCode;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
        time::timeout,
    };

    use super::*;
    use crate::{
        endpoint::test_kit::{DEADLINE, Server, config, opening, read_answer},
        socket::MountOptions,
    };

    const TARGET: &str = "/socket/websocket?token=tok-a&vsn=2.0.0";

    /// However much was read before, and whatever hyper has taken of it.
    #[tokio::test]
    async fn a_request_in_pieces_opens_a_socket_and_nothing_behind_it_is_lost() {
        let server = Server::start(&config(), MountOptions::default()).await;
        let behind: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        let request = opening(TARGET, &[]);
        let all = [&request[..], &behind].concat();
        let head = request.len();
        for read in [0, 1, head - 1, head, head + 9, all.len()] {
            let (ours, mut theirs) = duplex(2 * all.len());
            let (before, later) = all.split_at(read);
            theirs.write_all(later).await.unwrap();
            let before = Bytes::copy_from_slice(before);
            let served = serve(before, ours, server.connection(), None);
            let mut begun = timeout(DEADLINE, served).await.expect("ends").unwrap();
            assert_eq!(read_answer(&mut theirs).await.status, 101);
            drop(theirs);
            let mut rest = Vec::new();
            begun.stream.read_to_end(&mut rest).await.unwrap();
            assert!([&begun.behind[..], &rest].concat() == behind, "{read}");
            begun.opened.abandon().await;
        }
        assert_eq!(server.hub.connections.count(), 0);
    }

    /// Whoever is at its other end has gone when it is written to.
    struct Reset(DuplexStream);

    impl AsyncRead for Reset {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Reset {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Which of two things that are ready is seen first must not decide it.
    #[tokio::test]
    async fn an_answer_that_is_known_is_given_although_the_listener_stops() {
        let server = Server::start(&config(), MountOptions::default()).await;
        let connection = server.connection();
        server.stop.cancel();
        for _ in 0..16 {
            let (ours, mut theirs) = duplex(1024);
            let read = Bytes::from_static(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
            let known = Some(answer::plain(StatusCode::FORBIDDEN, Body::empty()));
            let served = serve(read, ours, connection.clone(), known);
            let begun = timeout(DEADLINE, served).await.expect("ends");
            assert!(begun.is_none());
            assert_eq!(read_answer(&mut theirs).await.status, 403);
        }
    }

    #[tokio::test]
    async fn a_socket_whose_answer_cannot_be_sent_is_gone() {
        let server = Server::start(&config(), MountOptions::default()).await;
        let (ours, _theirs) = duplex(1024);
        let connection = server.connection();
        let served = serve(
            Bytes::from(opening(TARGET, &[])),
            Reset(ours),
            connection,
            None,
        );
        let begun = timeout(DEADLINE, served).await.expect("ends");
        assert!(begun.is_none());
        assert_eq!(server.hub.connections.count(), 0);
        assert_eq!(server.endpoint.admission().held(), 0);
    }
}
