//! Binding, accepting, and stopping.
//!
//! Our own accept loop, because `axum::serve` and hyper-util's automatic builder never close a
//! silent connection, and cannot count connections before they cost anything.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Endpoint,
    admission::{Full, Permit},
    connection::{self, Connection},
    http1,
    lifetime::Lifetime,
    refusal::{CURT_TIME, Place, Refusals, refuse_curtly},
    stream::NetStream,
};

/// Bytes that the kernel takes for a client beyond what is on its way to it (`TCP_NOTSENT_LOWAT`).
/// Without a bound it takes megabytes for each client that reads nothing, and such a client is
/// noticed only when those are full.
const UNSENT: u32 = 128 * 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound address: connections queue in the kernel until [`Listener::serve`] accepts them, so
/// every listener of a process can be bound before any part of it starts.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address (port 0 for any free one). Must be called inside a tokio runtime.
    pub fn bind(address: SocketAddr, backlog: u32) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let tcp = open(address, backlog).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// The address in use, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves connections until `stop`; then stops accepting, lets open requests end
    /// within the drain timeout, and cuts the rest. Upgraded sockets are not waited for: they are
    /// closed by [`Connections`](crate::socket::Connections).
    pub async fn serve(self, endpoint: Endpoint, stop: CancellationToken) {
        let server = Arc::new(Server::new(endpoint, stop));
        tokio::join!(server.watch_tls(), server.accept_until_stopped(&self.tcp));
        drop(self.tcp);
        server.drain().await;
    }
}

fn open(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients as well, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit both from their listener. Latency matters more than packets.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// One listener at work.
struct Server {
    endpoint: Endpoint,
    open: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
    refusals: Refusals,
}

impl Server {
    fn new(endpoint: Endpoint, stop: CancellationToken) -> Self {
        Self {
            endpoint,
            open: TaskTracker::new(),
            stop,
            cut: CancellationToken::new(),
            refusals: Refusals::new(),
        }
    }

    async fn watch_tls(&self) {
        if let Some(tls) = &self.endpoint.shared.tls {
            tls.watch(&self.stop).await;
        }
    }

    async fn accept_until_stopped(self: &Arc<Self>, tcp: &TcpListener) {
        let mut trouble = AcceptTrouble::default();
        while let Some(accepted) = self.stop.run_until_cancelled(tcp.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    trouble = AcceptTrouble::default();
                    self.spawn(stream, peer).await;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    let pause = trouble.pause();
                    tracing::error!(%error, ?pause, "cannot accept connections");
                    metrics::counter!("quikapp_accept_errors_total").increment(1);
                    self.stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// Waits only while too many are being turned away.
    async fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let server = self.clone();
        match self.endpoint.admit(peer) {
            Ok(permit) => {
                tokio::spawn(server.lifetime(stream, peer, permit));
            }
            Err(full) => {
                let reason = full.reason().as_str();
                metrics::counter!("quikapp_connections_refused_total", "reason" => reason)
                    .increment(1);
                let place = self.stop.run_until_cancelled(self.refusals.place()).await;
                if let Some(place) = place.flatten() {
                    self.open
                        .spawn(async move { server.refuse(stream, full, place).await });
                }
            }
        }
    }

    /// What becomes of a connection. As long as it speaks HTTP, stopping waits for it.
    fn lifetime(
        self: Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
        permit: Permit,
    ) -> impl Future<Output = ()> + Send + use<> {
        let open = self.open.clone();
        let http = Box::pin(self.serve_connection(tcp, peer, permit));
        Lifetime::new(open.track_future(http))
    }

    /// Serves what is said in HTTP; the socket that may come of it is returned.
    async fn serve_connection(
        self: Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
        permit: Permit,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let stream = self.establish(tcp).await?;
        let connection = Connection {
            endpoint: self.endpoint.clone(),
            peer,
            tls: stream.is_tls(),
            permit: Arc::new(permit),
            stop: self.stop.clone(),
        };
        let served = pin!(connection::serve(stream, connection));
        let begun = self.cut.run_until_cancelled(served).await.flatten()?;
        Some(begun.opened.serve(begun.stream, &begun.behind))
    }

    /// Tells a client over a cap why it is turned away.
    async fn refuse(&self, tcp: TcpStream, full: Full, place: Place) {
        let refused = async {
            let Some(stream) = self.establish(tcp).await else {
                return;
            };
            if place.is_heard {
                let header_timeout = self.endpoint.shared.header_timeout;
                http1::refuse(stream, full, header_timeout).await;
            } else {
                refuse_curtly(stream, full).await;
            }
        };
        let refused = self.cut.run_until_cancelled(refused);
        if place.is_heard {
            refused.await;
        } else {
            // A client that does not take its answer by then does not want it.
            let _ = timeout(CURT_TIME, refused).await;
        }
    }

    async fn establish(&self, tcp: TcpStream) -> Option<NetStream> {
        let Some(tls) = &self.endpoint.shared.tls else {
            return Some(NetStream::Plain(tcp));
        };
        let accepted = Box::pin(tls.accept(tcp));
        match self.stop.run_until_cancelled(accepted).await? {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                metrics::counter!("quikapp_tls_handshakes_failed_total").increment(1);
                None
            }
        }
    }

    async fn drain(&self) {
        self.open.close();
        if timeout(self.endpoint.shared.drain_timeout, self.open.wait())
            .await
            .is_err()
        {
            tracing::warn!(open = self.open.len(), "requests cut at the drain deadline");
            self.cut.cancel();
            self.open.wait().await;
        }
    }
}

/// Errors of `accept` that belong to the connection that would have been accepted: the next one
/// may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Out of file descriptors or memory: the queue stays full, so that trying again at once would
/// spin. Each failure in a row doubles the pause.
#[derive(Debug, Default)]
struct AcceptTrouble {
    failures: u32,
}

impl AcceptTrouble {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    fn pause(&mut self) -> Duration {
        let pause = Self::FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures += 1;
        pause.min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::test_kit;

    async fn accepted() -> (TcpStream, SocketAddr) {
        let listener = Listener::bind(test_kit::config().listen, 16).expect("bound");
        let client = TcpStream::connect(listener.local_addr());
        let (accepted, _client) = tokio::join!(listener.tcp.accept(), client);
        accepted.expect("accepted")
    }

    #[tokio::test]
    async fn the_kernel_takes_little_that_is_not_on_its_way_and_waits_for_no_more() {
        let (accepted, _) = accepted().await;
        let unsent = socket2::SockRef::from(&accepted).tcp_notsent_lowat();
        assert_eq!(unsent.expect("an option of Linux"), UNSENT);
        assert!(accepted.nodelay().expect("an option"));
    }

    /// Ten thousand sockets hold ten thousand of these.
    #[tokio::test]
    async fn the_task_of_a_connection_is_as_small_as_its_socket() {
        let config = test_kit::config();
        let endpoint = Endpoint::builder(&config).build().expect("no TLS to read");
        let (stream, peer) = accepted().await;
        let permit = endpoint.admit(peer).expect("a place");
        let server = Arc::new(Server::new(endpoint, CancellationToken::new()));
        let task = server.lifetime(stream, peer, permit);
        let size = size_of_val(&task);
        assert!(size <= 720, "{size} bytes");
    }

    /// It is moved on the way to its place, for each connect.
    #[tokio::test]
    async fn what_a_connect_needs_is_no_more_than_some_kilobytes() {
        let server = test_kit::Server::start(&test_kit::config(), Default::default()).await;
        let stream = NetStream::Plain(server.connect().await);
        let serving = connection::serve(stream, server.connection());
        let size = size_of_val(&serving);
        assert!(size <= 3500, "{size} bytes");
    }

    #[test]
    fn trouble_doubles_the_pause_up_to_a_second() {
        let mut trouble = AcceptTrouble::default();
        let pauses: Vec<u128> = (0..9).map(|_| trouble.pause().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        trouble.failures = u32::MAX - 1;
        assert_eq!(trouble.pause(), AcceptTrouble::LONGEST);
    }

    #[test]
    fn a_full_descriptor_table_is_trouble_and_a_reset_is_not() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(
            EMFILE
        )));
        assert!(concerns_one_connection(&io::Error::from_raw_os_error(
            ECONNABORTED
        )));
    }
}
