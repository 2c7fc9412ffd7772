//! One socket of the generator: what it is in the middle of, and what it has yet to say.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    clock::{Nanos, SECOND},
    engine::stream::{Portion, Scratch, Stream},
    frames::{self, FrameReader},
    protocol::Channel,
    target::Target,
};

/// What may wait to be written; a server that takes less is not keeping up with its clients.
const LARGEST_BACKLOG: usize = 1 << 20;

/// What the kernel may keep for a reader that takes nothing, so that the server notices it soon.
const STALLED_BUFFER: usize = 4096;

/// Longest answer to the upgrade.
const LARGEST_HEAD: usize = 16 * 1024;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Connecting,
    Upgrading,
    Introducing,
    Joining,
    Live,
}

pub(super) struct Connection {
    pub(super) part: usize,
    pub(super) seat: usize,
    pub(super) person: usize,
    pub(super) channel: Arc<Channel>,
    pub(super) state: State,
    /// When it was to be connected.
    pub(super) due: Nanos,
    /// How much later than it was to the generator began to connect it.
    pub(super) late: Nanos,
    pub(super) reader: FrameReader,
    /// The beginning of the answer to the upgrade.
    pub(super) head: Vec<u8>,
    stream: Option<Stream>,
    /// Nothing is read from it any more.
    pub(super) is_stalled: bool,
    /// It has been connected before.
    was_open: bool,
    out: Vec<u8>,
    /// It is on the list of those that have something to say.
    pub(super) is_dirty: bool,
}

/// A refused upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: String,
    pub(super) retry_after: Option<Nanos>,
}

impl Connection {
    pub(super) fn new(part: usize, seat: usize, person: usize, channel: Arc<Channel>) -> Self {
        Self {
            part,
            seat,
            person,
            channel,
            state: State::Closed,
            due: 0,
            late: 0,
            reader: FrameReader::default(),
            head: Vec::new(),
            stream: None,
            is_stalled: false,
            was_open: false,
            out: Vec::new(),
            is_dirty: false,
        }
    }

    /// Begins to connect, as the socket of this number among all of the run.
    pub(super) fn open(
        &mut self,
        target: &Target,
        number: usize,
        due: Nanos,
    ) -> anyhow::Result<&TcpStream> {
        let address = target.address;
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).context("socket")?;
        socket.set_nonblocking(true)?;
        if let Some(source) = target.source(number) {
            socket.set_reuse_address(true)?;
            let source = SocketAddr::new(source, 0);
            socket.bind(&source.into()).context("bind")?;
        }
        if let Err(error) = socket.connect(&address.into())
            && error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        {
            return Err(error).context("connect");
        }
        socket.set_tcp_nodelay(true)?;
        self.due = due;
        self.state = State::Connecting;
        self.reader = FrameReader::default();
        self.out.clear();
        let comes_back = std::mem::replace(&mut self.was_open, true);
        let stream = Stream::new(socket.into(), target.tls.as_ref(), comes_back)?;
        Ok(self.stream.insert(stream).tcp())
    }

    /// The outcome of connecting, once the socket is ready.
    pub(super) fn connected(&self) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match stream.tcp().take_error()? {
            Some(error) => Err(error),
            None => stream.tcp().peer_addr().map(drop),
        }
    }

    /// Reads nothing any more, and has the kernel keep little of what comes.
    pub(super) fn stall(&mut self) -> io::Result<Option<&TcpStream>> {
        let Some(stream) = &self.stream else {
            return Ok(None);
        };
        socket2::SockRef::from(stream.tcp()).set_recv_buffer_size(STALLED_BUFFER)?;
        self.is_stalled = true;
        Ok(Some(stream.tcp()))
    }

    /// Ends the connection as a client does that has nothing more to say.
    pub(super) fn close(&mut self) {
        if self.state == State::Live {
            self.say(frames::CLOSE, &1000_u16.to_be_bytes());
            let is_said = self.flush().is_ok() && self.out.is_empty();
            if let Some(stream) = self.stream.as_mut().filter(|_| is_said) {
                stream.end();
            }
        }
        self.drop_stream();
    }

    pub(super) fn drop_stream(&mut self) {
        self.state = State::Closed;
        self.is_stalled = false;
        self.stream = None;
        self.out = Vec::new();
        self.head = Vec::new();
        self.reader = FrameReader::default();
    }

    /// Appends bytes to what is to be written.
    pub(super) fn write_plain(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends a frame to what is to be written.
    pub(super) fn say(&mut self, opcode: u8, payload: &[u8]) {
        frames::write(opcode, payload, &mut self.out);
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let is_silent = self.out.is_empty() && !stream.wants_write();
        if self.state == State::Connecting || is_silent {
            return Ok(());
        }
        let taken = stream.write(&self.out).context("writing")?;
        if taken == self.out.len() {
            self.out.clear();
            // A burst must not make thousands of sockets keep its memory.
            self.out.shrink_to(4096);
        } else {
            self.out.drain(..taken);
        }
        ensure!(
            self.out.len() <= LARGEST_BACKLOG,
            "the server does not read: {} bytes wait",
            self.out.len()
        );
        Ok(())
    }

    /// Reads once; `None` when there is nothing.
    pub(super) fn read(&mut self, scratch: &mut Scratch) -> anyhow::Result<Option<Portion>> {
        match &mut self.stream {
            Some(stream) => stream.read(scratch),
            None => Ok(None),
        }
    }

    /// Takes bytes of the answer to the upgrade; returns what came behind it, once it is whole.
    pub(super) fn take_head(
        &mut self,
        bytes: &[u8],
    ) -> anyhow::Result<Option<Result<Vec<u8>, Refusal>>> {
        self.head.extend_from_slice(bytes);
        let end = memchr::memmem::find(&self.head, b"\r\n\r\n");
        let Some(end) = end else {
            ensure!(
                self.head.len() < LARGEST_HEAD,
                "an endless answer to the upgrade"
            );
            return Ok(None);
        };
        let mut head = std::mem::take(&mut self.head);
        let behind = head.split_off(end + 4);
        let head = String::from_utf8_lossy(&head);
        Ok(Some(read_head(&head).map(|()| behind)))
    }
}

fn read_head(head: &str) -> Result<(), Refusal> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("101") {
        return Ok(());
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    let retry_after = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
        .find_map(|(_, value)| value.trim().parse::<u64>().ok());
    Err(Refusal {
        status: status.to_owned(),
        retry_after: retry_after.map(|seconds| seconds * SECOND),
    })
}

/// What a server said when it closed.
pub(super) fn describe_close(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let reason = String::from_utf8_lossy(reason);
            format!("the server closed: {} {reason}", u16::from_be_bytes(*code))
        }
        None => "the server closed without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_to_the_upgrade() {
        assert_eq!(
            read_head("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            Ok(())
        );
        let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\n\r\n";
        let refusal = read_head(busy).unwrap_err();
        assert_eq!(refusal.retry_after, Some(2 * SECOND));
        assert_eq!(refusal.status, "HTTP/1.1 503 Service Unavailable");
        let refusal = read_head("HTTP/1.1 403 Forbidden\r\n\r\n").unwrap_err();
        assert_eq!(refusal.retry_after, None);
    }

    #[test]
    fn closes() {
        assert_eq!(
            describe_close(b"\x03\xe8bye"),
            "the server closed: 1000 bye"
        );
        assert_eq!(describe_close(b""), "the server closed without a code");
    }
}
