//! One dependency.

use std::{fmt, future::Future, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// How long a result is good for.
const FRESH: Duration = Duration::from_secs(1);

/// A dependency that has not answered by then is down.
const PATIENCE: Duration = Duration::from_secs(2);

type Check = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A named check of something the node cannot do without.
pub struct Probe {
    name: String,
    is_optional: bool,
    check: Check,
    last: Mutex<Option<Checked>>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// When the check ended.
    pub at: Instant,
    /// How long it took.
    pub latency: Duration,
    /// What is wrong, if anything.
    pub problem: Option<String>,
    /// Whether the node goes on without it.
    pub is_optional: bool,
}

impl Checked {
    /// Whether the node can work.
    pub fn is_enough(&self) -> bool {
        self.is_up() || self.is_optional
    }

    /// Whether nothing is wrong.
    pub fn is_up(&self) -> bool {
        self.problem.is_none()
    }
}

impl Probe {
    pub(super) fn new<F, Checking>(name: impl Into<String>, check: F) -> Self
    where
        F: Fn() -> Checking + Send + Sync + 'static,
        Checking: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name: name.into(),
            is_optional: false,
            check: Box::new(move || Box::pin(check())),
            last: Mutex::default(),
        }
    }

    /// The node goes on without it.
    pub(super) fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The result of the last second, or a new one; whoever asks meanwhile waits for that.
    pub(super) async fn check(&self) -> (&str, Checked) {
        let mut last = self.last.lock().await;
        let checked = match last.take().filter(|checked| checked.at.elapsed() < FRESH) {
            Some(fresh) => fresh,
            None => self.run().await,
        };
        *last = Some(checked.clone());
        (&self.name, checked)
    }

    async fn run(&self) -> Checked {
        let began = Instant::now();
        let result = timeout(PATIENCE, (self.check)()).await;
        let problem = result
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            .err();
        if let Some(problem) = &problem {
            tracing::warn!(dependency = self.name, problem, "dependency is down");
        }
        Checked {
            at: Instant::now(),
            latency: began.elapsed(),
            problem,
            is_optional: self.is_optional,
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}
