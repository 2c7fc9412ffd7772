//! Keeps the shards running.
//!
//! Restart policy: a shard that panicked is started again at once, empty, under the same handle.
//! It begins with nothing, so what made it fail does not come back with it.

use std::sync::Arc;

use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::{
    handle::Shared,
    shard::{Shard, ShardArgs, ShardMessage},
};

/// Where the shards are reached; restarts replace the references in it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shards(Arc<RwLock<Vec<ActorRef<ShardMessage>>>>);

impl Shards {
    /// The shard with a number.
    pub(crate) fn get(&self, index: usize) -> Option<ActorRef<ShardMessage>> {
        self.0.read().get(index).cloned()
    }

    /// All shards.
    pub(crate) fn all(&self) -> Vec<ActorRef<ShardMessage>> {
        self.0.read().clone()
    }
}

/// A supervisor needs no messages of its own.
#[derive(Debug)]
pub(crate) enum SupervisorMessage {}

impl ractor::Message for SupervisorMessage {}

/// What the supervisor starts with.
#[derive(Debug)]
pub(crate) struct SupervisorArgs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) shards: Shards,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Supervisor;

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorArgs;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        args: SupervisorArgs,
    ) -> Result<SupervisorArgs, ActorProcessingErr> {
        for _ in 0..args.shared.config.shards {
            let shard = start(&myself, &args.shared).await?;
            args.shards.0.write().push(shard);
        }
        Ok(args)
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        _state: &mut SupervisorArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {}
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorArgs,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(failed, error) = event {
            tracing::error!(%error, "a shard of conversations failed and is restarted");
            metrics::counter!("quikapp_actor_restarts_total", "kind" => "conversations")
                .increment(1);
            let started = start(&myself, &state.shared).await?;
            let mut shards = state.shards.0.write();
            if let Some(shard) = shards.iter_mut().find(|it| it.get_id() == failed.get_id()) {
                *shard = started;
            }
        }
        Ok(())
    }
}

async fn start(
    supervisor: &ActorRef<SupervisorMessage>,
    shared: &Arc<Shared>,
) -> Result<ActorRef<ShardMessage>, ActorProcessingErr> {
    let args = ShardArgs {
        shared: Arc::clone(shared),
    };
    let (shard, _) = Shard::spawn_linked(None, Shard, args, supervisor.get_cell()).await?;
    Ok(shard)
}
