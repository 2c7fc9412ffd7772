//! What is on its way to the client.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use quikapp_actors::fanout::Close;
use quikapp_protocol::Encoded;
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep},
};

use super::End;
use crate::{
    socket::FrameSink,
    ws::{OpCode, write_close, write_frame, write_message},
};

/// With this much unwritten, what follows waits in the outbox.
const FULL: usize = 64 * 1024;

/// A larger scratch buffer is given back to the allocator.
const KEPT: usize = 4 * FULL;

thread_local! {
    /// Between polls a connection has nothing to write, most of the time.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Frames that are written together. Empty, it owns no buffer.
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    written: usize,
    compresses: bool,
    needs_flush: bool,
    write_timeout: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    pub(super) fn new(compresses: bool, write_timeout: Duration) -> Self {
        Self {
            buffer: Vec::new(),
            written: 0,
            compresses,
            needs_flush: false,
            write_timeout,
            stalled: None,
        }
    }

    /// Borrows the thread's buffer, unless its own holds something.
    pub(super) fn begin(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = SCRATCH.take();
        }
    }

    /// Gives the buffer back if all of it is written.
    pub(super) fn pause(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() <= KEPT {
            SCRATCH.set(std::mem::take(&mut self.buffer));
        } else if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.unwritten().len() >= FULL
    }

    pub(super) fn unwritten(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// Answers a ping, unless the client does not even take what it has been sent.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if !self.is_full() {
            write_frame(OpCode::Pong, payload, &mut self.buffer);
        }
    }

    pub(super) fn close(&mut self, close: &Close) {
        write_close(close.code, &close.reason, &mut self.buffer);
    }

    /// Writes as much as the client takes. Pending while something is left.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut IO,
    ) -> Poll<Result<(), End>> {
        while self.written < self.buffer.len() {
            match Pin::new(&mut *io).poll_write(cx, &self.buffer[self.written..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(End::Lost)),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.needs_flush = true;
                    self.stalled = None;
                }
                Poll::Pending => return self.poll_stalled(cx),
            }
        }
        self.buffer.clear();
        self.written = 0;
        self.poll_flush(cx, io)
    }

    fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut IO,
    ) -> Poll<Result<(), End>> {
        if !self.needs_flush {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.needs_flush = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(End::Lost)),
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let patience = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(End::Stalled))
    }
}

impl FrameSink for Outgoing {
    fn send(&mut self, frame: &Encoded) {
        let opcode = match frame {
            Encoded::Text(_) => OpCode::Text,
            Encoded::Binary(_) => OpCode::Binary,
        };
        if self.compresses {
            write_message(opcode, frame.as_bytes(), &mut self.buffer);
        } else {
            write_frame(opcode, frame.as_bytes(), &mut self.buffer);
        }
    }

    fn is_full(&self) -> bool {
        Outgoing::is_full(self)
    }
}
