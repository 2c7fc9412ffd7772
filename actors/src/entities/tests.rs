//! Counters as entities, on real shards, with a store in memory.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::*;
use crate::{
    metrics_kit::Metrics,
    supervision::{Ending, NodeState, Supervisor, SupervisorSpec, TreeNode},
};

#[derive(Debug, Clone, Default)]
struct Counters {
    kept: Arc<Mutex<HashMap<String, u64>>>,
    activations: Arc<AtomicUsize>,
    passivations: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
    /// Handling and passivating wait for it while it is held.
    gate: Arc<tokio::sync::RwLock<()>>,
    /// Told when a passivation waits at the gate.
    passivating: Arc<Notify>,
    work: Arc<Mutex<Work>>,
}

/// How many tasks are at work on each entity, and how many were at most on one.
#[derive(Debug, Default)]
struct Work {
    now: HashMap<String, usize>,
    most: usize,
}

/// A task at work.
struct AtWork(Arc<Mutex<Work>>, String);

impl Counters {
    fn at_work(&self, id: &str) -> AtWork {
        let mut work = self.work.lock();
        let now = work.now.entry(id.to_owned()).or_default();
        *now += 1;
        let now = *now;
        work.most = work.most.max(now);
        AtWork(self.work.clone(), id.to_owned())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        *self.0.lock().now.get_mut(&self.1).unwrap() -= 1;
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Say {
    Add(u64),
    Read,
    Panic,
}

impl Kind for Counters {
    const NAME: &'static str = "counter";
    type Id = String;
    type Message = Say;
    type Reply = u64;
    type Entity = u64;

    fn label(id: &String) -> String {
        id.clone()
    }

    fn tenant(_: &String) -> Option<String> {
        None
    }

    async fn activate(&self, id: &String) -> Result<u64, ActivateError> {
        let _at_work = self.at_work(id);
        self.activations.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(ActivateError("down".into())),
            false => Ok(self.kept.lock().get(id).copied().unwrap_or_default()),
        }
    }

    async fn handle(&self, id: &String, count: &mut u64, message: Say) -> u64 {
        let _at_work = self.at_work(id);
        let _open = self.gate.read().await;
        match message {
            Say::Add(n) => {
                *count += n;
                // Half of the counters write only when they go.
                if id.starts_with("durable") {
                    self.kept.lock().insert(id.clone(), *count);
                }
            }
            Say::Read => {}
            Say::Panic => panic!("poisoned"),
        }
        *count
    }

    async fn passivate(&self, id: &String, count: &mut u64) -> Result<(), ActivateError> {
        let _at_work = self.at_work(id);
        self.passivating.notify_one();
        let _open = self.gate.read().await;
        self.kept.lock().insert(id.clone(), *count);
        self.passivations.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct Kit {
    counters: Counters,
    entities: Entities<Counters>,
    supervisor: Supervisor,
}

impl Kit {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let supervisor = Supervisor::start(SupervisorSpec::new("test"));
        let counters = Counters::default();
        let entities = Entities::start_under(&supervisor, &config, counters.clone());
        Self {
            entities: entities.await.unwrap(),
            counters,
            supervisor,
        }
    }

    async fn ask(&self, id: &str, message: Say) -> Result<u64, EntityError> {
        self.entities.ask(&id.to_owned(), message).await
    }

    async fn tell(&self, id: &str, message: Say) -> Result<(), EntityError> {
        self.entities.tell(&id.to_owned(), message).await
    }

    /// What the tree shows of the kind.
    fn shown(&self) -> TreeNode {
        let mut shown = None;
        self.supervisor.tree().walk(&mut |node| {
            if node.name == Counters::NAME {
                shown = Some(node.clone());
            }
        });
        shown.unwrap()
    }

    /// Hands an entity a message, to whichever life takes it.
    async fn insist(&self, id: &str, message: impl Fn() -> Say) {
        while self.tell(id, message()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        for _ in 0..5_000 {
            if is_true(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{what} did not happen");
    }
}

fn idle_after(millis: u64) -> Config {
    Config {
        idle: Duration::from_millis(millis),
        ..Config::default()
    }
}

#[tokio::test]
async fn many_first_messages_activate_once() {
    let kit = Kit::new().await;
    let adds = (0..100).map(|_| kit.ask("a", Say::Add(1)));
    let outcomes = join_all(adds).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(kit.ask("a", Say::Read).await, Ok(100));
    assert_eq!(kit.counters.activations.load(Ordering::SeqCst), 1);
    assert_eq!(kit.entities.active(), 1);
}

#[tokio::test]
async fn an_idle_entity_is_written_away_and_comes_back_as_it_was() {
    let kit = Kit::with(idle_after(20)).await;
    kit.tell("a", Say::Add(7)).await.unwrap();
    kit.until("passivation", |kit| {
        kit.counters.passivations.load(Ordering::SeqCst) == 1 && kit.entities.active() == 0
    })
    .await;
    assert_eq!(kit.counters.kept.lock().get("a"), Some(&7));
    assert_eq!(kit.ask("a", Say::Read).await, Ok(7));
    assert_eq!(kit.counters.activations.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_message_during_passivation_waits_and_is_handled() {
    let kit = Kit::with(idle_after(20)).await;
    kit.ask("a", Say::Add(1)).await.unwrap();
    let closed = kit.counters.gate.clone().write_owned().await;
    kit.counters.passivating.notified().await;
    let id = "a".to_owned();
    let late = kit.entities.ask(&id, Say::Add(1));
    let opening = async {
        kit.tell("a", Say::Add(1)).await.unwrap();
        drop(closed);
    };
    let (late, ()) = tokio::join!(late, opening);
    assert!(late.is_ok());
    assert_eq!(kit.ask("a", Say::Read).await, Ok(3));
    assert!(kit.counters.activations.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn full_queues_say_overloaded() {
    let config = Config {
        entity_queue: 2,
        host_queue: 6,
        shards: 1,
        ..Config::default()
    };
    let kit = Kit::with(config).await;
    kit.ask("a", Say::Read).await.unwrap();
    let closed = kit.counters.gate.clone().write_owned().await;
    // One in hand, two in the queue of the entity.
    for _ in 0..3 {
        kit.tell("a", Say::Add(1)).await.unwrap();
    }
    assert_eq!(
        kit.tell("a", Say::Add(1)).await,
        Err(EntityError::Overloaded)
    );
    assert_eq!(kit.ask("a", Say::Read).await, Err(EntityError::Overloaded));
    // The host holds three more, and then nobody gets in.
    for id in ["b", "c", "d"] {
        kit.tell(id, Say::Add(1)).await.unwrap();
    }
    assert_eq!(
        kit.tell("e", Say::Add(1)).await,
        Err(EntityError::Overloaded)
    );
    drop(closed);
    let mut read = kit.ask("a", Say::Read).await;
    while read == Err(EntityError::Overloaded) {
        tokio::task::yield_now().await;
        read = kit.ask("a", Say::Read).await;
    }
    assert_eq!(read, Ok(3), "nothing was lost");
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_the_state_is_that_of_the_store() {
    let kit = Kit::new().await;
    kit.ask("durable", Say::Add(5)).await.unwrap();
    let closed = kit.counters.gate.clone().write_owned().await;
    let (first, second, third, ()) = tokio::join!(
        kit.ask("durable", Say::Add(1)),
        kit.ask("durable", Say::Panic),
        kit.ask("durable", Say::Add(1)),
        async { drop(closed) },
    );
    assert_eq!(first, Ok(6));
    assert_eq!(second, Err(EntityError::OutcomeUnknown));
    assert_eq!(third, Ok(7), "what waited behind it is handled");
    assert_eq!(kit.counters.activations.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_poisoned_entity_is_quarantined_reported_and_released() {
    let kit = Kit::new().await;
    for _ in 0..4 {
        let lost = kit.ask("bad", Say::Panic).await;
        assert_eq!(lost, Err(EntityError::OutcomeUnknown));
    }
    kit.until("quarantine", |kit| !kit.entities.quarantined().is_empty())
        .await;
    let refused = kit.ask("bad", Say::Read).await.unwrap_err();
    assert!(matches!(refused, EntityError::Quarantined { retry_after_ms } if retry_after_ms > 0));
    assert!(refused.is_retryable());
    assert_eq!(kit.ask("good", Say::Add(1)).await, Ok(1), "others go on");
    let shown = &kit.entities.quarantined()[0];
    assert_eq!((&*shown.id, &*shown.failure), ("bad", "poisoned"));
    let mut in_tree = Vec::new();
    kit.supervisor.tree().walk(&mut |node| {
        if node.state == NodeState::Quarantined {
            in_tree.push(node.name.clone());
        }
    });
    assert_eq!(in_tree, ["bad"]);
    let id = "bad".to_owned();
    assert_eq!(kit.entities.release(&id).await, Ok(true));
    assert_eq!(kit.entities.release(&id).await, Ok(false));
    assert_eq!(kit.ask("bad", Say::Read).await, Ok(0));
    assert!(kit.entities.quarantined().is_empty());
}

#[tokio::test(start_paused = true)]
async fn quarantine_ends_by_itself() {
    let kit = Kit::new().await;
    for _ in 0..4 {
        let _ = kit.ask("bad", Say::Panic).await;
    }
    let refused = kit.ask("bad", Say::Read).await.unwrap_err();
    let EntityError::Quarantined { retry_after_ms } = refused else {
        panic!("{refused:?}");
    };
    tokio::time::sleep(Duration::from_millis(retry_after_ms + 1)).await;
    assert_eq!(kit.ask("bad", Say::Read).await, Ok(0));
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_no_strike() {
    let kit = Kit::new().await;
    kit.counters.is_down.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let refused = kit.ask("a", Say::Read).await;
        assert_eq!(refused, Err(EntityError::Unavailable));
    }
    kit.counters.is_down.store(false, Ordering::SeqCst);
    assert_eq!(kit.ask("a", Say::Read).await, Ok(0));
}

#[tokio::test]
async fn stopping_handles_what_was_admitted_and_writes_everything() {
    let kit = Kit::new().await;
    for n in 0..50 {
        for _ in 0..20 {
            kit.tell(&format!("c{n}"), Say::Add(1)).await.unwrap();
        }
    }
    assert_eq!(kit.supervisor.stop().await, Ending::Stopped);
    let kept = kit.counters.kept.lock().clone();
    assert_eq!(kept.len(), 50);
    assert!(kept.values().all(|count| *count == 20));
    let late = kit.ask("c1", Say::Read).await;
    assert_eq!(late, Err(EntityError::Unavailable));
}

#[tokio::test]
async fn after_a_shards_panic_its_entities_are_reached_through_the_same_handle() {
    let kit = Kit::new().await;
    kit.ask("durable", Say::Add(5)).await.unwrap();
    kit.entities.crash_shard_of(&"durable".to_owned());
    let mut asked = kit.ask("durable", Say::Read).await;
    while asked.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        asked = kit.ask("durable", Say::Read).await;
    }
    assert_eq!(asked, Ok(5));
    assert_eq!(kit.entities.active(), 1);
}

/// What a shard had under way when it failed ends with it: nothing of it runs beside what the next
/// life does, and nothing of it reaches there.
#[tokio::test]
async fn a_task_of_the_life_before_neither_runs_on_nor_reaches_the_next() {
    let kit = Kit::new().await;
    kit.ask("a", Say::Add(1)).await.unwrap();
    let closed = kit.counters.gate.clone().write_owned().await;
    let first = tokio::spawn({
        let entities = kit.entities.clone();
        async move { entities.ask(&"a".to_owned(), Say::Add(10)).await }
    });
    kit.until("the first is in hand", |kit| {
        kit.counters.work.lock().now.get("a") == Some(&1)
    })
    .await;
    kit.entities.crash_shard_of(&"a".to_owned());
    kit.insist("a", || Say::Add(100)).await;
    kit.until("the next life has begun", |kit| {
        kit.counters.activations.load(Ordering::SeqCst) == 2
    })
    .await;
    drop(closed);
    assert_eq!(first.await.unwrap(), Err(EntityError::OutcomeUnknown));
    assert_eq!(kit.ask("a", Say::Read).await, Ok(100));
    assert_eq!(kit.counters.work.lock().most, 1, "one at a time");
}

/// What waits for entities is shown at their kind, in the tree and in the metrics.
#[tokio::test]
async fn what_waits_is_shown_at_its_kind() {
    let (kit, metrics) = (Kit::new().await, Metrics::new());
    let closed = kit.counters.gate.clone().write_owned().await;
    for id in ["a", "a", "a", "b", "b"] {
        kit.tell(id, Say::Add(1)).await.unwrap();
    }
    assert_eq!(kit.shown().queue_depth, 5);
    let depth = |kind: &str| {
        let _collecting = metrics.collecting();
        kit.supervisor.tree().record();
        metrics.value(&format!("quikapp_actor_queue_depth{{kind=\"{kind}\"}}"))
    };
    assert_eq!(depth("counter"), Some(5.0));
    assert_eq!(depth("supervisor"), Some(0.0));
    drop(closed);
    kit.until("all is handled", |kit| kit.shown().queue_depth == 0)
        .await;
    assert_eq!(depth("counter"), Some(0.0));
}

/// Restarts and quarantines are counted, and shown with the reason.
#[tokio::test]
async fn what_fails_is_counted_and_shown() {
    let metrics = Metrics::new();
    let _collecting = metrics.collecting();
    let kit = Kit::new().await;
    for _ in 0..4 {
        let _ = kit.ask("bad", Say::Panic).await;
    }
    kit.until("quarantine", |kit| !kit.entities.quarantined().is_empty())
        .await;
    let shown = kit.shown();
    assert_eq!((shown.count, shown.restarts), (0, 3));
    assert_eq!(shown.children[0].last_failure.as_deref(), Some("poisoned"));
    let values = || {
        kit.supervisor.tree().record();
        [
            "quikapp_actor_restarts_total{kind=\"counter\"}",
            "quikapp_entity_quarantines_total{kind=\"counter\"}",
            "quikapp_entities_quarantined{kind=\"counter\"}",
        ]
        .map(|series| metrics.value(series))
    };
    assert_eq!(values(), [Some(3.0), Some(1.0), Some(1.0)]);
    assert_eq!(kit.entities.release(&"bad".to_owned()).await, Ok(true));
    assert_eq!(values(), [Some(3.0), Some(1.0), Some(0.0)]);
}
