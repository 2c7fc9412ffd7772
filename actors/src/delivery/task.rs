//! The tasks of delivery, as children of a supervisor.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::supervision::ChildSpec;

/// A task that runs until it returns, or until it or all are told to stop. Restart policy: after
/// a panic it is started again; what it works on lies in the store.
pub(super) fn task<F>(
    tasks: &TaskTracker,
    stopping: &CancellationToken,
    kind: &'static str,
    run: impl Fn() -> F + Send + Sync + 'static,
) -> ChildSpec
where
    F: Future<Output = ()> + Send + 'static,
{
    let (tasks, stopping) = (tasks.clone(), stopping.clone());
    ChildSpec::task(kind, kind, move |stop| {
        let (run, stopping) = (run(), stopping.clone());
        tasks.track_future(async move {
            tokio::select! {
                () = run => {}
                () = stop.cancelled() => {}
                () = stopping.cancelled() => {}
            }
        })
    })
}
