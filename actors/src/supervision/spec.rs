//! What a supervisor is told before it starts.

use std::{sync::Arc, time::Duration};

use super::ChildSpec;

/// Whom the failure of one child concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Only the child that failed is started again.
    #[default]
    OneForOne,
    /// All children are stopped, the last first, and started again, the first first.
    OneForAll,
    /// The child that failed and those after it are stopped and started again.
    RestForOne,
}

/// Which ends of a child are answered by starting it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Every end.
    Permanent,
    /// Only a failure: a child that ends in good order has done its work.
    #[default]
    Transient,
    /// None.
    Temporary,
}

/// How many restarts are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// So many restarts within the window are borne; one more, and the supervisor itself fails.
    pub restarts: usize,
    /// The window. A child that ran for longer begins its back-off anew.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 10,
            within: Duration::from_secs(60),
        }
    }
}

/// How long a child that keeps failing waits before it is started again. The first failure is
/// answered at once, the second after `first`, and each further one after twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after a second failure in a row.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row.
    pub fn after(&self, failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => {
                let doubled = 2_u32.saturating_pow(more - 2);
                self.first.saturating_mul(doubled).min(self.longest)
            }
        }
    }
}

/// A supervisor and its first children.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    pub(super) name: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// A supervisor that starts one for one, and has no children yet.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            children: Vec::new(),
        }
    }

    /// Whom a failure concerns.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many restarts are too many.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// How long a failing child waits.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// One child more. Children start in this order, each once the one before it has started.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }
}
