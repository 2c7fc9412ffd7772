//! A session over a WebSocket, on any byte stream.
//!
//! One task per connection reads, runs the session and writes, in one poll. What is read and what
//! is written passes through buffers of the worker thread; a connection owns a buffer only while
//! a frame has arrived in part or the client does not take what is written.

mod outgoing;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use quikapp_actors::fanout::Close;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{Inbound, Session};
use crate::ws::{Decoder, Deflate, Event, ProtocolError};
use outgoing::Outgoing;

/// How much is read at once.
const READ_SIZE: usize = 16 * 1024;

/// How often one poll reads before it lets other connections run.
const READS_PER_POLL: usize = 16;

/// How long a closing connection may take: to write what is left, then to see the client go.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a WebSocket is served on.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Has dropping the stream throw away what the client has not taken, and tell it so. The
    /// kernel would go on offering it for minutes to a client that takes nothing.
    fn reset_when_dropped(&self) {}
}

impl ClientStream for tokio::io::DuplexStream {}

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// Reads once, through the thread's buffer; what came is handed on, and nothing at the end.
pub(crate) fn poll_read_with<IO: AsyncRead + Unpin, T>(
    io: &mut IO,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

/// Serves a session on an upgraded connection until either side closes it, then ends its
/// channels. `read_before` are bytes that were read together with the request.
///
/// Not an `async fn`: that would keep its arguments beside what is made of them, for as long as
/// the connection lives.
pub fn serve_websocket<IO>(
    session: Session,
    io: IO,
    deflate: Option<Deflate>,
    read_before: &[u8],
) -> impl Future<Output = ()> + Send + use<IO>
where
    IO: ClientStream,
{
    let mut socket = WebSocket::new(session, io, deflate, read_before);
    async move {
        let end = poll_fn(|cx| socket.poll(cx)).await;
        // Boxed: closing is rare, and its state should not weigh on every open connection.
        Box::pin(socket.finish(end)).await;
    }
}

/// How a connection came to its end.
#[derive(Debug)]
enum End {
    /// The server closes.
    Close(Close),
    /// The client closes, and is answered.
    Peer,
    /// The stream is gone.
    Lost,
    /// The client took nothing for too long.
    Stalled,
}

struct WebSocket<IO> {
    io: IO,
    session: Session,
    decoder: Decoder,
    out: Outgoing,
}

impl<IO: ClientStream> WebSocket<IO> {
    fn new(session: Session, io: IO, deflate: Option<Deflate>, read_before: &[u8]) -> Self {
        let options = session.options();
        let mut decoder = Decoder::new(options.max_message_size, deflate.as_ref())
            .with_frame_limit(options.max_frame_size.unwrap_or(usize::MAX));
        decoder.feed(read_before);
        let out = Outgoing::new(deflate.is_some(), options.limits.write_timeout);
        Self {
            io,
            session,
            decoder,
            out,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.out.begin();
        let polled = self.poll_rounds(cx);
        self.out.pause();
        polled
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Err(end) = self.take_events() {
            return Poll::Ready(end);
        }
        for _ in 0..READS_PER_POLL {
            let has_read = match self.poll_read(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => false,
            };
            if let Poll::Ready(close) = self.session.poll(cx, &mut self.out) {
                return Poll::Ready(End::Close(close));
            }
            let was_full = self.out.is_full();
            match self.out.poll_write(cx, &mut self.io) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending if !has_read => return Poll::Pending,
                Poll::Pending => {}
            }
            let has_room_again = was_full && !self.out.is_full();
            if !has_read && !has_room_again {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let (io, decoder) = (&mut self.io, &mut self.decoder);
        let read = poll_read_with(io, cx, |bytes| {
            decoder.feed(bytes);
            bytes.len()
        });
        match ready!(read) {
            Ok(0) | Err(_) => Poll::Ready(Err(End::Lost)),
            Ok(_) => Poll::Ready(self.take_events()),
        }
    }

    fn take_events(&mut self) -> Result<(), End> {
        while let Some(event) = self.decoder.next_event().map_err(violation)? {
            match event {
                Event::Text(text) => self.session.receive(Inbound::Text(text.into_bytes())),
                Event::Binary(bytes) => self.session.receive(Inbound::Binary(bytes)),
                Event::Ping(payload) => {
                    self.session.touch();
                    self.out.pong(&payload);
                }
                Event::Pong(_) => self.session.touch(),
                Event::Close(_) => return Err(End::Peer),
            }
        }
        Ok(())
    }

    async fn finish(mut self, end: End) {
        self.log(&end);
        match end {
            End::Close(close) => self.close(&close).await,
            // Bandit answers every close with 1000, whatever the client's code.
            End::Peer => self.close(&Close::normal()).await,
            End::Lost => {}
            End::Stalled => self.io.reset_when_dropped(),
        }
        drop(self.io);
        self.session.end().await;
    }

    /// A client that does not take the close in time is gone all the same.
    async fn close(&mut self, close: &Close) {
        self.out.close(close);
        if timeout(CLOSE_WITHIN, self.say_goodbye()).await.is_err() {
            self.io.reset_when_dropped();
        }
    }

    /// Writes what is left, and waits for the client to hang up: closing over unread input would
    /// reset the connection and take the close frame with it.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        self.io.write_all(self.out.unwritten()).await?;
        self.io.flush().await?;
        self.io.shutdown().await?;
        let mut ignored = [0; 512];
        while self.io.read(&mut ignored).await? > 0 {}
        Ok(())
    }

    fn log(&self, end: &End) {
        let connection = self.session.id().0;
        match end {
            End::Close(close) if close.code == 1013 => {
                tracing::warn!(connection, reason = &*close.reason, "slow consumer cut");
            }
            End::Stalled => {
                metrics::counter!("quikapp_slow_consumers_total").increment(1);
                tracing::warn!(connection, "client takes nothing, cut");
            }
            end => tracing::debug!(connection, ?end, "socket closes"),
        }
    }
}

fn violation(error: ProtocolError) -> End {
    End::Close(Close::new(error.close_code(), ""))
}

#[cfg(test)]
mod tests;
