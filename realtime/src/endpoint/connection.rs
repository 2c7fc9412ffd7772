//! One connection, until it is a socket or ends.

use std::{
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Endpoint,
    admission::{Full, Permit},
    answer,
    client::Client,
    http1,
    mounts::Found,
    opening,
    patience::Patient,
    stream::NetStream,
    upgrade::Opened,
};
use crate::socket::poll_read_with;

/// Bytes behind a request that are taken before it is answered. Who sent more is not seen to leave
/// until it is.
const READ_ON: usize = 16 * 1024;

/// What is known about a connection before its first request. A socket keeps its place under the
/// connection cap.
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

/// A socket that was opened, on its stream, and what came behind the request.
#[derive(Debug)]
pub(crate) struct Begun<S> {
    pub(crate) opened: Box<Opened>,
    pub(crate) stream: S,
    pub(crate) behind: Bytes,
}

/// Serves requests until the client leaves, falls silent, or opens a socket; after `stop`, the
/// request in flight is the last.
pub(crate) async fn serve(
    mut stream: NetStream,
    connection: Connection,
) -> Option<Begun<NetStream>> {
    let first = first_bytes(&mut stream, &connection).await?;
    let opening = opening::parse(&first).and_then(|(request, length)| {
        let found = connection.find(&request).filter(Found::opens_socket)?;
        Some((request, found, length))
    });
    let Some((request, found, length)) = opening else {
        return Box::pin(http1::serve(first, stream, connection, None)).await;
    };
    let mut read = BytesMut::new();
    let answer = {
        let answered = pin!(connection.answer(request, Some(found)));
        tokio::select! {
            biased;
            answer = answered => answer,
            () = read_on(&mut stream, &mut read) => return None,
        }
    };
    let first = match read.is_empty() {
        true => first,
        false => [first, read.freeze()].concat().into(),
    };
    let Some(opened) = answer.opened else {
        let response = Some(answer.response);
        return Box::pin(http1::serve(first, stream, connection, response)).await;
    };
    let mut stream = Patient::new(stream, connection.endpoint.shared.write_timeout);
    if let Err(error) = send(&mut stream, &answer::head(&answer.response)).await {
        tracing::debug!(%error, "gone before the upgrade");
        opened.abandon().await;
        return None;
    }
    Some(Begun {
        opened,
        stream: stream.into_inner(),
        behind: first.slice(length..),
    })
}

async fn send(stream: &mut Patient<NetStream>, head: &[u8]) -> io::Result<()> {
    stream.write_all(head).await?;
    // TLS may keep records back.
    stream.flush().await
}

/// Reads what comes while a request is looked at, up to a bound. Ends when the client has hung up.
async fn read_on(stream: &mut NetStream, read: &mut BytesMut) {
    while read.len() < READ_ON {
        let more = poll_fn(|cx| {
            poll_read_with(stream, cx, |bytes| {
                read.extend_from_slice(bytes);
                bytes.len()
            })
        });
        if matches!(more.await, Ok(0) | Err(_)) {
            return;
        }
    }
    pending::<()>().await;
}

/// What comes first, unless nothing does.
async fn first_bytes(stream: &mut NetStream, connection: &Connection) -> Option<Bytes> {
    let read = poll_fn(|cx| poll_read_with(stream, cx, Bytes::copy_from_slice));
    let read = timeout(connection.endpoint.shared.header_timeout, read);
    match connection.stop.run_until_cancelled(read).await? {
        Ok(Ok(bytes)) => (!bytes.is_empty()).then_some(bytes),
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection ended early");
            None
        }
        Err(_) => {
            tracing::debug!("a connection on which nothing is said");
            None
        }
    }
}
