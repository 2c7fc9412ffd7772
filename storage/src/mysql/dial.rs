//! How a connection begins and ends: at once, both, whatever the server still owes.

use std::{sync::OnceLock, time::Duration};

use futures_util::FutureExt;
use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use tokio::time::timeout;

use super::fault::{Fault, Sql};

/// Making a connection takes no longer than this.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the driver may take a connection for good, in seconds: the pool finds out by itself.
const NEVER: usize = 31_536_000;

/// Makes connections to one server.
///
/// A connection that is given up before it is made must be gone at once: it counts for the server,
/// and the next one is made in its place. The driver closes at once what has no question open,
/// else it waits for the answer, for as long as the server is silent. So whatever is asked on a
/// new connection is asked here, and not by the driver.
#[derive(Debug)]
pub(super) struct Dialer {
    opts: Opts,
    setup: Vec<String>,
    packet: OnceLock<usize>,
}

impl Dialer {
    /// Connections with these options, on which these statements are run first.
    pub(super) fn new(opts: Opts, setup: Vec<String>) -> Self {
        Self {
            opts,
            setup,
            packet: OnceLock::new(),
        }
    }

    /// What the server said is its `max_allowed_packet`, in bytes. Until then the driver asks for
    /// it on every new connection.
    pub(super) fn learn_packet(&self, bytes: usize) {
        // It was asked before: connections know one size, whichever was first.
        let _ = self.packet.set(bytes);
    }

    /// A connection to work on.
    pub(super) async fn dial(&self) -> Sql<Conn> {
        self.make(&self.setup).await
    }

    /// A connection that no work is done on.
    pub(super) async fn dial_bare(&self) -> Sql<Conn> {
        self.make(&[]).await
    }

    async fn make(&self, setup: &[String]) -> Sql<Conn> {
        let made = timeout(CONNECT, async {
            let opts = OptsBuilder::from_opts(self.opts.clone())
                .wait_timeout(Some(NEVER))
                .max_allowed_packet(self.packet.get().copied());
            let mut line = Line::default();
            let conn = line.0.insert(Conn::new(opts).await.map_err(refused)?);
            for statement in setup {
                conn.query_drop(statement).await.map_err(refused)?;
            }
            line.0.take().ok_or_else(late)
        });
        made.await.unwrap_or_else(|_| Err(late()))
    }
}

/// A connection, if there is one, that is hung up with this.
#[derive(Debug, Default)]
pub(super) struct Line(pub(super) Option<Conn>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(hang_up);
    }
}

/// Closes a connection at once, so that it is gone before the next one is made. Left alone, the
/// driver would wait for what the server still owes, for as long as that is silent.
pub(super) fn hang_up(conn: Conn) {
    // What remains of an orderly end after the first step is dropped with the connection.
    let _ = conn.disconnect().now_or_never();
}

/// A wrong password, an unknown database, too many connections: there is no connection.
fn refused(error: mysql_async::Error) -> Fault {
    match Fault::from(error) {
        Fault::Server(error) => Fault::Lost(error.to_string()),
        other => other,
    }
}

fn late() -> Fault {
    Fault::Lost("connecting took too long".to_owned())
}
