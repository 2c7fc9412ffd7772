//! Work that fails at once is not done again at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quikapp_storage::{Consumer, Entry, ProjectionStep, StoreError, Timer, TimerKind};

use super::kit::{Kit, START, eager, text};
use crate::delivery::{Config, Projection};

/// Lets everybody do what they can do while time stands still. (It moves by itself only while
/// nobody has anything to do.)
async fn let_others_work() {
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
}

/// Due, of messages that nobody can name any more: all that is left to do is to delete them.
fn due(count: usize, shard: u16) -> Vec<Timer> {
    let timer = |nth: usize| Timer {
        kind: TimerKind::Expire,
        id: nth.to_string(),
        group: "g".to_owned(),
        shard,
        due_at: START,
        payload: "{}".into(),
        version: 1,
    };
    (0..count).map(timer).collect()
}

/// The store reads and does not write: a full page of timers that are due is looked at again after
/// a pause, which grows.
#[tokio::test]
async fn timers_that_cannot_be_moved_wait() {
    for count in [1, 100] {
        let config = Config {
            timer_poll: Duration::from_secs(1),
            ..eager()
        };
        let (kit, faults) = Kit::faulty(config).await;
        tokio::time::pause();
        faults.stick(due(count, 3));
        let_others_work().await;
        let mut looks = 1;
        for pause in [2, 4, 8, 10, 10] {
            let almost = Duration::from_millis(999 * pause);
            tokio::time::advance(almost).await;
            let_others_work().await;
            assert_eq!(faults.stuck_found(), looks, "{pause} s are not over");
            // Timers fire at the next millisecond.
            let rest = Duration::from_secs(pause) - almost + Duration::from_millis(1);
            tokio::time::advance(rest).await;
            let_others_work().await;
            looks += 1;
            assert_eq!(faults.stuck_found(), looks, "after {pause} s");
        }
        faults.stick(Vec::new());
        tokio::time::resume();
        kit.stop().await;
    }
}

/// While a process stops, too.
#[tokio::test]
async fn a_stop_does_not_try_what_fails_without_a_pause() {
    struct Failing(Arc<AtomicUsize>);
    #[async_trait]
    impl Projection for Failing {
        fn consumer(&self) -> Consumer {
            Consumer::feed("failing").unwrap()
        }
        async fn project(&self, _: &ProjectionStep, _: &[Entry]) -> Result<bool, StoreError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::Unavailable("for a test".to_owned()))
        }
    }
    let tries = Arc::<AtomicUsize>::default();
    let failing = Failing(Arc::clone(&tries));
    let kit = Kit::with(eager(), vec![Arc::new(failing)]).await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, text("x")).await;
    kit.conversations.stop().await;
    tokio::time::pause();
    let before = tries.load(Ordering::SeqCst);
    let delivery = kit.delivery.clone();
    let stop = tokio::spawn(async move { delivery.stop().await });
    while tries.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    let_others_work().await;
    let since = tries.load(Ordering::SeqCst) - before;
    // One may have been under way when it stopped.
    assert!(since <= 2, "{since} tries while time stood still");
    // It would wait for the last rounds as long as it may.
    stop.abort();
    kit.store.close().await;
}
