//! Projections: behind the log, each on its own, found again after a crash.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, ConversationId, Entry, ProjectionStep, Seq, SharedStore, StoreError,
};

use super::kit::{Kit, eager, hanging, person, text};
use crate::{
    clock::ManualClock,
    conversation::{Command, SendMessage},
    delivery::{Config, Projection, rebuild},
};

async fn seen(store: &SharedStore, consumer: &Consumer, id: &ConversationId) -> u64 {
    let seen = store.projected(consumer, std::slice::from_ref(id)).await;
    seen.unwrap()[0].0
}

/// The writer does not wait for a consumer that hangs, nor do the others; the conversation stays
/// hot until it has caught up, and no longer.
#[tokio::test]
async fn a_consumer_that_hangs_holds_up_nobody() {
    let (kit, hangs) = Kit::with_a_consumer_that_hangs().await;
    let id = kit.group(&["ann", "bob"]).await;
    for nth in 0..20 {
        kit.send("ann", &id, text(&nth.to_string())).await;
    }
    kit.eventually("the others have seen all", async || {
        seen(&kit.store, &Consumer::QUEUE, &id).await == 20
            && seen(&kit.store, &Consumer::THREADS, &id).await == 20
    })
    .await;
    assert_eq!(seen(&kit.store, &hanging(), &id).await, 0);
    kit.eventually("nobody sequences it any more", async || {
        !kit.conversations.is_sequenced_here(&id)
    })
    .await;
    assert!(kit.is_hot(&id).await);
    hangs.store(false, Ordering::SeqCst);
    kit.eventually("it is at rest", async || !kit.is_hot(&id).await)
        .await;
    assert_eq!(seen(&kit.store, &hanging(), &id).await, 20);
    kit.stop().await;
}

/// What a consumer fails at is tried again.
#[tokio::test]
async fn a_consumer_that_fails_is_tried_again() {
    struct Failing {
        store: SharedStore,
        left: AtomicBool,
    }
    #[async_trait]
    impl Projection for Failing {
        fn consumer(&self) -> Consumer {
            Consumer::feed("failing").unwrap()
        }
        async fn project(&self, step: &ProjectionStep, _: &[Entry]) -> Result<bool, StoreError> {
            if self.left.swap(false, Ordering::SeqCst) {
                return Err(StoreError::Unavailable("for a test".to_owned()));
            }
            self.store.move_projection(step).await
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let at = quikapp_storage::Config::at(dir.path().join("data"));
    let store = quikapp_storage::open(&at).unwrap();
    let failing = Failing {
        store: store.clone(),
        left: AtomicBool::new(true),
    };
    let consumer = failing.consumer();
    let kit = Kit::on(store, eager(), vec![Arc::new(failing)]).await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, text("x")).await;
    kit.eventually("it has seen it", async || {
        seen(&kit.store, &consumer, &id).await == 1
    })
    .await;
    kit.stop().await;
}

/// A process that goes without a word leaves conversations hot and queues unfilled; the next one
/// finds them without reading any other.
#[tokio::test]
async fn what_a_crash_left_behind_is_found_through_what_is_hot() {
    let never = Config {
        projection_window: Duration::from_secs(3600),
        ..eager()
    };
    let kit = Kit::with(never, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    for nth in 0..5 {
        kit.send("ann", &id, text(&nth.to_string())).await;
    }
    assert_eq!(kit.queued("bob", &id).await, 0);
    let next = kit.next(eager()).await;
    next.eventually("the queue is filled", async || {
        next.queued("bob", &id).await == 5
    })
    .await;
    next.eventually("it is at rest", async || !next.is_hot(&id).await)
        .await;
    next.stop().await;
}

/// After an orderly stop nothing is hot.
#[tokio::test]
async fn an_orderly_stop_leaves_nothing_to_find() {
    let kit = Kit::with(Config::default(), Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    kit.send("ann", &id, text("last words")).await;
    kit.conversations.stop().await;
    kit.delivery.stop().await;
    assert!(!kit.is_hot(&id).await);
    assert_eq!(kit.queued("bob", &id).await, 1);
    kit.store.close().await;
}

#[tokio::test]
async fn queues_fill_and_empty() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob", "cem"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    for nth in 0..4 {
        kit.send("ann", &id, text(&nth.to_string())).await;
    }
    kit.eventually("what bob lacks is queued", async || {
        kit.queued("bob", &id).await == 4
    })
    .await;
    assert_eq!(kit.queued("cem", &id).await, 0, "has no device");
    kit.acknowledge("bob", "phone", &id, 3).await;
    kit.eventually("what he has is gone", async || {
        kit.queued("bob", &id).await == 1
    })
    .await;
    let call = SendMessage {
        kind: "call".into(),
        ..text("missed call")
    };
    kit.send("ann", &id, call).await;
    let bob = person("bob");
    kit.eventually("the call is urgent", async || {
        let queue = kit.store.queue(&bob, 9).await.unwrap();
        let first = queue.conversations.first();
        first.is_some_and(|it| it.urgent && it.conversation == id)
    })
    .await;
    kit.stop().await;
}

/// What nobody fetched in time leaves the queue, and stays in the log.
#[tokio::test]
async fn a_queue_forgets_what_is_too_old() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    kit.send("ann", &id, text("old")).await;
    kit.eventually("it is queued", async || kit.queued("bob", &id).await == 1)
        .await;
    kit.clock.advance_ms(168 * 3_600_000 - 1);
    kit.send("ann", &id, text("new")).await;
    kit.eventually("both are queued", async || {
        kit.queued("bob", &id).await == 2
    })
    .await;
    kit.clock.advance_ms(2);
    kit.eventually("one is left", async || kit.queued("bob", &id).await == 1)
        .await;
    assert_eq!(kit.log(&id).await.len(), 2);
    kit.stop().await;
}

/// Above the limit cursors alone say what is due.
#[tokio::test]
async fn large_conversations_are_not_queued() {
    let config = Config {
        queue_up_to_members: 2,
        ..eager()
    };
    let kit = Kit::with(config, Vec::new()).await;
    let small = kit.group(&["ann", "bob"]).await;
    let large = kit.group(&["ann", "bob", "cem"]).await;
    kit.acknowledge("bob", "phone", &small, 0).await;
    kit.send("ann", &large, text("many")).await;
    kit.send("ann", &small, text("few")).await;
    kit.eventually("both were seen", async || {
        seen(&kit.store, &Consumer::QUEUE, &small).await == 1
            && seen(&kit.store, &Consumer::QUEUE, &large).await == 1
    })
    .await;
    assert_eq!(kit.queued("bob", &small).await, 1);
    assert_eq!(kit.queued("bob", &large).await, 0);
    kit.stop().await;
}

/// Who was removed still gets what was said until then, and nothing after.
#[tokio::test]
async fn who_leaves_is_queued_up_to_their_last_place() {
    let window = Config {
        projection_window: Duration::from_millis(200),
        ..eager()
    };
    let kit = Kit::with(window, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    kit.send("ann", &id, text("1")).await;
    let removed = Command::RemoveMember {
        user: person("bob").user,
    };
    kit.submit("ann", &id, removed).await.unwrap();
    kit.send("ann", &id, text("3")).await;
    kit.eventually("it was seen", async || {
        seen(&kit.store, &Consumer::QUEUE, &id).await == 3
    })
    .await;
    let queue = kit.store.queue(&person("bob"), 9).await.unwrap();
    let of_room = queue.conversations.iter().find(|it| it.conversation == id);
    let of_room = of_room.unwrap();
    assert_eq!((of_room.first, of_room.last), (Seq(1), Seq(2)));
    kit.stop().await;
}

async fn thread_of(kit: &Kit, id: &ConversationId, name: &str) -> Option<u64> {
    let user = person(name).user;
    let threads = kit.store.threads(id, &user, None, 9).await.unwrap();
    threads.first().map(|thread| thread.unread)
}

#[tokio::test]
async fn rebuilding_comes_to_the_same() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob", "cem"]).await;
    kit.acknowledge("bob", "phone", &id, 0).await;
    let root = kit.send("ann", &id, text("what do you think?")).await.id;
    for _ in 0..3 {
        let answer = SendMessage {
            thread_root: Some(root),
            mentions: vec![person("cem").user],
            ..text("well")
        };
        kit.send("bob", &id, answer).await;
    }
    kit.eventually("everything was seen", async || {
        seen(&kit.store, &Consumer::QUEUE, &id).await == 4
            && seen(&kit.store, &Consumer::THREADS, &id).await == 4
    })
    .await;
    let derived = async || {
        let queue = kit.queued("bob", &id).await;
        let mut threads = Vec::new();
        for name in ["ann", "bob", "cem"] {
            threads.push(thread_of(&kit, &id, name).await);
        }
        (queue, threads)
    };
    let before = derived().await;
    assert_eq!(before.1, [Some(3), Some(0), Some(3)]);
    // The process that sequences the conversation runs meanwhile, and goes on afterwards.
    let clock = ManualClock::at(super::kit::START);
    let rebuilt = rebuild(&kit.store, &clock, &eager(), None).await.unwrap();
    assert_eq!(rebuilt.len(), 5);
    let of_threads = rebuilt
        .iter()
        .find(|it| it.projection == "threads")
        .unwrap();
    assert!(of_threads.entries >= 4, "{of_threads:?}");
    assert_eq!(derived().await, before);
    kit.send("ann", &id, text("go on")).await;
    kit.eventually("it goes on", async || {
        kit.queued("bob", &id).await == before.0 + 1
    })
    .await;
    let unknown = rebuild(&kit.store, &clock, &eager(), Some("nothing")).await;
    let unknown = unknown.unwrap_err().to_string();
    assert!(
        unknown.contains("queue, threads, timers, history, documents"),
        "{unknown}"
    );
    kit.stop().await;
}

/// A reader pulls what it has not committed, in the order of each conversation; what it committed
/// it never sees again, also not after a restart.
#[tokio::test]
async fn a_feed_is_pulled_and_committed() {
    let config = Config {
        feeds: vec!["kafka".to_owned()],
        ..eager()
    };
    let kit = Kit::with(config.clone(), Vec::new()).await;
    assert!(kit.delivery.feed("unknown").is_none());
    let feed = kit.delivery.feed("kafka").unwrap();
    let rooms = [kit.group(&["ann"]).await, kit.group(&["ann"]).await];
    for nth in 0..6 {
        kit.send("ann", &rooms[nth % 2], text(&nth.to_string()))
            .await;
    }
    let of_rooms = |entries: &[(ConversationId, Entry)]| -> Vec<(usize, u64)> {
        let places = entries.iter().filter_map(|(id, entry)| {
            let room = rooms.iter().position(|room| room == id)?;
            Some((room, entry.seq.0))
        });
        places.collect()
    };
    let first = feed.pull(1000).await.unwrap();
    let again = feed.pull(1000).await.unwrap();
    assert_eq!(of_rooms(&first.entries), of_rooms(&again.entries));
    let mut all = Vec::new();
    for _ in 0..100 {
        let batch = feed.pull(2).await.unwrap();
        assert!(batch.entries.len() <= 2);
        if batch.entries.is_empty() {
            break;
        }
        all.extend(of_rooms(&batch.entries));
        assert!(feed.commit(&batch).await.unwrap());
        assert!(!feed.commit(&batch).await.unwrap(), "once");
    }
    for room in 0..2 {
        let places: Vec<u64> = all
            .iter()
            .filter(|it| it.0 == room)
            .map(|it| it.1)
            .collect();
        assert_eq!(places, [1, 2, 3]);
    }
    kit.stop().await;
    let next = kit.next(config).await;
    next.send("ann", &rooms[0], text("more")).await;
    let feed = next.delivery.feed("kafka").unwrap();
    let batch = feed.pull(1000).await.unwrap();
    assert_eq!(of_rooms(&batch.entries), [(0, 4)]);
    next.stop().await;
}
