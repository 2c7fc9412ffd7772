//! What nodes share, in memory, for tests: frames and snapshots that can be lost.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use quikapp_storage::{
    Addresses, Advance, Channel, Gossip, Kept, NotShared, Rate, Shared, SharedCounters, Snapshots,
};
use tokio::{sync::mpsc, time::Instant};

const KEPT_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct World {
    ears: Mutex<Vec<(Channel, mpsc::Sender<Bytes>)>>,
    kept: Mutex<HashMap<u64, (Instant, Kept)>>,
}

/// What all nodes share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(Arc<World>);

/// One node's end of it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    world: Arc<World>,
    /// It can neither tell nor read.
    cut: Arc<AtomicBool>,
    /// What it tells is lost, and it does not know.
    lossy: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn end(&self) -> End {
        End {
            world: Arc::clone(&self.0),
            cut: Arc::default(),
            lossy: Arc::default(),
        }
    }

    /// Everything that is kept is gone.
    pub(crate) fn forget(&self) {
        self.0.kept.lock().clear();
    }
}

impl End {
    pub(crate) fn shared(&self) -> Shared {
        let all = Arc::new(self.clone());
        Shared {
            counters: all.clone(),
            gossip: all.clone(),
            snapshots: all.clone(),
            addresses: all,
        }
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, lossy: bool) {
        self.lossy.store(lossy, Ordering::Relaxed);
    }

    fn reach(&self) -> Result<&World, NotShared> {
        match self.cut.load(Ordering::Relaxed) {
            true => Err(NotShared("cut".into())),
            false => Ok(&self.world),
        }
    }

    fn send(&self, channel: Channel, frame: &Bytes) {
        if !self.lossy.load(Ordering::Relaxed) {
            let ears = self.world.ears.lock();
            for (_, ear) in ears.iter().filter(|(of, _)| *of == channel) {
                let _ = ear.try_send(frame.clone());
            }
        }
    }
}

#[async_trait]
impl SharedCounters for End {
    async fn admit(&self, _: &str, _: Rate) -> Option<Result<(), Duration>> {
        None
    }
}

#[async_trait]
impl Addresses for End {
    async fn put(&self, _: u64, _: &str) -> Result<(), NotShared> {
        Err(NotShared("not here".into()))
    }

    async fn find(&self, _: u64) -> Result<Option<String>, NotShared> {
        Ok(None)
    }
}

#[async_trait]
impl Gossip for End {
    async fn tell(&self, channel: Channel, frame: Bytes) -> Result<(), NotShared> {
        self.reach()?;
        self.send(channel, &frame);
        Ok(())
    }

    fn hear(&self, channel: Channel) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(1024);
        self.world.ears.lock().push((channel, sender));
        receiver
    }
}

#[async_trait]
impl Snapshots for End {
    async fn advance(&self, steps: Vec<Advance>) -> Result<Vec<bool>, NotShared> {
        let mut kept = self.reach()?.kept.lock();
        let done = steps.into_iter().map(|step| {
            let Some((until, all)) = kept.get_mut(&step.replica) else {
                return false;
            };
            if all.clock != step.from {
                return false;
            }
            *until = Instant::now() + KEPT_FOR;
            all.clock = step.to;
            all.records.retain(|(at, _)| !step.removed.contains(at));
            all.records.extend(step.added);
            self.send(Channel::Presence, &step.frame);
            true
        });
        Ok(done.collect())
    }

    async fn replace(&self, replica: u64, all: Kept) -> Result<(), NotShared> {
        let until = Instant::now() + KEPT_FOR;
        self.reach()?.kept.lock().insert(replica, (until, all));
        Ok(())
    }

    async fn read(&self, replica: u64) -> Result<Option<Kept>, NotShared> {
        let kept = self.reach()?.kept.lock();
        let found = kept.get(&replica);
        let found = found.filter(|(until, _)| *until > Instant::now());
        Ok(found.map(|(_, all)| all.clone()))
    }

    async fn renew(&self, replicas: &[u64]) -> Result<Vec<bool>, NotShared> {
        let mut kept = self.reach()?.kept.lock();
        let until = Instant::now() + KEPT_FOR;
        let was_there = replicas.iter().map(|replica| {
            let found = kept.get_mut(replica);
            found.map(|(at, _)| *at = until).is_some()
        });
        Ok(was_there.collect())
    }
}
