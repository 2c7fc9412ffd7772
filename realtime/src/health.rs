//! Is the node well? `/health` for people, `/health/ready` for load balancers, `/health/live` for
//! whoever restarts processes, `/actuator/health` for tools that expect Spring's form.
//!
//! A dependency is a named [`Probe`]. Results are kept for a second, so that health checks cost
//! the dependency nothing however often they come, and one check at a time runs.

mod probe;
mod routes;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;
use quikapp_actors::Clock;

pub use probe::{Checked, Probe};

/// The health of this node. Cloning shares it.
#[derive(Clone)]
pub struct Health(Arc<Node>);

struct Node {
    name: String,
    version: &'static str,
    clock: Arc<dyn Clock>,
    probes: Vec<Probe>,
    stats: Vec<Stat>,
    is_draining: AtomicBool,
}

struct Stat {
    name: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Health {
    /// Starts describing a node.
    pub fn of_node(name: impl Into<String>, clock: Arc<dyn Clock>) -> HealthBuilder {
        HealthBuilder(Node {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION"),
            clock,
            probes: Vec::new(),
            stats: Vec::new(),
            is_draining: AtomicBool::new(false),
        })
    }

    /// From now on the node is not ready: load balancers send their clients elsewhere.
    pub fn start_draining(&self) {
        self.0.is_draining.store(true, Ordering::Release);
    }

    /// Whether the node takes no new clients.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Whether every dependency that the node needs answers, and the node is not draining.
    pub async fn is_ready(&self) -> bool {
        !self.is_draining()
            && self
                .check()
                .await
                .iter()
                .all(|(_, checked)| checked.is_enough())
    }

    /// Each dependency's name and its state of the last second.
    pub async fn check(&self) -> Vec<(&str, Checked)> {
        join_all(self.0.probes.iter().map(Probe::check)).await
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probes: Vec<&str> = self.0.probes.iter().map(Probe::name).collect();
        f.debug_struct("Health")
            .field("node", &self.0.name)
            .field("probes", &probes)
            .finish_non_exhaustive()
    }
}

/// Collects what belongs to a node's health.
pub struct HealthBuilder(Node);

impl HealthBuilder {
    /// Adds a dependency. `check` returns what is wrong, in words that anyone may read.
    #[must_use]
    pub fn probe<F, Checking>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: Fn() -> Checking + Send + Sync + 'static,
        Checking: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.probes.push(Probe::new(name, check));
        self
    }

    /// Adds a dependency that the node goes on without: it is shown, and readiness stays.
    #[must_use]
    pub fn optional_probe<F, Checking>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: Fn() -> Checking + Send + Sync + 'static,
        Checking: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.0.probes.push(Probe::new(name, check).optional());
        self
    }

    /// Adds a number for people, such as open connections.
    #[must_use]
    pub fn stat(
        mut self,
        name: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let read = Box::new(read);
        self.0.stats.push(Stat { name, read });
        self
    }

    /// Done.
    pub fn build(self) -> Health {
        Health(Arc::new(self.0))
    }
}

impl fmt::Debug for HealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthBuilder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
