//! The open connections of a process, and how they are closed in good order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_actors::fanout::{Close, ConnectionId, Outbox};
use serde::{Deserialize, Serialize};
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

/// How sockets are closed when the process stops.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainOptions {
    /// How many are closed together.
    pub batch: usize,
    /// How long to wait between batches, so that their clients do not all come back at once.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// When to stop waiting for sockets that do not go.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub deadline: Duration,
}

impl Default for DrainOptions {
    /// Phoenix's `drainer` defaults.
    fn default() -> Self {
        Self {
            batch: 10_000,
            interval: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
        }
    }
}

/// The open connections. Cloning shares the registry.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    open: Mutex<Slab<Arc<Outbox>>>,
    next_id: AtomicU64,
    is_draining: AtomicBool,
    emptied: Notify,
    gauge: Gauge,
}

struct Gauge(metrics::Gauge);

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauge")
    }
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        Self(Arc::new(Registry {
            open: Mutex::default(),
            next_id: AtomicU64::new(1),
            is_draining: AtomicBool::new(false),
            emptied: Notify::new(),
            gauge: Gauge(metrics::gauge!("quikapp_connections")),
        }))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.open.lock().len()
    }

    /// Whether the process is stopping and takes no more.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Refuses new connections and closes the open ones with 1012, in batches. Returns how many
    /// were still there at the deadline.
    pub async fn drain(&self, options: &DrainOptions) -> usize {
        let deadline = Instant::now() + options.deadline;
        self.0.is_draining.store(true, Ordering::Release);
        let open: Vec<Arc<Outbox>> = {
            let open = self.0.open.lock();
            open.iter().map(|(_, outbox)| Arc::clone(outbox)).collect()
        };
        tracing::info!(connections = open.len(), "closing sockets");
        let mut batches = open.chunks(options.batch.max(1)).peekable();
        while let Some(batch) = batches.next() {
            for outbox in batch {
                outbox.close(Close::restart());
            }
            if batches.peek().is_some() && Instant::now() < deadline {
                sleep(options.interval).await;
            }
        }
        let _ = timeout_at(deadline, self.emptied()).await;
        self.count()
    }

    async fn emptied(&self) {
        loop {
            let notified = self.0.emptied.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.0.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a connection until the returned value is dropped.
    pub(super) fn register(&self, outbox: &Arc<Outbox>) -> Registered {
        let key = self.0.open.lock().insert(Arc::clone(outbox));
        self.0.gauge.0.increment(1.0);
        if self.is_draining() {
            // It slipped in while the others were told.
            outbox.close(Close::restart());
        }
        Registered {
            registry: Arc::clone(&self.0),
            key,
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection's entry in the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let is_empty = {
            let mut open = self.registry.open.lock();
            open.remove(self.key);
            open.is_empty()
        };
        self.registry.gauge.0.decrement(1.0);
        if is_empty {
            self.registry.emptied.notify_waiters();
        }
    }
}
