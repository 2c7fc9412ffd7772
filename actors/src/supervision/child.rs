//! How a child is started and stopped.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use ractor::{Actor, ActorCell, ActorRef};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Handle, Restart, SupervisorSpec, TreeNode,
    shell::{Message, Shell, ShellArgs},
    task::{Make, Task},
    tree::Branch,
};

/// How long a child may take to start, unless it says otherwise.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How long a child may take to stop, unless it says otherwise.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Why a start has failed that was not let come to its end.
const CUT_OFF: &str = "cut off";

/// A child that has come up.
pub(super) struct Came {
    pub(super) cell: ActorCell,
    /// What a child that is a supervisor shows of its own children.
    pub(super) branch: Option<Arc<Branch>>,
}

/// Starts a child. Once the token is cancelled a start that is under way ends soon, and leaves
/// nothing running of what it has begun.
type Start =
    dyn Fn(ActorCell, CancellationToken) -> BoxFuture<'static, Result<Came, String>> + Send + Sync;
type StopFn = dyn Fn(&ActorCell) + Send + Sync;
type QueueFn = dyn Fn() -> usize + Send + Sync;
type ReportFn = dyn Fn() -> Vec<TreeNode> + Send + Sync;

/// How an orderly stop begins.
#[derive(Clone)]
pub enum Stopping {
    /// The actor handles what is in its mailbox, takes nothing new, and ends.
    Drain,
    /// It ends after the message in hand: for actors and tasks without a queue.
    Stop,
    /// It is told so in its own words, and ends by itself.
    Tell(Arc<StopFn>),
}

/// How a child is started, stopped, and started again. A value, from which any number of lives
/// can be made.
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) restart: Restart,
    pub(super) start_within: Duration,
    pub(super) shutdown: Duration,
    pub(super) stopping: Stopping,
    pub(super) start: Arc<Start>,
    pub(super) queue: Option<Arc<QueueFn>>,
    pub(super) report: Option<Arc<ReportFn>>,
}

impl ChildSpec {
    /// An actor, reached through a handle. `make` gives each life its actor and arguments.
    pub fn actor<A: Actor>(
        name: impl Into<Arc<str>>,
        kind: &'static str,
        handle: &Handle<A::Msg>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Self {
        let (handle, make) = (handle.clone(), Arc::new(make));
        Self::new(name, kind, Stopping::Drain, move |supervisor, cut| {
            let (handle, make) = (handle.clone(), Arc::clone(&make));
            let start = async move {
                let (actor, args) = make();
                let child = spawn(actor, args, supervisor, &cut).await?;
                let cell = child.get_cell();
                handle.reaches(child);
                Ok(Came { cell, branch: None })
            };
            start.boxed()
        })
    }

    /// A task. It ends when its token is cancelled; a panic is a failure.
    pub fn task<Run>(
        name: impl Into<Arc<str>>,
        kind: &'static str,
        make: impl Fn(CancellationToken) -> Run + Send + Sync + 'static,
    ) -> Self
    where
        Run: Future<Output = ()> + Send + 'static,
    {
        let make: Arc<Make> = Arc::new(move |stop| make(stop).boxed());
        Self::new(name, kind, Stopping::Stop, move |supervisor, cut| {
            let task = Task(Arc::clone(&make));
            let start = async move {
                let child = spawn(task, (), supervisor, &cut).await?;
                let cell = child.get_cell();
                Ok(Came { cell, branch: None })
            };
            start.boxed()
        })
    }

    /// A supervisor. It has started once its children have, and has longer than they to start and
    /// to stop. It is started again whenever it failed, which it does when its own restarts do not
    /// help.
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        let starts: Duration = spec.children.iter().map(|it| it.start_within).sum();
        let stops: Duration = spec.children.iter().map(|it| it.shutdown).sum();
        let shutdown = stops + SHUTDOWN;
        let tell: Arc<StopFn> = Arc::new(|cell| {
            // Who has ended need not be told.
            let _ = cell.send_message(Message::Stop);
        });
        let name = spec.name.clone();
        Self::new(
            name,
            "supervisor",
            Stopping::Tell(tell),
            move |parent, cut| {
                let spec = spec.clone();
                let start = async move {
                    let (up, is_up) = oneshot::channel();
                    let branch = Arc::new(Branch::default());
                    let args = ShellArgs::new(spec, Arc::clone(&branch)).announcing(up);
                    let cell = spawn(Shell, args, parent, &cut).await?.get_cell();
                    match cut.run_until_cancelled(is_up).await {
                        Some(Ok(())) => Ok(Came {
                            cell,
                            branch: Some(branch),
                        }),
                        Some(Err(_)) => Err("its children did not start".to_owned()),
                        None => {
                            take_down(&cell, shutdown).await;
                            Err(CUT_OFF.to_owned())
                        }
                    }
                };
                start.boxed()
            },
        )
        .start_within(starts + START_WITHIN)
        .shutdown(shutdown)
    }

    fn new(
        name: impl Into<Arc<str>>,
        kind: &'static str,
        stopping: Stopping,
        start: impl Fn(ActorCell, CancellationToken) -> BoxFuture<'static, Result<Came, String>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            restart: Restart::default(),
            start_within: START_WITHIN,
            shutdown: SHUTDOWN,
            stopping,
            start: Arc::new(start),
            queue: None,
            report: None,
        }
    }

    /// Which ends are answered by starting it again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long a start may take before it has failed.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start_within = limit;
        self
    }

    /// How long an orderly stop may take before the child is cut off.
    #[must_use]
    pub fn shutdown(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    /// How an orderly stop begins.
    #[must_use]
    pub fn stopping(mut self, stopping: Stopping) -> Self {
        self.stopping = stopping;
        self
    }

    /// What tells how much waits for the child.
    #[must_use]
    pub fn queue(mut self, depth: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.queue = Some(Arc::new(depth));
        self
    }

    /// What the child shows beneath itself in the tree, for children that hold others.
    #[must_use]
    pub fn report(mut self, report: impl Fn() -> Vec<TreeNode> + Send + Sync + 'static) -> Self {
        self.report = Some(Arc::new(report));
        self
    }
}

/// Spawns an actor. One that is cut off while it starts is dropped, and has never run.
async fn spawn<A: Actor>(
    actor: A,
    args: A::Arguments,
    supervisor: ActorCell,
    cut: &CancellationToken,
) -> Result<ActorRef<A::Msg>, String> {
    let spawned = A::spawn_linked(None, actor, args, supervisor);
    let spawned = cut.run_until_cancelled(spawned).await;
    let (child, _) = spawned.ok_or(CUT_OFF)?.map_err(|error| error.to_string())?;
    Ok(child)
}

/// Ends a supervisor that has not come up, with whatever it has brought up so far.
async fn take_down(cell: &ActorCell, within: Duration) {
    // Who has ended need not be told.
    let _ = cell.send_message(Message::Stop);
    if cell.wait(Some(within)).await.is_err() {
        cell.kill();
    }
}

impl Stopping {
    pub(super) fn begin(&self, cell: &ActorCell) {
        match self {
            // An error means that it has ended already.
            Self::Drain => drop(cell.drain()),
            Self::Stop => cell.stop(None),
            Self::Tell(tell) => tell(cell),
        }
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "Drain",
            Self::Stop => "Stop",
            Self::Tell(_) => "Tell",
        })
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}
