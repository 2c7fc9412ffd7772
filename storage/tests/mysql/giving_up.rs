//! Connections that are given up while they are made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mysql_async::Opts;
use quikapp_storage::{Backend, Config, ConversationId, ServerUrl, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::support::{Database, everything_in, servers};

/// A server that falls silent keeps no connection of a caller that has given up, whatever the
/// caller was waiting for: the next one is made in its place, and the pool's bound holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_given_up_is_closed_at_once() {
    for (name, server) in servers() {
        let database = Database::on(&server).await;
        let relay = Relay::to(&server).await;
        let config = Config {
            connections: 4,
            ..everything_in(
                Backend::Server(relay.instead_of(&database.url())),
                std::path::Path::new("/nonexistent"),
            )
        };
        let store = connect(&config).await.unwrap().store;
        relay.state.is_mute.store(true, Ordering::SeqCst);
        let id = ConversationId::generate();
        let mut gave_up = 0;
        while relay.state.silenced.load(Ordering::SeqCst) < 12 {
            let asked = tokio::time::timeout(Duration::from_millis(100), store.conversation(&id));
            gave_up += usize::from(asked.await.is_err());
            let open = relay.open();
            assert!(open <= 4, "{name}: {open} connections of 4");
        }
        assert!(gave_up >= 12, "{name}: {gave_up}");
        relay.all_close().await;
        relay.state.is_mute.store(false, Ordering::SeqCst);
        let found = store.conversation(&id).await;
        assert_eq!(found, Ok(None), "{name}: it goes on");
        store.close().await;
        database.drop().await;
    }
}

/// Stands before a server. While it is mute, the answer to a command breaks off before its end, and
/// what the server says after that is lost; handshakes pass.
struct Relay {
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_mute: AtomicBool,
    /// Connections that clients have open.
    open: AtomicUsize,
    /// Connections that have fallen silent so far.
    silenced: AtomicUsize,
}

impl Relay {
    async fn to(server: &str) -> Self {
        let opts = Opts::from_url(server).unwrap();
        let upstream = (opts.ip_or_hostname().to_owned(), opts.tcp_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<State> = Arc::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&upstream).await.unwrap();
                shared.open.fetch_add(1, Ordering::SeqCst);
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = upstream.into_split();
                let is_silent = Arc::new(AtomicBool::new(false));
                tokio::spawn(answers(from_server, to_client, Arc::clone(&is_silent)));
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    commands(from_client, to_server, || state.commanded(&is_silent)).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    fn instead_of(&self, url: &ServerUrl) -> ServerUrl {
        let url = url.with_secrets();
        let (before, rest) = url.split_once('@').unwrap();
        let (_, path) = rest.split_once('/').unwrap();
        ServerUrl::parse(&format!("{before}@{}/{path}", self.address)).unwrap()
    }

    fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Waits until no client has a connection open.
    async fn all_close(&self) {
        let closed = async {
            while self.open() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(10), closed).await;
        let open = self.open();
        assert!(outcome.is_ok(), "{open} connections are still open");
    }
}

impl State {
    /// A connection was given a command: while the relay is mute that is its last answer.
    fn commanded(&self, is_silent: &AtomicBool) {
        let falls_silent = self.is_mute.load(Ordering::SeqCst);
        if falls_silent && !is_silent.swap(true, Ordering::SeqCst) {
            self.silenced.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    is_silent: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = server.read(&mut buffer).await {
        if is_silent.load(Ordering::SeqCst) {
            let _ = client.write_all(&buffer[..count - 6]).await;
            // Held: only the client can end the connection.
            std::future::pending::<()>().await;
        }
        if client.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Passes on what a client says until it ends, and tells of every command (a packet that begins a
/// sequence: its number, the fourth byte, is 0).
async fn commands(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, said: impl Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = client.read(&mut buffer).await {
        if buffer.get(3) == Some(&0) {
            said();
        }
        if server.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}
