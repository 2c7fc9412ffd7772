//! The bytes of a connection: plain TCP, or TLS over it.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Context, ensure};
use rustls::ClientConnection;

use crate::tls::{Tls, explained};

/// What one read takes off a socket.
const READ: usize = 64 * 1024;

/// A TLS record with all that belongs to it: the rest of one may come with a read that is full.
const RECORD: usize = 16 * 1024 + 2048 + 5;

const ENDED: &str = "the server closed the connection";

/// What all sockets of a worker are read with, so that none needs such memory of its own.
#[derive(Default)]
pub(super) struct Scratch {
    /// As the connection understands it.
    pub(super) plain: Vec<u8>,
    /// As it came over the wire, where that is something else.
    wire: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            plain: vec![0; READ + RECORD],
            wire: vec![0; READ],
        }
    }
}

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portion {
    /// So many bytes of [`Scratch::plain`]; none if TLS had something for itself.
    pub(super) count: usize,
    /// The socket has been emptied, unless its end is still to be read.
    pub(super) is_last: bool,
}

/// A connected stream. What TLS needs is boxed: plain sockets stay small.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// TLS over TCP. Of what is to be sent rustls keeps at most 64 KiB in the clear (before the
/// handshake is complete) and 64 KiB encrypted; of what has come, one record that is not whole.
pub(super) struct TlsStream {
    tcp: TcpStream,
    session: ClientConnection,
    tls: Arc<Tls>,
    is_counted: bool,
    /// The server has said that nothing more comes.
    has_ended: bool,
}

impl Stream {
    /// The stream of a socket, which may have been connected before.
    pub(super) fn new(
        tcp: TcpStream,
        tls: Option<&Arc<Tls>>,
        comes_back: bool,
    ) -> anyhow::Result<Self> {
        let Some(tls) = tls else {
            return Ok(Self::Plain(tcp));
        };
        Ok(Self::Tls(Box::new(TlsStream {
            tcp,
            session: tls.connection(comes_back).context("TLS")?,
            tls: Arc::clone(tls),
            is_counted: false,
            has_ended: false,
        })))
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    /// There is something to write even if the connection has nothing to say.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Writes what the socket takes; so many of the bytes have been taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => unless_blocked(tcp.write(bytes)).map(Option::unwrap_or_default),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Reads once; `None` when there is nothing.
    pub(super) fn read(&mut self, scratch: &mut Scratch) -> anyhow::Result<Option<Portion>> {
        match self {
            Self::Plain(tcp) => {
                let count = receive(tcp, &mut scratch.plain)?;
                Ok(count.map(|count| Portion {
                    count,
                    is_last: count < scratch.plain.len(),
                }))
            }
            Self::Tls(tls) => tls.read(scratch),
        }
    }

    /// Says that nothing more comes, where the stream has a word for it.
    pub(super) fn end(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // The connection is over, whether or not the server still hears it.
            let _ = tls.send();
        }
    }
}

impl TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while self.send()? && taken < bytes.len() {
            match self.session.writer().write(&bytes[taken..])? {
                // No more may wait for the end of the handshake.
                0 => break,
                count => taken += count,
            }
        }
        Ok(taken)
    }

    /// Writes what rustls has for the server; true if nothing is left.
    fn send(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match unless_blocked(self.session.write_tls(&mut self.tcp))? {
                None => return Ok(false),
                Some(0) => return Err(ErrorKind::WriteZero.into()),
                Some(_) => {}
            }
        }
        Ok(true)
    }

    fn read(&mut self, scratch: &mut Scratch) -> anyhow::Result<Option<Portion>> {
        ensure!(!self.has_ended, ENDED);
        let Some(taken) = receive(&mut self.tcp, &mut scratch.wire)? else {
            return Ok(None);
        };
        let (mut wire, mut count) = (&scratch.wire[..taken], 0);
        while !wire.is_empty() && !self.has_ended {
            self.session.read_tls(&mut wire).context("TLS")?;
            count += self.decrypt(&mut scratch.plain[count..])?;
        }
        // An answer of the handshake.
        self.send().context("writing")?;
        Ok(Some(Portion {
            count,
            is_last: taken < scratch.wire.len() && !self.has_ended,
        }))
    }

    fn decrypt(&mut self, plain: &mut [u8]) -> anyhow::Result<usize> {
        let state = match self.session.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The server is told why; it may be gone.
                let _ = self.send();
                return Err(explained(anyhow::Error::new(error).context("TLS")));
            }
        };
        if !self.is_counted && !self.session.is_handshaking() {
            self.is_counted = true;
            self.tls.count(&self.session);
        }
        self.has_ended = state.peer_has_closed();
        let read = unless_blocked(self.session.reader().read(plain));
        Ok(read.context("TLS")?.unwrap_or_default())
    }
}

fn receive(tcp: &mut TcpStream, out: &mut [u8]) -> anyhow::Result<Option<usize>> {
    let count = unless_blocked(tcp.read(out)).context("reading")?;
    ensure!(count != Some(0), ENDED);
    Ok(count)
}

/// `None` when the socket has nothing, or takes nothing more.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
