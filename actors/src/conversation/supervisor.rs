//! What keeps the sequencers running.
//!
//! Restart policy: one for one. A shard that panicked is started again under the same handle,
//! empty: it begins with nothing, so what made it fail does not come back with it. A shard that
//! has drained has done its work.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    handle::{Shared, poll_tails},
    shard::{Shard, ShardArgs, ShardMessage},
};
use crate::supervision::{ChildSpec, Stopping, SupervisorSpec};

/// The shards, and the task that looks for what other processes wrote.
pub(super) fn spec(shared: &Arc<Shared>) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new("conversations");
    for index in 0..shared.shards.len() {
        spec = spec.child(shard(shared, index));
    }
    let polled = Arc::clone(shared);
    spec.child(ChildSpec::task("tails", "tails", move |stop| {
        poll_tails(Arc::clone(&polled), stop)
    }))
}

fn shard(shared: &Arc<Shared>, index: usize) -> ChildSpec {
    let (started, told, counted) = (shared.clone(), shared.clone(), shared.clone());
    let handle = &shared.shards[index];
    let make = move || {
        let shared = Arc::clone(&started);
        (Shard, ShardArgs { shared })
    };
    let drain = move |_: &_| {
        let (reply_to, _) = oneshot::channel();
        // A shard that is down has nothing to drain.
        let _ = told.shards[index].cast(ShardMessage::Drain { reply_to });
    };
    ChildSpec::actor(format!("shard-{index}"), "conversations", handle, make)
        .stopping(Stopping::Tell(Arc::new(drain)))
        .queue(move || counted.waiting(index))
}
