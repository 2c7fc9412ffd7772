//! What a connection's parts share.

use std::{fmt, sync::Arc};

use quikapp_actors::{
    Clock,
    fanout::{Fanout, Outbox},
};
use quikapp_protocol::Vsn;

use super::{Connections, Transport, metrics::Metrics};

/// What all sockets of a process share.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Topics and their subscribers.
    pub fanout: Fanout,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// The open connections.
    pub connections: Connections,
    pub(crate) metrics: Arc<Metrics>,
}

impl Hub {
    /// A hub without connections. Install the metrics recorder first: the counters are taken here.
    pub fn new(fanout: Fanout, clock: Arc<dyn Clock>) -> Self {
        Self {
            fanout,
            clock,
            connections: Connections::new(),
            metrics: Arc::new(Metrics::new()),
        }
    }
}

/// One connection, as its channels hold on to it.
pub(crate) struct Link {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) vsn: Vsn,
    pub(crate) transport: Transport,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.outbox.id()).finish()
    }
}
