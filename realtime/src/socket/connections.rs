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
    time::{Instant, sleep_until, timeout_at},
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

    /// Refuses new connections and closes the open ones with 1012, in batches; at the deadline
    /// those that are left, all at once. Returns how many were still there then.
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
            if batches.peek().is_some() {
                sleep_until(deadline.min(Instant::now() + options.interval)).await;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quikapp_actors::fanout::OutboxLimits;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Open connections that do what the test makes them do.
    fn open(connections: &Connections, count: usize) -> Vec<(Arc<Outbox>, Registered)> {
        let one = |_| {
            let id = connections.next_id();
            let outbox = Arc::new(Outbox::new(id, OutboxLimits::default()));
            let registered = connections.register(&outbox);
            (outbox, registered)
        };
        (0..count).map(one).collect()
    }

    fn closing(open: &[(Arc<Outbox>, Registered)]) -> usize {
        let told = open.iter().filter_map(|(outbox, _)| outbox.closing());
        told.inspect(|close| assert_eq!(close.code, 1012)).count()
    }

    fn drain(connections: &Connections, options: DrainOptions) -> tokio::task::JoinHandle<usize> {
        let connections = connections.clone();
        tokio::spawn(async move { connections.drain(&options).await })
    }

    #[tokio::test(start_paused = true)]
    async fn batches_follow_one_another_and_the_last_socket_ends_the_wait() {
        let connections = Connections::new();
        let open = open(&connections, 5);
        let began = Instant::now();
        let draining = drain(
            &connections,
            DrainOptions {
                batch: 2,
                interval: SECOND,
                deadline: SECOND * 30,
            },
        );
        for (after_ms, told) in [(1, 2), (999, 2), (1001, 4), (1999, 4), (2001, 5)] {
            sleep_until(began + Duration::from_millis(after_ms)).await;
            assert_eq!(closing(&open), told, "after {after_ms} ms");
        }
        assert!(connections.is_draining());
        drop(open);
        assert_eq!(draining.await.unwrap(), 0);
        assert!(began.elapsed() < SECOND * 3, "and not at the deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds_for_sockets_that_do_not_go_and_for_batches_to_come() {
        let connections = Connections::new();
        let open = open(&connections, 5);
        let began = Instant::now();
        let draining = drain(
            &connections,
            DrainOptions {
                batch: 1,
                interval: SECOND * 2,
                deadline: SECOND * 3,
            },
        );
        assert_eq!(draining.await.unwrap(), 5);
        assert_eq!(began.elapsed(), SECOND * 3);
        assert_eq!(closing(&open), 5, "all have been told");
    }

    #[tokio::test]
    async fn who_comes_while_the_others_go_is_told_at_once() {
        let connections = Connections::new();
        assert_eq!(connections.drain(&DrainOptions::default()).await, 0);
        assert_eq!(closing(&open(&connections, 1)), 1);
    }
}
