//! The handle to the entities of a kind, and what its shards share.

use std::{
    hash::{BuildHasher, RandomState},
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

use super::{
    Config, EntityError, Kind, Quarantined,
    core::{Bounds, Phase},
    life::Life,
    shard::{Pending, Reply, Shard, ShardMessage},
    view::View,
};
use crate::supervision::{
    ChildSpec, Handle, NodeState, StartError, Stopping, Supervisor, SupervisorSpec, TreeNode,
};

/// Idle entities are looked for so often within the time they may be idle.
const SWEEPS_PER_IDLE: u32 = 4;
/// How long writing everything away may take when the node stops.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// All entities of a kind, wherever they live. Cheap to clone.
pub struct Entities<K: Kind>(Arc<Shared<K>>);

/// What the handle, the shards and the tasks beside them share.
pub(super) struct Shared<K: Kind> {
    pub(super) kind: K,
    pub(super) bounds: Bounds,
    pub(super) shards: Box<[Handle<ShardMessage<K>>]>,
    pub(super) views: Box<[View<K::Id>]>,
    /// The present life of each shard.
    lives: Box<[Mutex<Life>]>,
    admission: Arc<Semaphore>,
    capacity: usize,
    hasher: RandomState,
    began: Instant,
}

impl<K: Kind> Entities<K> {
    /// Starts the shards under a supervisor. Its orderly stop writes every entity away.
    pub async fn start_under(
        supervisor: &Supervisor,
        config: &Config,
        kind: K,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            kind,
            bounds: Bounds {
                queue: config.entity_queue,
                idle: config.idle,
                restarts: config.restarts,
                window: config.restart_window,
                cool_down: config.cool_down,
            },
            shards: (0..config.shards).map(|_| Handle::new()).collect(),
            views: (0..config.shards).map(|_| View::default()).collect(),
            lives: (0..config.shards).map(|_| Mutex::default()).collect(),
            admission: Arc::new(Semaphore::new(config.host_queue)),
            capacity: config.host_queue,
            hasher: RandomState::new(),
            began: Instant::now(),
        });
        let mut spec = SupervisorSpec::new(format!("entities:{}", K::NAME));
        for index in 0..config.shards {
            spec = spec.child(shard(&shared, index));
        }
        let shown = Arc::clone(&shared);
        let host = ChildSpec::supervisor(spec).report(move || shown.nodes());
        supervisor.add(host).await?;
        Ok(Self(shared))
    }

    /// Gives an entity a message. Returns once it is in the entity's queue.
    pub async fn tell(&self, id: &K::Id, message: K::Message) -> Result<(), EntityError> {
        let (reply_to, taken) = oneshot::channel();
        self.deliver(id, message, Reply::Taken(Some(reply_to)))?;
        taken.await.unwrap_or(Err(EntityError::OutcomeUnknown))
    }

    /// Gives an entity a message, and waits for its answer.
    pub async fn ask(&self, id: &K::Id, message: K::Message) -> Result<K::Reply, EntityError> {
        let (reply_to, answer) = oneshot::channel();
        self.deliver(id, message, Reply::Answered(reply_to))?;
        answer.await.unwrap_or(Err(EntityError::OutcomeUnknown))
    }

    /// Lets an entity out of quarantine; says whether it was in.
    pub async fn release(&self, id: &K::Id) -> Result<bool, EntityError> {
        let ask = |reply_to| ShardMessage::Release {
            id: id.clone(),
            reply_to,
        };
        let asked = self.0.shard_of(id).call(ask).await;
        asked.map_err(|_| EntityError::Unavailable)
    }

    /// Entities in quarantine on this node.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.0.quarantined()
    }

    /// How many entities this node holds in memory.
    pub fn active(&self) -> u64 {
        self.0.count(Phase::Active)
    }

    fn deliver(&self, id: &K::Id, message: K::Message, reply: Reply<K>) -> Result<(), EntityError> {
        let shared = &self.0;
        let permit = Arc::clone(&shared.admission).try_acquire_owned();
        let permit = permit.map_err(|_| EntityError::Overloaded)?;
        let pending = Box::new(Pending {
            message,
            reply,
            permit,
        });
        let id = id.clone();
        let handed = shared
            .shard_of(&id)
            .cast(ShardMessage::Deliver { id, pending });
        handed.map_err(|_| EntityError::Unavailable)
    }

    /// Makes the shard of an entity panic.
    #[cfg(test)]
    pub(super) fn crash_shard_of(&self, id: &K::Id) {
        let crashed = self.0.shard_of(id).cast(ShardMessage::Crash);
        assert!(crashed.is_ok(), "the shard runs");
    }
}

impl<K: Kind> Clone for Entities<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Kind> std::fmt::Debug for Entities<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entities")
            .field("kind", &K::NAME)
            .finish_non_exhaustive()
    }
}

impl<K: Kind> Shared<K> {
    /// The time as cores have it.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn sweep_every(&self) -> Duration {
        (self.bounds.idle / SWEEPS_PER_IDLE).max(Duration::from_millis(10))
    }

    /// Begins a life of a shard, once nothing of the one before runs any more.
    pub(super) async fn live(&self, index: usize) -> Life {
        let before = self.lives[index].lock().clone();
        before.end().await;
        let life = Life::default();
        *self.lives[index].lock() = life.clone();
        life
    }

    fn shard_of(&self, id: &K::Id) -> &Handle<ShardMessage<K>> {
        let index = self.hasher.hash_one(id) as usize % self.shards.len();
        &self.shards[index]
    }

    /// Messages admitted and not handled yet.
    fn waiting(&self) -> usize {
        self.capacity - self.admission.available_permits()
    }

    fn count(&self, phase: Phase) -> u64 {
        self.views.iter().map(|view| view.count(phase)).sum()
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        let views = self.views.iter();
        views
            .flat_map(|view| view.in_quarantine(K::label, K::tenant))
            .collect()
    }

    /// Entities of this kind as one node, and those in quarantine one by one.
    fn nodes(&self) -> Vec<TreeNode> {
        let count = [Phase::Activating, Phase::Active, Phase::Passivating]
            .map(|phase| self.count(phase))
            .iter()
            .sum();
        let children = self.quarantined().into_iter().map(|entity| TreeNode {
            state: NodeState::Quarantined,
            age_ms: entity.age_ms,
            last_failure: Some(entity.failure),
            tenant: entity.tenant,
            ..self.node(entity.id, 1)
        });
        vec![TreeNode {
            restarts: self.views.iter().map(View::restarts).sum(),
            queue_depth: self.waiting() as u64,
            age_ms: crate::supervision::age_ms(self.began),
            children: children.collect(),
            ..self.node(K::NAME.to_owned(), count)
        }]
    }

    fn node(&self, name: String, count: u64) -> TreeNode {
        TreeNode {
            name,
            kind: K::NAME.to_owned(),
            state: NodeState::Running,
            count,
            restarts: 0,
            queue_depth: 0,
            age_ms: 0,
            last_failure: None,
            tenant: None,
            children: Vec::new(),
        }
    }
}

fn shard<K: Kind>(shared: &Arc<Shared<K>>, index: usize) -> ChildSpec {
    let (started, told) = (Arc::clone(shared), Arc::clone(shared));
    let make = move || (Shard(PhantomData), (Arc::clone(&started), index));
    let drain = move |_: &_| {
        // A shard that is down has nothing to drain.
        let _ = told.shards[index].cast(ShardMessage::Drain);
    };
    ChildSpec::actor(
        format!("shard-{index}"),
        "entities",
        &shared.shards[index],
        make,
    )
    .stopping(Stopping::Tell(Arc::new(drain)))
    .shutdown(SHUTDOWN)
}
