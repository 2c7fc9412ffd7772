//! The actor around the core, and the handle to it.
//!
//! Restart policy: a supervisor's own is its parent's to decide. The root has no parent: when it
//! fails, [`Supervisor::ended`] says so, and the process ends in good order.

use std::{collections::HashMap, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::FutureExt;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, ActorStatus,
    SupervisionEvent,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    ChildSpec, NodeState, SupervisorSpec, TreeNode,
    child::Came,
    core::{Action, Core, Event, Exit},
    task::panic_text,
    tree::{Branch, age_ms},
};

/// A child did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{child} did not start: {detail}")]
pub struct StartError {
    /// Which.
    pub child: String,
    /// Why.
    pub detail: String,
}

/// How a supervisor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As was asked, everything drained.
    Stopped,
    /// Its children failed too often.
    Escalated,
}

/// A running supervisor without a parent. Cheap to clone; it runs until it is stopped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: Arc<str>,
    actor: ActorRef<Message>,
    branch: Arc<Branch>,
    began: Instant,
    ending: watch::Receiver<Option<Ending>>,
}

impl Supervisor {
    /// Starts a supervisor; its first children start in the background. Needs a tokio runtime.
    pub fn start(spec: SupervisorSpec) -> Self {
        let branch = Arc::new(Branch::default());
        let name = spec.name.clone();
        let (ends, ending) = watch::channel(None);
        let mut args = ShellArgs::new(spec, Arc::clone(&branch));
        args.ends = Some(ends);
        let spawned = ActorRuntime::spawn_instant(None, Shell, args);
        let (actor, _) = spawned.expect("only a name that is taken is refused");
        Self {
            name,
            actor,
            branch,
            began: Instant::now(),
            ending,
        }
    }

    /// Starts a child behind the others, and returns once it runs. A child that does not start the
    /// first time is not tried again.
    pub async fn add(&self, child: ChildSpec) -> Result<(), StartError> {
        let name = child.name.to_string();
        let (reply_to, added) = oneshot::channel();
        let reply_to = Some(reply_to);
        // An error drops the reply with the message.
        let _ = self.actor.cast(Message::Add { child, reply_to });
        let added = added.await;
        added.unwrap_or_else(|_| {
            Err(StartError {
                child: name,
                detail: "the supervisor has ended".to_owned(),
            })
        })
    }

    /// Starts a child behind the others, without waiting: for tasks, whose start cannot fail.
    pub fn launch(&self, child: ChildSpec) {
        let reply_to = None;
        if self.actor.cast(Message::Add { child, reply_to }).is_err() {
            tracing::error!(supervisor = %self.name, "a child of a supervisor that has ended");
        }
    }

    /// Stops the children in reverse order, each drained, and returns when all have ended.
    pub async fn stop(&self) -> Ending {
        // An error means that it has ended already.
        let _ = self.actor.cast(Message::Stop);
        self.ended().await
    }

    /// Returns when the supervisor has ended.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.clone();
        let ended = ending.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|ending| *ending)
            .unwrap_or(Ending::Escalated)
    }

    /// The live tree.
    pub fn tree(&self) -> TreeNode {
        let state = match *self.ending.borrow() {
            Some(_) => NodeState::Ended,
            None => NodeState::Running,
        };
        TreeNode {
            name: self.name.to_string(),
            kind: "supervisor".to_owned(),
            state,
            count: 1,
            restarts: 0,
            queue_depth: 0,
            age_ms: age_ms(self.began),
            last_failure: None,
            tenant: None,
            children: self.branch.nodes(),
        }
    }
}

/// What a supervisor is told, mostly by itself.
pub(super) enum Message {
    /// Have one child more.
    Add {
        child: ChildSpec,
        reply_to: Option<oneshot::Sender<Result<(), StartError>>>,
    },
    /// A start has come to its end.
    Tried {
        child: usize,
        outcome: Result<Came, String>,
    },
    /// A back-off is over.
    Waited { ticket: u64 },
    /// A child's time to stop is over.
    Overdue { child: usize, id: ActorId },
    /// End in good order.
    Stop,
}

impl ractor::Message for Message {}

/// What a supervisor starts with.
pub(super) struct ShellArgs {
    spec: SupervisorSpec,
    branch: Arc<Branch>,
    /// Told once the first children run; dropped if they do not.
    up: Option<oneshot::Sender<()>>,
    ends: Option<watch::Sender<Option<Ending>>>,
}

impl ShellArgs {
    pub(super) fn new(spec: SupervisorSpec, branch: Arc<Branch>) -> Self {
        Self {
            spec,
            branch,
            up: None,
            ends: None,
        }
    }

    pub(super) fn announcing(mut self, up: oneshot::Sender<()>) -> Self {
        self.up = Some(up);
        self
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shell;

pub(super) struct ShellState {
    name: Arc<str>,
    core: Core,
    began: Instant,
    children: Vec<Slot>,
    places: HashMap<ActorId, usize>,
    /// Ends of actors that have not been reported as started yet.
    early: HashMap<ActorId, (Exit, Option<String>)>,
    branch: Arc<Branch>,
    up: Option<oneshot::Sender<()>>,
    ends: Option<watch::Sender<Option<Ending>>>,
    /// Cancelled once nothing is to start any more; starts that are under way are cut off.
    no_more: CancellationToken,
}

/// However a supervisor ends, nothing goes on starting beneath it.
impl Drop for ShellState {
    fn drop(&mut self) {
        self.no_more.cancel();
    }
}

struct Slot {
    spec: ChildSpec,
    cell: Option<ActorCell>,
    is_starting: bool,
    /// Who waits to hear of the first start.
    added: Option<oneshot::Sender<Result<(), StartError>>>,
    failure: Option<String>,
}

impl Actor for Shell {
    type Msg = Message;
    type State = ShellState;
    type Arguments = ShellArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        args: ShellArgs,
    ) -> Result<ShellState, ActorProcessingErr> {
        let spec = args.spec;
        let mut state = ShellState {
            name: spec.name,
            core: Core::new(spec.strategy, spec.intensity, spec.backoff),
            began: Instant::now(),
            children: Vec::new(),
            places: HashMap::new(),
            early: HashMap::new(),
            branch: args.branch,
            up: args.up,
            ends: args.ends,
            no_more: CancellationToken::new(),
        };
        let restarts: Vec<_> = spec.children.iter().map(|child| child.restart).collect();
        for child in spec.children {
            state.take(child, None);
        }
        let actions = state.core.begin(&restarts);
        state.run(&myself, actions)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut ShellState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add { child, reply_to } => state.add(&myself, child, reply_to),
            Message::Tried { child, outcome } => state.tried(&myself, child, outcome),
            Message::Waited { ticket } => state.happened(&myself, Event::Waited { ticket }),
            Message::Overdue { child, id } => state.overdue(&myself, child, id),
            Message::Stop => state.happened(&myself, Event::Stop),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut ShellState,
    ) -> Result<(), ActorProcessingErr> {
        let (id, exit, failure) = match event {
            SupervisionEvent::ActorTerminated(cell, Some(_), _) => {
                (cell.get_id(), Exit::Normal, None)
            }
            SupervisionEvent::ActorTerminated(cell, None, reason) => {
                let reason = reason.unwrap_or_else(|| "killed".to_owned());
                (cell.get_id(), Exit::Failed, Some(reason))
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                (cell.get_id(), Exit::Failed, Some(error.to_string()))
            }
            _ => return Ok(()),
        };
        match state.places.remove(&id) {
            Some(child) => state.exited(&myself, child, exit, failure),
            None => {
                state.ended_early(id, exit, failure);
                Ok(())
            }
        }
    }
}

impl ShellState {
    fn take(&mut self, spec: ChildSpec, added: Option<oneshot::Sender<Result<(), StartError>>>) {
        self.branch.push(spec.clone());
        self.children.push(Slot {
            spec,
            cell: None,
            is_starting: false,
            added,
            failure: None,
        });
    }

    fn add(
        &mut self,
        myself: &ActorRef<Message>,
        child: ChildSpec,
        reply_to: Option<oneshot::Sender<Result<(), StartError>>>,
    ) -> Result<(), ActorProcessingErr> {
        let restart = child.restart;
        self.take(child, reply_to);
        let (_, actions) = self.core.add(restart);
        self.run(myself, actions)
    }

    fn happened(
        &mut self,
        myself: &ActorRef<Message>,
        event: Event,
    ) -> Result<(), ActorProcessingErr> {
        let actions = self.core.handle(event, self.began.elapsed());
        if self.core.is_ending() {
            self.no_more.cancel();
        }
        if let Event::Exited { child, .. } | Event::StartFailed { child } = event
            && self.core.will_start(child)
        {
            self.branch.waits(child);
        }
        self.run(myself, actions)
    }

    fn run(
        &mut self,
        myself: &ActorRef<Message>,
        actions: Vec<Action>,
    ) -> Result<(), ActorProcessingErr> {
        for action in actions {
            match action {
                Action::Start { child, again } => self.start(myself, child, again),
                Action::Stop { child } => self.stop(myself, child),
                Action::Wait { ticket, duration } => {
                    myself.send_after(duration, move || Message::Waited { ticket });
                }
                Action::Up => {
                    if let Some(up) = self.up.take() {
                        // Who waited may have given up.
                        let _ = up.send(());
                    }
                }
                Action::Refuse { child } => self.refuse(child),
                Action::Escalate => return Err(self.escalate()),
                Action::Finish => {
                    self.end(Ending::Stopped);
                    myself.stop(None);
                }
            }
        }
        Ok(())
    }

    /// Starts run beside the supervisor, so that one that hangs does not keep it from stopping:
    /// when it stops, they are cut off.
    fn start(&mut self, myself: &ActorRef<Message>, child: usize, again: bool) {
        self.branch.starts(child, again);
        let slot = &mut self.children[child];
        slot.is_starting = true;
        let spec = slot.spec.clone();
        if again {
            tracing::warn!(supervisor = %self.name, child = %spec.name, "started again");
            metrics::counter!("quikapp_actor_restarts_total", "kind" => spec.kind).increment(1);
        }
        let (myself, no_more) = (myself.clone(), self.no_more.clone());
        tokio::spawn(async move {
            let outcome = bring_up(&spec, myself.get_cell(), &no_more).await;
            let came = outcome.as_ref().ok().map(|came| came.cell.clone());
            let told = myself.cast(Message::Tried { child, outcome });
            if let (Err(_), Some(cell)) = (told, came) {
                // Nobody is left to look after it.
                cell.kill();
            }
        });
    }

    fn tried(
        &mut self,
        myself: &ActorRef<Message>,
        child: usize,
        outcome: Result<Came, String>,
    ) -> Result<(), ActorProcessingErr> {
        let slot = &mut self.children[child];
        slot.is_starting = false;
        match outcome {
            Ok(came) => {
                let id = came.cell.get_id();
                if let Some(added) = slot.added.take() {
                    // Who waited may have given up.
                    let _ = added.send(Ok(()));
                }
                slot.cell = Some(came.cell);
                self.branch.runs(child, came.branch);
                self.places.insert(id, child);
                self.happened(myself, Event::Started { child })?;
                let early = self.early.remove(&id);
                self.forget_early();
                match early {
                    Some((exit, failure)) => {
                        self.places.remove(&id);
                        self.exited(myself, child, exit, failure)
                    }
                    None => Ok(()),
                }
            }
            Err(failure) => {
                tracing::error!(
                    supervisor = %self.name, child = %slot.spec.name, failure, "did not start"
                );
                slot.failure = Some(failure.clone());
                self.branch.ended(child, Some(failure));
                self.forget_early();
                self.happened(myself, Event::StartFailed { child })
            }
        }
    }

    fn exited(
        &mut self,
        myself: &ActorRef<Message>,
        child: usize,
        exit: Exit,
        failure: Option<String>,
    ) -> Result<(), ActorProcessingErr> {
        let slot = &mut self.children[child];
        slot.cell = None;
        if let Some(failure) = &failure {
            tracing::error!(supervisor = %self.name, child = %slot.spec.name, failure, "failed");
        }
        slot.failure.clone_from(&failure);
        self.branch.ended(child, failure);
        self.happened(myself, Event::Exited { child, exit })
    }

    /// An actor may fail before its start has been reported here.
    fn ended_early(&mut self, id: ActorId, exit: Exit, failure: Option<String>) {
        if self.children.iter().any(|slot| slot.is_starting) {
            self.early.insert(id, (exit, failure));
        }
    }

    fn forget_early(&mut self) {
        if !self.children.iter().any(|slot| slot.is_starting) {
            self.early.clear();
        }
    }

    fn stop(&mut self, myself: &ActorRef<Message>, child: usize) {
        self.branch.stops(child);
        let slot = &self.children[child];
        let Some(cell) = &slot.cell else {
            return;
        };
        let id = cell.get_id();
        slot.spec.stopping.begin(cell);
        myself.send_after(slot.spec.shutdown, move || Message::Overdue { child, id });
    }

    /// A child that does not stop is cut off, and counts as ended from here on: one that never
    /// yields could not be waited for.
    fn overdue(
        &mut self,
        myself: &ActorRef<Message>,
        child: usize,
        id: ActorId,
    ) -> Result<(), ActorProcessingErr> {
        let slot = &self.children[child];
        let Some(cell) = slot.cell.as_ref().filter(|cell| cell.get_id() == id) else {
            return Ok(());
        };
        if cell.get_status() != ActorStatus::Stopped {
            cell.kill();
        }
        self.places.remove(&id);
        let failure = Some("it did not stop in time".to_owned());
        self.exited(myself, child, Exit::Failed, failure)
    }

    fn refuse(&mut self, child: usize) {
        let slot = &mut self.children[child];
        if let Some(added) = slot.added.take() {
            let detail = slot.failure.clone();
            // Who waited may have given up.
            let _ = added.send(Err(StartError {
                child: slot.spec.name.to_string(),
                detail: detail.unwrap_or_else(|| "the supervisor is ending".to_owned()),
            }));
        }
    }

    fn escalate(&mut self) -> ActorProcessingErr {
        let last = self.children.iter().find_map(|slot| slot.failure.clone());
        let last = last.unwrap_or_default();
        tracing::error!(supervisor = %self.name, last, "restarts do not help: the supervisor fails");
        metrics::counter!("quikapp_supervisor_escalations_total").increment(1);
        self.end(Ending::Escalated);
        format!("{} gave up: {last}", self.name).into()
    }

    fn end(&mut self, how: Ending) {
        if let Some(ends) = self.ends.take() {
            ends.send_replace(Some(how));
        }
    }
}

/// Starts a child within its time, unless nothing is to start any more. A start that is cut off has
/// left nothing running when this returns.
async fn bring_up(
    spec: &ChildSpec,
    supervisor: ActorCell,
    no_more: &CancellationToken,
) -> Result<Came, String> {
    let cut = CancellationToken::new();
    let start = async { (spec.start)(supervisor, cut.clone()).await };
    let mut start = pin!(AssertUnwindSafe(start).catch_unwind());
    let why = tokio::select! {
        outcome = &mut start => {
            return outcome.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
        }
        () = sleep(spec.start_within) => "it took too long",
        () = no_more.cancelled() => "its supervisor ends",
    };
    cut.cancel();
    match start.await {
        // In the last moment.
        Ok(Ok(came)) => Ok(came),
        Ok(Err(_)) | Err(_) => Err(why.to_owned()),
    }
}
