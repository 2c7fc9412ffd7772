//! Whatever a process had named and did not deal with is found again, by itself or by another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::join_all};
use quikapp_storage::{
    Consumer, ConversationId, Entry, ProjectionStep, Seq, SharedStore, StoreError,
};

use super::kit::{Kit, eager, person, text};
use crate::{
    conversation::tests::faulty::{Faults, FaultyStore},
    delivery::{Config, Projection, Tails, projector::Projector},
};

/// Settings of a process that dies before its projections have seen anything.
fn dying() -> Config {
    Config {
        projection_window: Duration::from_secs(3600),
        ..eager()
    }
}

/// Moves its cursor; the first time, it panics instead.
struct Panicking {
    store: SharedStore,
    panics: AtomicBool,
}

fn panicking() -> Consumer {
    Consumer::feed("panicking").unwrap()
}

#[async_trait]
impl Projection for Panicking {
    fn consumer(&self) -> Consumer {
        panicking()
    }

    async fn project(&self, step: &ProjectionStep, _: &[Entry]) -> Result<bool, StoreError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "for a test");
        self.store.move_projection(step).await
    }
}

async fn seen(store: &SharedStore, id: &ConversationId) -> u64 {
    let seen = store
        .projected(&panicking(), std::slice::from_ref(id))
        .await;
    seen.unwrap()[0].0
}

/// A projection on its own, and who names conversations to it.
fn projector(store: &SharedStore, panics: bool) -> (Projector, Tails) {
    let tails = Tails::default();
    let projection = Panicking {
        store: store.clone(),
        panics: AtomicBool::new(panics),
    };
    let projector = Projector {
        lane: tails.open_lane(panicking()),
        projection: Arc::new(projection),
        tails: tails.clone(),
        store: store.clone(),
        window: Duration::from_millis(1),
        timeout: Duration::from_secs(30),
    };
    (projector, tails)
}

/// After a panic a consumer goes on, with everything that was named to it.
#[tokio::test]
async fn a_panic_loses_nothing_that_was_in_hand() {
    let kit = Kit::with(dying(), Vec::new()).await;
    let (projector, tails) = projector(&kit.store, true);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = kit.group(&["ann"]).await;
        kit.send("ann", &id, text("x")).await;
        tails.grown(&id);
        ids.push(id);
    }
    assert!(!projector.round().await, "one has failed");
    assert!(!tails.is_at_rest());
    assert!(projector.round().await);
    assert!(tails.is_at_rest());
    for id in &ids {
        assert_eq!(seen(&kit.store, id).await, 1);
    }
    kit.stop().await;
}

/// What was written here is projected as it was written; of what another process may have written,
/// the log is asked.
#[tokio::test]
async fn what_was_written_here_is_not_read_back() {
    let kit = Kit::with(dying(), Vec::new()).await;
    let faults = Arc::<Faults>::default();
    let store = FaultyStore::new(kit.store.clone(), Arc::clone(&faults));
    let (projector, tails) = projector(&(Arc::new(store) as SharedStore), false);
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, text("x")).await;
    kit.send("ann", &id, text("y")).await;
    let entries = kit.store.entries(&id, Seq(0), 9).await.unwrap();
    let (first, second) = entries.split_at(1);
    faults.refuse_entries(true);
    tails.written(&id, first, true);
    assert!(projector.round().await, "nothing is read");
    assert_eq!(seen(&kit.store, &id).await, 1);
    tails.written(&id, second, true);
    tails.grown(&id);
    assert!(!projector.round().await, "the log is asked");
    faults.refuse_entries(false);
    assert!(projector.round().await);
    assert_eq!(seen(&kit.store, &id).await, 2);
    kit.stop().await;
}

/// What a task had in hand when it was stopped is behind meanwhile, and waits again.
#[tokio::test]
async fn a_round_that_is_cut_short_loses_nothing_that_was_in_hand() {
    let kit = Kit::with(dying(), Vec::new()).await;
    let (projector, tails) = projector(&kit.store, false);
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, text("x")).await;
    tails.grown(&id);
    let mut round = Box::pin(projector.round());
    assert_eq!(round.as_mut().now_or_never(), None, "it reads the log");
    assert!(!tails.is_at_rest());
    drop(round);
    assert!(!tails.is_at_rest());
    assert!(projector.round().await);
    assert!(tails.is_at_rest());
    assert_eq!(seen(&kit.store, &id).await, 1);
    kit.stop().await;
}

/// What did not fit into a lane is looked for until the store can say what is hot.
#[tokio::test]
async fn an_overflow_is_made_up_for_although_the_store_fails() {
    let kit = Kit::with(dying(), Vec::new()).await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, text("x")).await;
    let faults = Arc::<Faults>::default();
    let store = FaultyStore::new(kit.store.clone(), Arc::clone(&faults));
    let (projector, _tails) = projector(&(Arc::new(store) as SharedStore), false);
    projector.lane.put_overflow_back();
    faults.refuse_hot(true);
    let found = async {
        kit.eventually("the store fails", async || faults.hot_refused() > 0)
            .await;
        faults.refuse_hot(false);
        kit.eventually("it is found", async || seen(&kit.store, &id).await == 1)
            .await;
    };
    tokio::select! {
        () = projector.run() => unreachable!("it follows the log for ever"),
        () = found => {}
    }
    kit.stop().await;
}

/// Of two processes one dies and does not come back: the other finds what it had acknowledged, and
/// lets go of what nobody sequences any more.
#[tokio::test]
async fn what_a_process_leaves_behind_is_found_by_one_that_runs_all_the_time() {
    let one = Kit::with(dying(), Vec::new()).await;
    let talk = async || {
        let id = one.group(&["ann", "bob"]).await;
        one.acknowledge("bob", "phone", &id, 0).await;
        one.send("ann", &id, text("last words")).await;
        id
    };
    let before = talk().await;
    let other = one.next(eager()).await;
    let is_queued = async |id: &ConversationId| other.queued("bob", id).await == 1;
    other
        .eventually("the other has started", async || is_queued(&before).await)
        .await;
    let after = talk().await;
    other
        .eventually("the other looks again", async || is_queued(&after).await)
        .await;
    other
        .eventually("it is at rest", async || !other.is_hot(&after).await)
        .await;
    other.stop().await;
}

/// A start names all that is hot at once, also where a reader of the feed has seen none of it.
#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_no_start() {
    let with_feed = |config: Config| Config {
        feeds: vec!["unread".to_owned()],
        ..config
    };
    let kit = &Kit::with(with_feed(dying()), Vec::new()).await;
    let talks = (0..300).map(|_| async move {
        let id = kit.group(&["ann", "bob"]).await;
        kit.acknowledge("bob", "phone", &id, 0).await;
        kit.send("ann", &id, text("x")).await;
        id
    });
    let ids = join_all(talks).await;
    let next = kit.next(with_feed(eager())).await;
    next.eventually("everything is queued", async || {
        let queue = next.store.queue(&person("bob"), 1_000).await.unwrap();
        let queued = queue.conversations.into_iter();
        queued.filter(|it| ids.contains(&it.conversation)).count() == 300
    })
    .await;
    assert!(next.is_hot(&ids[0]).await);
    next.stop().await;
}
