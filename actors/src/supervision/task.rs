//! A task as a child: the actor that stands for it fails when the task panics.

use std::{any::Any, fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Makes a run of the task. The token is cancelled when the task is to end.
pub(super) type Make = dyn Fn(CancellationToken) -> BoxFuture<'static, ()> + Send + Sync;

/// The task has ended, with what it said if it panicked.
#[derive(Debug)]
pub(super) struct Ended(Option<String>);

impl ractor::Message for Ended {}

/// See the module.
pub(super) struct Task(pub(super) Arc<Make>);

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// The task under way; it is cut when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Actor for Task {
    type Msg = Ended;
    type State = Running;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Ended>,
        (): (),
    ) -> Result<Running, ActorProcessingErr> {
        let stop = CancellationToken::new();
        let (make, given) = (Arc::clone(&self.0), stop.clone());
        let task = tokio::spawn(async move {
            let run = AssertUnwindSafe(async { make(given).await });
            let panicked = run.catch_unwind().await.err();
            // Nobody listens any more when the supervisor has cut the actor off.
            let _ = myself.cast(Ended(panicked.map(|panic| panic_text(panic.as_ref()))));
        });
        Ok(Running {
            stop,
            task: AbortOnDropHandle::new(task),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Ended>,
        Ended(panicked): Ended,
        _state: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match panicked {
            Some(text) => Err(text.into()),
            None => {
                myself.stop(None);
                Ok(())
            }
        }
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Ended>,
        state: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.cancel();
        // A panic on the way out is one that nobody has to hear of any more.
        let _ = (&mut state.task).await;
        Ok(())
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic that says nothing".to_owned())
}
