//! Tasks that start again after a panic.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a task that panicked rests before it starts again.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Runs a task until it returns, or until all are told to stop. Restart policy: after a panic it
/// is started again, after a rest, as often as it takes; what it works on lies in the store.
pub(super) fn supervise<F>(
    tasks: &TaskTracker,
    stopping: &CancellationToken,
    kind: &'static str,
    run: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stopping = stopping.clone();
    tasks.spawn(async move {
        loop {
            let mut task = tokio::spawn(run());
            let ended = tokio::select! {
                ended = &mut task => ended,
                () = stopping.cancelled() => {
                    task.abort();
                    return;
                }
            };
            let Err(error) = ended else { return };
            tracing::error!(%error, kind, "a task failed and is restarted");
            metrics::counter!("quikapp_actor_restarts_total", "kind" => kind).increment(1);
            tokio::time::sleep(BACK_OFF).await;
        }
    });
}
