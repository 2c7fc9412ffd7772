//! Against a server of rustls, over real sockets that are waited for as a worker waits for them:
//! who has not emptied a socket is not told of it again.
#![allow(clippy::unwrap_used)]

use std::{net::TcpListener, thread::JoinHandle};

use rcgen::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use tempfile::NamedTempFile;

use super::*;
use crate::{
    clock::SECOND,
    engine::poll::{Bell, Poll},
    tls::Security,
};

type Session = StreamOwned<ServerConnection, TcpStream>;

/// A server of `localhost`.
struct Server<T> {
    port: u16,
    ca_file: NamedTempFile,
    thread: JoinHandle<Vec<T>>,
}

/// Serves so many connections, one after the other.
fn serve<T: Send + 'static>(connections: usize, each: fn(Session) -> T) -> Server<T> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca_file = NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let sessions = (0..connections).map(|_| {
            let (tcp, _) = listener.accept().unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            each(StreamOwned::new(session, tcp))
        });
        sessions.collect()
    });
    Server {
        port,
        ca_file,
        thread,
    }
}

impl<T> Server<T> {
    fn trusted(&self) -> Arc<Tls> {
        let security = Security::new(Some(self.ca_file.path()), false, 10).unwrap();
        Arc::new(security.with("localhost").unwrap())
    }
}

/// One socket, and what it has heard.
struct Client {
    stream: Stream,
    bell: Bell,
    poll: Poll,
    scratch: Scratch,
    heard: Vec<u8>,
}

impl Client {
    fn connect<T>(server: &Server<T>, tls: &Arc<Tls>, comes_back: bool) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let bell = Bell::new().unwrap();
        let poll = Poll::new(&bell).unwrap();
        poll.add(&tcp, 0).unwrap();
        Self {
            stream: Stream::new(tcp, Some(tls), comes_back).unwrap(),
            bell,
            poll,
            scratch: Scratch::new(),
            heard: Vec::new(),
        }
    }

    /// Says all of it, and listens until so much has been heard.
    fn exchange(&mut self, mut words: &[u8], heard: usize) -> anyhow::Result<()> {
        loop {
            let taken = self.stream.write(words)?;
            words = &words[taken..];
            let is_said = words.is_empty() && !self.stream.wants_write();
            if is_said && self.heard.len() >= heard {
                return Ok(());
            }
            let mut ready = Vec::new();
            self.poll.wait(20 * SECOND, &self.bell, &mut ready);
            assert!(!ready.is_empty(), "{} bytes came", self.heard.len());
            self.listen(ready[0].is_ending)?;
        }
    }

    fn listen(&mut self, is_ending: bool) -> anyhow::Result<()> {
        while let Some(portion) = self.stream.read(&mut self.scratch)? {
            let bytes = &self.scratch.plain[..portion.count];
            self.heard.extend_from_slice(bytes);
            if portion.is_last && !is_ending {
                break;
            }
        }
        Ok(())
    }
}

const LONG: usize = 3 << 20;

fn pattern() -> Vec<u8> {
    (0..LONG).map(|at| (at % 251) as u8).collect()
}

#[test]
fn long_streams_pass_both_ways_and_end_in_good_order() {
    let server = serve(1, |mut session| {
        let mut heard = vec![0; LONG];
        session.read_exact(&mut heard).unwrap();
        session.write_all(&pattern()).unwrap();
        session.conn.send_close_notify();
        session.flush().unwrap();
        // Without the client's own close_notify this is an error.
        let rest = session.read(&mut [0; 1]).unwrap();
        (heard == pattern(), rest)
    });
    let mut client = Client::connect(&server, &server.trusted(), false);
    let ended = client.exchange(&pattern(), LONG + 1).unwrap_err();
    assert_eq!(ended.to_string(), ENDED);
    assert!(client.heard == pattern());
    client.stream.end();
    drop(client);
    assert_eq!(server.thread.join().unwrap(), [(true, 0)]);
}

#[test]
fn a_server_that_cannot_be_trusted_is_refused_and_told_why() {
    let server = serve(2, |mut session| {
        let read = session.read(&mut [0; 1]);
        read.map_err(|error| error.to_string())
    });
    let stranger = Security::new(None, false, 1).unwrap();
    let stranger = Arc::new(stranger.with("localhost").unwrap());
    let refused = |tls: &Arc<Tls>| {
        let mut client = Client::connect(&server, tls, false);
        let refused = client.exchange(b"hello", 1).unwrap_err();
        format!("{refused:#}")
    };
    let said = refused(&stranger);
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert!(said.contains("--ca-file"), "{said}");
    assert_eq!(stranger.usage().handshakes, 0);
    let elsewhere = Security::new(Some(server.ca_file.path()), false, 1).unwrap();
    let said = refused(&Arc::new(elsewhere.with("elsewhere.example").unwrap()));
    assert!(said.contains("elsewhere.example"), "{said}");
    for heard in server.thread.join().unwrap() {
        let told = heard.unwrap_err();
        assert!(told.contains("alert"), "{told}");
    }
}

#[test]
fn who_comes_back_resumes_the_session() {
    let server = serve(4, |mut session| {
        session.read_exact(&mut [0; 1]).unwrap();
        session.write_all(b"x").unwrap();
        // Until the client leaves, which it does without a word.
        session.read(&mut [0; 1]).unwrap_err();
    });
    let tls = server.trusted();
    let mut resumed = Vec::new();
    // Two who are new, though there are sessions of the first, and each of them again.
    for comes_back in [false, false, true, true] {
        let mut client = Client::connect(&server, &tls, comes_back);
        client.exchange(b"x", 1).unwrap();
        resumed.push(tls.usage().resumed);
    }
    server.thread.join().unwrap();
    let usage = tls.usage();
    assert_eq!((usage.handshakes, resumed), (4, vec![0, 0, 1, 2]));
    assert!(usage.verified);
    let suite = usage.suite.unwrap();
    assert!(suite.starts_with("TLSv1_3 TLS13_"), "{suite}");
}
