//! One store out of several: each concern is kept by the store that was chosen for it.
//!
//! The log is the only truth, and its store alone decides what was appended. Whatever another
//! store keeps is either independent of it (people, security), or follows from it: the read marks
//! that an append moves are folded in after the append, and again from the log by whoever takes
//! the conversation next, so that a crash between two stores leaves nothing wrong for good. Nothing
//! is written to two stores and believed of both.

mod delegate;
mod delivery;
mod fold;
mod log;
mod registers;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use self::{fold::Folder, registers::Detached};
use crate::{
    DetachedRegisters, DocumentKeeper, Health, LogKeeper, SecurityStore, SharedDocuments,
    SharedLog, SharedStore, Store,
};

/// What a store must be able to do in order to keep any concern.
pub trait Keeper: Store + DetachedRegisters + LogKeeper + DocumentKeeper {}

impl<T: Store + DetachedRegisters> Keeper for T {}

/// How such a store is handed about.
pub type SharedKeeper = Arc<dyn Keeper>;

/// Which store keeps which concern.
#[derive(Clone)]
pub struct Keepers {
    /// Conversations, members, entries and the folded view of messages.
    pub log: SharedLog,
    /// Marks, drafts, mutes, the cursors of devices, and what is projected beside them: the
    /// store-and-forward queue and counts per thread, with the projections' cursors.
    pub registers: SharedKeeper,
    /// What is to happen later.
    pub timers: SharedKeeper,
    /// Profiles, blocks and preferences.
    pub people: SharedKeeper,
    /// Registered devices.
    pub devices: SharedDocuments,
    /// Tickets and revocations.
    pub security: SharedKeeper,
}

impl Keepers {
    /// One store for everything.
    pub fn all(keeper: &SharedKeeper) -> Self {
        Self {
            log: Arc::<dyn Keeper>::clone(keeper),
            registers: Arc::clone(keeper),
            timers: Arc::clone(keeper),
            people: Arc::clone(keeper),
            devices: Arc::<dyn Keeper>::clone(keeper),
            security: Arc::clone(keeper),
        }
    }

    /// The different stores among them, without one that keeps only the log, or devices.
    fn distinct(&self) -> Vec<SharedStore> {
        let mut distinct: Vec<SharedStore> = Vec::new();
        let all = [&self.registers, &self.timers, &self.people, &self.security];
        for keeper in all {
            let store: SharedStore = Arc::<dyn Keeper>::clone(keeper);
            if !distinct.iter().any(|known| same(known, &store)) {
                distinct.push(store);
            }
        }
        distinct
    }
}

/// Whether two handles lead to one store.
fn same<A: ?Sized, B: ?Sized>(a: &Arc<A>, b: &Arc<B>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

/// Composes a store. Where one store keeps everything this is that store itself, with its
/// transactions over all concerns. Needs a runtime.
pub fn compose(keepers: &Keepers) -> SharedStore {
    let distinct = keepers.distinct();
    if let [only] = distinct.as_slice()
        && same(only, &keepers.log)
        && same(only, &keepers.devices)
    {
        return Arc::clone(only);
    }
    let security: SharedStore = Arc::<dyn Keeper>::clone(&keepers.security);
    Arc::new(Composed::new(keepers, distinct, security))
}

/// The same with something in front of the store of tickets and revocations.
pub(crate) fn compose_with(keepers: &Keepers, security: Arc<dyn SecurityStore>) -> SharedStore {
    Arc::new(Composed::new(keepers, keepers.distinct(), security))
}

/// Several stores as one.
struct Composed {
    log: SharedLog,
    registers: Registers,
    /// The store that keeps registers, wherever the log is.
    beside: SharedStore,
    timers: SharedStore,
    people: SharedStore,
    devices: SharedDocuments,
    security: Arc<dyn SecurityStore>,
    /// All of them but the log's and that of devices, unless it keeps something else too.
    distinct: Vec<SharedStore>,
}

/// Where registers are.
enum Registers {
    /// In the store of the log, which moves marks in the transaction of the append.
    WithLog,
    /// In another.
    Detached(Detached, Folder),
}

impl Composed {
    fn new(
        keepers: &Keepers,
        distinct: Vec<SharedStore>,
        security: Arc<dyn SecurityStore>,
    ) -> Self {
        let log = Arc::clone(&keepers.log);
        let registers = if same(&keepers.log, &keepers.registers) {
            Registers::WithLog
        } else {
            let registers: Arc<dyn DetachedRegisters> =
                Arc::<dyn Keeper>::clone(&keepers.registers);
            Registers::Detached(
                Detached::new(Arc::clone(&log), Arc::clone(&registers)),
                Folder::start(Arc::clone(&log), registers),
            )
        };
        Self {
            log,
            registers,
            beside: Arc::<dyn Keeper>::clone(&keepers.registers),
            timers: Arc::<dyn Keeper>::clone(&keepers.timers),
            people: Arc::<dyn Keeper>::clone(&keepers.people),
            devices: Arc::clone(&keepers.devices),
            security,
            distinct,
        }
    }
}

impl Composed {
    /// The store of devices, if it is none of those that keep something else too.
    fn devices_apart(&self) -> Option<&SharedDocuments> {
        let mut others = self.distinct.iter();
        let is_apart = !others.any(|store| same(store, &self.devices));
        is_apart.then_some(&self.devices)
    }
}

#[async_trait]
impl Store for Composed {
    /// Cursors are issued by the store of the log, so its name counts.
    fn store_id(&self) -> Uuid {
        self.log.log_id()
    }

    async fn health(&self) -> Health {
        let mut all = self.log.log_health().await;
        let mut others = Vec::new();
        if let Some(devices) = self.devices_apart() {
            others.push(devices.documents_health().await);
        }
        for store in &self.distinct {
            others.push(store.health().await);
        }
        for one in others {
            all.writable &= one.writable;
            all.detail = all.detail.or(one.detail);
            all.latency_us = all.latency_us.max(one.latency_us);
        }
        all
    }

    async fn close(&self) {
        self.log.close_log().await;
        self.devices.close_documents().await;
        for store in &self.distinct {
            store.close().await;
        }
    }
}
