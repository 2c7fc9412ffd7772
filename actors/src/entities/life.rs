//! What a shard has under way, which ends with it.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tasks beside one life of a shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Life {
    /// Runs a task until it is done or this life is over.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        self.tasks.spawn(async move {
            over.run_until_cancelled(task).await;
        });
    }

    /// Cuts off what is under way. Whoever waits for an answer of it is told that there is none.
    pub(super) fn cut_off(&self) {
        self.over.cancel();
    }

    /// Cuts off what is under way; returns once none of it runs any more.
    pub(super) async fn end(&self) {
        self.cut_off();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
