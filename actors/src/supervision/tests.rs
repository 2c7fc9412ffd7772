//! The shell on ractor: real actors that panic, stop, and are started again.
#![allow(clippy::unwrap_used)]

mod kit;
mod starting;
mod strategies;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::*;
use crate::metrics_kit::Metrics;
use kit::{Journal, Say, Start, actor, all_but, until};

/// No waiting, so that journals are short.
fn at_once() -> Backoff {
    Backoff {
        first: Duration::ZERO,
        longest: Duration::ZERO,
    }
}

/// Children a, b and c, all up.
async fn three(strategy: Strategy) -> (Supervisor, Journal, [Handle<Say>; 3]) {
    three_of(SupervisorSpec::new("root").strategy(strategy)).await
}

async fn three_of(mut spec: SupervisorSpec) -> (Supervisor, Journal, [Handle<Say>; 3]) {
    let journal = Journal::default();
    let handles: [Handle<Say>; 3] = Default::default();
    for (name, handle) in ["a", "b", "c"].into_iter().zip(&handles) {
        spec = spec.child(actor(name, handle, &journal).restart(Restart::Permanent));
    }
    let supervisor = Supervisor::start(spec);
    journal.reads("+a +b +c").await;
    (supervisor, journal, handles)
}

#[tokio::test]
async fn a_child_that_stops_by_itself_has_done_its_work() {
    let (journal, handle) = (Journal::default(), Handle::new());
    let child = actor("a", &handle, &journal).restart(Restart::Transient);
    let supervisor = Supervisor::start(SupervisorSpec::new("root").child(child));
    journal.reads("+a").await;
    handle.cast(Say::Leave).unwrap();
    journal.reads("+a -a").await;
    until(|| supervisor.tree().children[0].state == NodeState::Ended).await;
    assert_eq!(handle.call(Say::ask).await, Err(Lost::Down(Down)));
    assert_eq!(supervisor.stop().await, Ending::Stopped);
    journal.reads("+a -a").await;
}

#[tokio::test]
async fn a_panic_in_the_first_start_is_an_error_of_whoever_adds_the_child() {
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    let (journal, handle) = (Journal::default(), Handle::new());
    let child = kit::starting("bad", &handle, &journal, all_but(0, Start::Panics));
    let refused = supervisor.add(child).await.unwrap_err();
    assert_eq!(refused.child, "bad");
    assert!(refused.detail.contains("in the start of bad"), "{refused}");
    let child = actor("good", &handle, &journal);
    supervisor.add(child).await.unwrap();
    assert_eq!(handle.call(Say::ask).await, Ok("good"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_later_start_is_tried_again_after_a_while() {
    let (journal, handle) = (Journal::default(), Handle::new());
    let child = kit::starting("a", &handle, &journal, |nth| match nth {
        1..4 => Start::Panics,
        _ => Start::Well,
    });
    let supervisor = Supervisor::start(SupervisorSpec::new("root").child(child));
    journal.reads("+a").await;
    let began = tokio::time::Instant::now();
    handle.cast(Say::Panic).unwrap();
    journal.reads("+a +a").await;
    // At once, after 100 ms, after 200 ms, after 400 ms.
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(supervisor.tree().children[0].restarts, 4);
}

#[tokio::test]
async fn more_restarts_than_are_borne_fail_the_supervisor_and_its_parent_starts_it_again() {
    let metrics = Metrics::new();
    let _collecting = metrics.collecting();
    let (journal, a, b) = (Journal::default(), Handle::new(), Handle::new());
    let intensity = Intensity {
        restarts: 2,
        within: Duration::from_secs(60),
    };
    let inner = SupervisorSpec::new("inner")
        .intensity(intensity)
        .backoff(at_once())
        .child(actor("a", &a, &journal))
        .child(actor("b", &b, &journal));
    let outer = SupervisorSpec::new("outer")
        .intensity(intensity)
        .backoff(at_once())
        .child(ChildSpec::supervisor(inner));
    let supervisor = Supervisor::start(outer);
    let mut expected = "+a +b".to_owned();
    journal.reads(&expected).await;
    for round in 0..3 {
        for _ in 0..2 {
            a.cast(Say::Panic).unwrap();
            expected += " +a";
            journal.reads(&expected).await;
        }
        a.cast(Say::Panic).unwrap();
        expected += " -b";
        if round < 2 {
            expected += " +a +b";
        }
        journal.reads(&expected).await;
    }
    assert_eq!(supervisor.ended().await, Ending::Escalated);
    assert_eq!(supervisor.tree().state, NodeState::Ended);
    for (series, count) in [
        ("quikapp_actor_restarts_total{kind=\"worker\"}", 6.0),
        ("quikapp_actor_restarts_total{kind=\"supervisor\"}", 2.0),
        // The inner one three times, and then the outer one.
        ("quikapp_supervisor_escalations_total", 4.0),
    ] {
        assert_eq!(metrics.value(series), Some(count), "{series}");
    }
}

#[tokio::test]
async fn a_task_that_panics_is_started_again_and_ends_when_told() {
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    let runs = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let (counted, seen) = (runs.clone(), ended.clone());
    supervisor.launch(ChildSpec::task("poll", "poll", move |stop| {
        let (counted, seen) = (counted.clone(), seen.clone());
        async move {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("the first time");
            }
            stop.cancelled().await;
            seen.fetch_add(1, Ordering::SeqCst);
        }
    }));
    until(|| runs.load(Ordering::SeqCst) == 2).await;
    let node = &supervisor.tree().children[0];
    assert_eq!((node.restarts, node.kind.as_str()), (1, "poll"));
    assert_eq!(node.last_failure.as_deref(), Some("the first time"));
    assert_eq!(supervisor.stop().await, Ending::Stopped);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_in_time_is_cut_off() {
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    let dropped = Arc::new(());
    let held = dropped.clone();
    let deaf = ChildSpec::task("deaf", "deaf", move |_| {
        let held = held.clone();
        async move {
            std::future::pending::<()>().await;
            drop(held);
        }
    });
    supervisor
        .add(deaf.shutdown(Duration::from_secs(3)))
        .await
        .unwrap();
    until(|| Arc::strong_count(&dropped) == 3).await;
    let began = tokio::time::Instant::now();
    assert_eq!(supervisor.stop().await, Ending::Stopped);
    assert_eq!(began.elapsed().as_secs(), 3);
    until(|| Arc::strong_count(&dropped) <= 2).await;
}

#[tokio::test]
async fn the_tree_shows_what_is_there() {
    let (supervisor, journal, [a, ..]) = three(Strategy::OneForOne).await;
    a.cast(Say::Panic).unwrap();
    journal.reads("+a +b +c +a").await;
    let (inner, depth) = (Handle::new(), Arc::new(AtomicUsize::new(7)));
    let waiting = depth.clone();
    let child = actor("d", &inner, &journal).queue(move || waiting.load(Ordering::SeqCst));
    let sub = ChildSpec::supervisor(SupervisorSpec::new("sub").child(child));
    supervisor.add(sub).await.unwrap();
    until(|| supervisor.tree().children[0].state == NodeState::Running).await;
    let tree = supervisor.tree();
    assert_eq!(tree.children[0].restarts, 1);
    assert!(tree.children[0].last_failure.is_some());
    let mut seen = Vec::new();
    tree.walk(&mut |node| seen.push((node.name.clone(), node.queue_depth)));
    let seen: Vec<_> = seen.iter().map(|(name, depth)| (&**name, *depth)).collect();
    let expected = [
        ("root", 0),
        ("a", 0),
        ("b", 0),
        ("c", 0),
        ("sub", 0),
        ("d", 7),
    ];
    assert_eq!(seen, expected);
    let json = serde_json::to_string(&tree).unwrap();
    assert_eq!(serde_json::from_str::<TreeNode>(&json).unwrap(), tree);
}

/// A life begins with the start that brought it.
#[tokio::test(start_paused = true)]
async fn a_restart_begins_a_new_age() {
    let metrics = Metrics::new();
    let (supervisor, journal, [a, ..]) = three(Strategy::OneForOne).await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let age = |child: usize| supervisor.tree().children[child].age_ms;
    assert!(age(0) >= 90_000);
    a.cast(Say::Panic).unwrap();
    journal.reads("+a +b +c +a").await;
    until(|| supervisor.tree().children[0].state == NodeState::Running).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!((1_000..90_000).contains(&age(0)));
    assert!(age(1) >= 91_000);
    {
        let _collecting = metrics.collecting();
        supervisor.tree().record();
    }
    let value = |series| metrics.value(series).unwrap();
    assert!((1.0..90.0).contains(&value("quikapp_actor_age_seconds{kind=\"worker\"}")));
    assert!(value("quikapp_actor_age_seconds{kind=\"supervisor\"}") >= 91.0);
    assert_eq!(value("quikapp_actors{kind=\"worker\"}"), 3.0);
}
