//! Promises of the fan-out.

#![allow(clippy::unwrap_used)]

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use quikapp_protocol::{Payload, Vsn};
use quikapp_storage::Seq;
use serde_json::json;

use super::*;

fn outbox(id: u64) -> Arc<Outbox> {
    Arc::new(Outbox::new(ConnectionId(id), OutboxLimits::default()))
}

fn broadcast(topic: &str, n: u64) -> Broadcast {
    Broadcast::new(topic, "event", json!({ "n": n }).into()).with_seq(Seq(n))
}

fn drain(outbox: &Outbox) -> Vec<Delivery> {
    let mut queue = Deliveries::new();
    match outbox.poll_drain(&mut Context::from_waker(Waker::noop()), &mut queue) {
        Poll::Ready(Drained::Deliveries) => queue.collect(),
        Poll::Ready(Drained::Close(_)) | Poll::Pending => Vec::new(),
    }
}

fn numbers(outbox: &Outbox) -> Vec<u64> {
    let seq = |delivery| match delivery {
        Delivery::Broadcast { broadcast, .. } => broadcast.seq().unwrap().0,
        other => panic!("unexpected {other:?}"),
    };
    drain(outbox).into_iter().map(seq).collect()
}

#[test]
fn a_broadcast_reaches_its_topic_until_the_subscription_ends() {
    let fanout = Fanout::new();
    let (alice, bob) = (outbox(1), outbox(2));
    let slot = SlotKey(0);
    let here = fanout.subscribe("a", &alice, slot, Lane::Own);
    let _there = fanout.subscribe("b", &bob, slot, Lane::Own);
    assert_eq!(fanout.publish(broadcast("a", 1)), 1);
    drop(here);
    assert_eq!(fanout.publish(broadcast("a", 2)), 0);
    assert_eq!(numbers(&alice), [1]);
    assert!(bob.is_empty());
    assert_eq!((fanout.topics(), fanout.subscribers("b")), (1, 1));
}

/// The first is among them, so that a quiet server has a figure too.
#[test]
fn one_publication_in_many_is_timed() {
    let fanout = Fanout::new();
    fanout.publish(broadcast("nobody listens", 0));
    let alice = outbox(1);
    let _here = fanout.subscribe("a", &alice, SlotKey(0), Lane::Own);
    for n in 0..65 {
        fanout.publish(broadcast("a", n));
    }
    let timed = drain(&alice)
        .into_iter()
        .filter_map(|delivery| match delivery {
            Delivery::Broadcast { broadcast, .. } => broadcast.timed().and(broadcast.seq()),
            other => panic!("unexpected {other:?}"),
        });
    assert_eq!(timed.collect::<Vec<_>>(), [Seq(0), Seq(32), Seq(64)]);
}

#[test]
fn the_sender_is_left_out_by_channel_not_by_connection() {
    let fanout = Fanout::new();
    let alice = outbox(1);
    let _one = fanout.subscribe("a", &alice, SlotKey(1), Lane::Own);
    let _two = fanout.subscribe("a", &alice, SlotKey(2), Lane::Forward);
    assert_eq!(
        fanout.publish_from(alice.id(), SlotKey(1), broadcast("a", 1)),
        1
    );
    let [Delivery::Broadcast { slot, lane, .. }] = &drain(&alice)[..] else {
        panic!("one delivery");
    };
    assert_eq!((*slot, *lane), (SlotKey(2), Lane::Forward));
}

#[test]
fn a_broadcast_is_encoded_once_for_everybody() {
    let fanout = Fanout::new();
    let outboxes: Vec<_> = (0..1000).map(outbox).collect();
    let subscriptions: Vec<_> = outboxes
        .iter()
        .map(|outbox| fanout.subscribe("chat:1", outbox, SlotKey(0), Lane::Own))
        .collect();
    fanout.publish(broadcast("chat:1", 1).with_alias("conversation:1"));
    drop(subscriptions);
    for (topic, vsn) in [
        ("chat:1", Vsn::V1),
        ("chat:1", Vsn::V2),
        ("conversation:1", Vsn::V1),
        ("conversation:1", Vsn::V2),
    ] {
        let mut frames = Vec::new();
        for outbox in &outboxes {
            let state = outbox.peek();
            let Some(Delivery::Broadcast { broadcast, .. }) = state.front() else {
                panic!("one delivery");
            };
            let frame = broadcast.encoded_as(topic, vsn).unwrap().into_owned();
            frames.push(frame.into_bytes());
        }
        let text = String::from_utf8(frames[0].to_vec()).unwrap();
        assert!(text.contains(&format!("{topic:?}")), "{text}");
        let distinct: std::collections::HashSet<_> =
            frames.iter().map(|frame| frame.as_ptr()).collect();
        assert_eq!(
            distinct.len(),
            1,
            "{topic} {vsn:?} was encoded more than once"
        );
    }
}

#[test]
fn under_another_topic_it_is_made_for_one() {
    let made = broadcast("chat:1", 1);
    let frame = made.encoded_as("user:7", Vsn::V2).unwrap();
    assert_eq!(
        frame.as_text(),
        Some(r#"[null,null,"user:7","event",{"n":1}]"#)
    );
}

#[test]
fn bytes_have_no_form_for_version_one() {
    let bytes = Broadcast::new("a", "event", Payload::Binary(vec![1].into()));
    assert!(bytes.encoded_as("a", Vsn::V1).is_none());
    assert!(bytes.encoded_as("a", Vsn::V2).is_some());
}

#[test]
fn an_overfull_outbox_is_cut_and_the_others_are_not() {
    let fanout = Fanout::new();
    let limits = OutboxLimits {
        messages: 10,
        ..OutboxLimits::default()
    };
    let slow = Arc::new(Outbox::new(ConnectionId(1), limits));
    let quick = outbox(2);
    let _slow = fanout.subscribe("a", &slow, SlotKey(0), Lane::Own);
    let _quick = fanout.subscribe("a", &quick, SlotKey(0), Lane::Own);
    for n in 1..=11 {
        fanout.publish(broadcast("a", n));
    }
    let close = match slow.poll_close(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(close) => close,
        Poll::Pending => panic!("not cut"),
    };
    assert_eq!(close.code, 1013);
    let retry = close
        .reason
        .strip_prefix("slow_consumer retry_after_ms=")
        .unwrap();
    assert!((1000..5000).contains(&retry.parse::<u64>().unwrap()));
    assert!(slow.is_empty(), "what is not going to be read is dropped");
    fanout.publish(broadcast("a", 12));
    assert!(slow.is_empty(), "and nothing more is queued");
    assert_eq!(numbers(&quick), (1..=12).collect::<Vec<_>>());
}

#[test]
fn bytes_are_bounded_too() {
    let limits = OutboxLimits {
        bytes: 1000,
        ..OutboxLimits::default()
    };
    let outbox = Outbox::new(ConnectionId(1), limits);
    let big = Arc::new(Broadcast::new("a", "event", json!("x".repeat(600)).into()));
    for is_closing in [false, true] {
        outbox.push(Delivery::Broadcast {
            slot: SlotKey(0),
            lane: Lane::Own,
            broadcast: Arc::clone(&big),
        });
        assert_eq!(outbox.is_closing(), is_closing);
    }
}

#[derive(Default)]
struct CountsWakes(AtomicUsize);

impl Wake for CountsWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_connection_that_cannot_write_is_woken_by_its_end_only() {
    let limits = OutboxLimits {
        messages: 3,
        ..OutboxLimits::default()
    };
    let outbox = Outbox::new(ConnectionId(1), limits);
    let wakes = Arc::new(CountsWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(
        outbox
            .poll_close(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let note = || Delivery::Note {
        slot: SlotKey(0),
        note: Note::new(()),
    };
    for _ in 0..3 {
        outbox.push(note());
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    outbox.push(note());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

#[test]
fn what_was_queued_before_a_close_comes_before_it() {
    let fanout = Fanout::new();
    let outbox = outbox(1);
    let _socket = fanout.subscribe("users_socket:1", &outbox, SlotKey::SOCKET, Lane::Own);
    outbox.push(Delivery::Note {
        slot: SlotKey(0),
        note: Note::new(7_u32),
    });
    assert_eq!(
        fanout.disconnect("users_socket:1", &Close::disconnected()),
        1
    );
    assert_eq!(
        fanout.disconnect("users_socket:2", &Close::disconnected()),
        0
    );
    let [Delivery::Note { note, .. }] = &drain(&outbox)[..] else {
        panic!("the note");
    };
    assert_eq!(note.get::<u32>(), Some(&7));
    let mut queue = Deliveries::new();
    let polled = outbox.poll_drain(&mut Context::from_waker(Waker::noop()), &mut queue);
    assert!(matches!(polled, Poll::Ready(Drained::Close(close)) if close.code == 1001));
}

#[test]
fn a_note_reaches_every_subscriber() {
    let fanout = Fanout::new();
    let (alice, bob) = (outbox(1), outbox(2));
    let _a = fanout.subscribe("chat:1", &alice, SlotKey(1), Lane::Own);
    let _b = fanout.subscribe("chat:1", &bob, SlotKey(1), Lane::Own);
    assert_eq!(fanout.note("chat:1", &Note::new("removed")), 2);
    assert_eq!((alice.len(), bob.len()), (1, 1));
}

#[derive(Debug, Default)]
struct Recorded(Mutex<Vec<(u64, Option<u64>)>>);

impl Relay for Recorded {
    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn relay(&self, broadcast: &Arc<Broadcast>, to: Option<NodeId>) {
        let to = to.map(|node| node.0);
        let number = broadcast.seq().unwrap().0;
        self.0.lock().unwrap().push((number, to));
    }
}

#[test]
fn a_relay_carries_what_is_not_local() {
    let fanout = Fanout::new();
    let relay = Arc::new(Recorded::default());
    fanout.set_relay(relay.clone());
    let alice = outbox(9);
    let _here = fanout.subscribe("a", &alice, SlotKey(0), Lane::Own);
    fanout.publish(broadcast("a", 1));
    fanout.publish_local(broadcast("a", 2));
    fanout.publish_from(ConnectionId(1), SlotKey(0), broadcast("a", 3));
    fanout.publish_local_from(ConnectionId(1), SlotKey(0), broadcast("a", 4));
    // Other nodes read a log themselves.
    fanout.publish_entries(&[Arc::new(broadcast("a", 5))]);
    fanout.publish_direct(NodeId(2), broadcast("a", 6));
    fanout.publish_direct(NodeId(1), broadcast("a", 7));
    let relayed = relay.0.lock().unwrap();
    assert_eq!(*relayed, [(1, None), (3, None), (6, Some(2))]);
    assert_eq!(fanout.node(), Some(NodeId(1)));
    assert_eq!(
        numbers(&alice),
        [1, 2, 3, 4, 5, 7],
        "those that are for here"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_subscriber_sees_concurrent_broadcasts_in_one_order() {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 500;
    let fanout = Fanout::new();
    let outboxes: Vec<_> = (0..20).map(outbox).collect();
    let readers: Vec<_> = outboxes
        .iter()
        .map(|outbox| {
            let subscription = fanout.subscribe("a", outbox, SlotKey(0), Lane::Own);
            tokio::spawn(read(Arc::clone(outbox), subscription, PUBLISHERS * EACH))
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let fanout = fanout.clone();
            tokio::task::spawn_blocking(move || {
                for n in 0..EACH {
                    fanout.publish(broadcast("a", publisher * EACH + n));
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut orders = Vec::new();
    for reader in readers {
        orders.push(reader.await.unwrap());
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
    for publisher in 0..PUBLISHERS {
        let own = publisher * EACH..(publisher + 1) * EACH;
        let seen: Vec<_> = orders[0]
            .iter()
            .copied()
            .filter(|n| own.contains(n))
            .collect();
        assert_eq!(seen, own.collect::<Vec<_>>(), "a publisher's own order");
    }
}

async fn read(outbox: Arc<Outbox>, subscription: Subscription, count: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    let mut queue = Deliveries::new();
    while (seen.len() as u64) < count {
        poll_fn(|cx| outbox.poll_drain(cx, &mut queue)).await;
        for delivery in queue.by_ref() {
            if let Delivery::Broadcast { broadcast, .. } = delivery {
                seen.push(broadcast.seq().unwrap().0);
            }
        }
    }
    drop(subscription);
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn topics_that_come_and_go_lose_no_broadcast() {
    let fanout = Fanout::new();
    let tasks: Vec<_> = (0..8)
        .map(|id| {
            let fanout = fanout.clone();
            tokio::task::spawn_blocking(move || {
                // A thread that is held up for long must not be cut as a slow consumer.
                let unlimited = OutboxLimits {
                    messages: u32::MAX,
                    bytes: u32::MAX,
                };
                let outbox = Arc::new(Outbox::new(ConnectionId(id), unlimited));
                for n in 0..2000 {
                    let _subscription = fanout.subscribe("a", &outbox, SlotKey(n), Lane::Own);
                    let own = Broadcast::new("a", "event", json!([id, n]).into())
                        .with_seq(Seq(u64::from(n)));
                    assert!(fanout.publish(own) >= 1);
                    let seen = drain(&outbox).into_iter().any(|delivery| {
                        matches!(delivery, Delivery::Broadcast { slot, broadcast, .. }
                            if slot == SlotKey(n) && *broadcast.payload() == json!([id, n]).into())
                    });
                    assert!(
                        seen,
                        "a subscriber hears what is published after it subscribed"
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fanout.topics(), 0);
}
