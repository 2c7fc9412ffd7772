//! Every strategy in every circumstance.

use super::*;

/// What the journal goes on with when b fails.
const AFTER_B: [(Strategy, &str); 3] = [
    (Strategy::OneForOne, "+b"),
    (Strategy::OneForAll, "-c -a +a +b +c"),
    (Strategy::RestForOne, "-c +b +c"),
];

async fn goes_on(journal: &Journal, with: &str) {
    journal.reads(&format!("+a +b +c {with}")).await;
}

async fn all_answer(handles: &[Handle<Say>; 3]) {
    for (name, handle) in ["a", "b", "c"].into_iter().zip(handles) {
        assert_eq!(handle.call(Say::ask).await, Ok(name));
    }
}

#[tokio::test]
async fn a_failure_concerns_whom_the_strategy_says() {
    for (strategy, then) in AFTER_B {
        let (supervisor, journal, handles) = three(strategy).await;
        handles[1].cast(Say::Panic).unwrap();
        goes_on(&journal, then).await;
        all_answer(&handles).await;
        assert_eq!(supervisor.stop().await, Ending::Stopped);
        goes_on(&journal, &format!("{then} -c -b -a")).await;
    }
}

/// Whoever's question was being dealt with hears so at once, and so does who waited behind it.
#[tokio::test]
async fn callers_of_a_child_that_panics_hear_so_at_once() {
    for (strategy, then) in AFTER_B {
        let (_supervisor, journal, handles) = three(strategy).await;
        let (b, go) = (&handles[1], Arc::new(Notify::new()));
        let with = go.clone();
        let in_hand = tokio::spawn({
            let b = b.clone();
            async move {
                b.call(|reply_to| Say::PanicWith { reply_to, go: with })
                    .await
            }
        });
        tokio::task::yield_now().await;
        let behind = (0..3).map(|_| {
            let b = b.clone();
            tokio::spawn(async move { b.call(Say::ask).await })
        });
        let calls: Vec<_> = std::iter::once(in_hand).chain(behind).collect();
        tokio::task::yield_now().await;
        assert!(calls.iter().all(|call| !call.is_finished()));
        // Whoever takes it is the one that has the first call in hand.
        go.notify_one();
        for call in calls {
            let outcome = tokio::time::timeout(Duration::from_secs(5), call).await;
            assert_eq!(outcome.unwrap().unwrap(), Err(Lost::Ended));
        }
        goes_on(&journal, then).await;
        all_answer(&handles).await;
    }
}

/// A start that panics is a failure like any other: those that had been started again stop, too.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_start_begins_anew_with_all_whom_it_concerns() {
    for (strategy, then) in [
        (Strategy::OneForOne, "+b"),
        (Strategy::OneForAll, "-c -a +a -a +a +b +c"),
        (Strategy::RestForOne, "-c +b +c"),
    ] {
        let journal = Journal::default();
        let handles: [Handle<Say>; 3] = Default::default();
        let [a, b, c] = &handles;
        let spec = SupervisorSpec::new("root")
            .strategy(strategy)
            .child(actor("a", a, &journal))
            .child(kit::starting("b", b, &journal, all_but(1, Start::Panics)))
            .child(actor("c", c, &journal));
        let supervisor = Supervisor::start(spec);
        journal.reads("+a +b +c").await;
        b.cast(Say::Panic).unwrap();
        goes_on(&journal, then).await;
        all_answer(&handles).await;
        assert_eq!(supervisor.tree().children[1].restarts, 2);
    }
}

#[tokio::test]
async fn one_restart_too_many_stops_all_and_fails() {
    for (strategy, then) in AFTER_B {
        let spec = SupervisorSpec::new("root")
            .strategy(strategy)
            .backoff(at_once())
            .intensity(Intensity {
                restarts: 1,
                within: Duration::from_secs(60),
            });
        let (supervisor, journal, handles) = three_of(spec).await;
        handles[1].cast(Say::Panic).unwrap();
        goes_on(&journal, then).await;
        all_answer(&handles).await;
        handles[1].cast(Say::Panic).unwrap();
        assert_eq!(supervisor.ended().await, Ending::Escalated);
        goes_on(&journal, &format!("{then} -c -a")).await;
        for handle in &handles {
            assert_eq!(handle.call(Say::ask).await, Err(Lost::Down(Down)));
        }
    }
}

/// Hands a hundred pieces of work to each, all of which wait behind one that is held.
fn fill(journal: &Journal, handles: &[&Handle<Say>], go: &Arc<Notify>) {
    for handle in handles {
        handle.cast(Say::Hold(go.clone())).unwrap();
        for _ in 0..100 {
            journal.hand(handle).unwrap();
        }
    }
}

#[tokio::test]
async fn an_orderly_stop_goes_backwards_and_loses_nothing_that_is_queued() {
    for (strategy, _) in AFTER_B {
        let (supervisor, journal, handles) = three(strategy).await;
        let [a, b, c] = &handles;
        let go = Arc::new(Notify::new());
        fill(&journal, &[a, b, c], &go);
        let stopping = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        until(|| journal.hand(c).is_err()).await;
        assert_eq!(journal.work(), 0, "all wait behind the held one");
        until(|| {
            go.notify_waiters();
            stopping.is_finished()
        })
        .await;
        assert_eq!(stopping.await.unwrap(), Ending::Stopped);
        goes_on(&journal, "-c -b -a").await;
        assert!(journal.work() >= 300);
        assert_eq!(journal.work(), journal.accepted(), "accepted is handled");
    }
}

/// Who is stopped because a sibling failed handles first what it had taken.
#[tokio::test]
async fn siblings_that_go_with_a_failure_lose_nothing_that_is_queued() {
    for (strategy, then) in AFTER_B {
        let (_supervisor, journal, handles) = three(strategy).await;
        let [a, b, c] = &handles;
        let go = Arc::new(Notify::new());
        fill(&journal, &[a, c], &go);
        b.cast(Say::Panic).unwrap();
        if strategy == Strategy::OneForOne {
            goes_on(&journal, then).await;
        } else {
            until(|| journal.hand(c).is_err()).await;
        }
        assert_eq!(journal.work(), 0, "all wait behind the held one");
        until(|| {
            go.notify_waiters();
            journal.work() == journal.accepted()
        })
        .await;
        assert!(journal.work() >= 200);
        goes_on(&journal, then).await;
        all_answer(&handles).await;
    }
}
