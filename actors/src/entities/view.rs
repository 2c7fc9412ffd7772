//! What a shard shows of its entities: written by the shard, read by anybody.

use std::{collections::HashMap, hash::Hash, sync::atomic::AtomicU64, sync::atomic::Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::core::Phase;

/// An entity in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Which, for people.
    pub id: String,
    /// The workspace it belongs to, if it belongs to one.
    pub tenant: Option<String>,
    /// What it failed of the last time.
    pub failure: String,
    /// For how long it has been there, in milliseconds.
    pub age_ms: u64,
}

/// Counts of one shard.
#[derive(Debug)]
pub(super) struct View<I> {
    phases: [AtomicU64; 5],
    restarts: AtomicU64,
    quarantined: Mutex<HashMap<I, (String, Instant)>>,
}

impl<I> Default for View<I> {
    fn default() -> Self {
        Self {
            phases: Default::default(),
            restarts: AtomicU64::new(0),
            quarantined: Mutex::default(),
        }
    }
}

impl<I: Clone + Eq + Hash> View<I> {
    /// A shard begins with nothing.
    pub(super) fn clear(&self) {
        for phase in &self.phases {
            phase.store(0, Ordering::Relaxed);
        }
        self.quarantined.lock().clear();
    }

    pub(super) fn moved(&self, id: &I, from: Option<Phase>, to: Option<Phase>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.phases[from as usize].fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(to) = to {
            self.phases[to as usize].fetch_add(1, Ordering::Relaxed);
        }
        if from == Some(Phase::Quarantined) {
            self.quarantined.lock().remove(id);
        }
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn quarantined(&self, id: &I, failure: &str) {
        let since = (failure.to_owned(), Instant::now());
        self.quarantined.lock().insert(id.clone(), since);
    }

    pub(super) fn count(&self, phase: Phase) -> u64 {
        self.phases[phase as usize].load(Ordering::Relaxed)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn in_quarantine(
        &self,
        label: impl Fn(&I) -> String,
        tenant: impl Fn(&I) -> Option<String>,
    ) -> Vec<Quarantined> {
        let quarantined = self.quarantined.lock();
        let shown = quarantined
            .iter()
            .map(|(id, (failure, since))| Quarantined {
                id: label(id),
                tenant: tenant(id),
                failure: failure.clone(),
                age_ms: crate::supervision::age_ms(*since),
            });
        shown.collect()
    }
}
