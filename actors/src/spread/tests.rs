//! Nodes that hear each other's broadcasts.

#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use quikapp_protocol::Payload;
use quikapp_storage::{Channel, Seq};
use serde_json::json;

use super::frame::{self, Parcel};
use crate::{
    fanout::{
        Broadcast, ConnectionId, Deliveries, Delivery, Fanout, Lane, NodeId, Outbox, OutboxLimits,
        SlotKey, Subscription,
    },
    gossip_kit::{End, Wire},
    supervision::{Supervisor, SupervisorSpec},
};

/// A node with somebody on a topic.
struct Node {
    fanout: Fanout,
    end: End,
    outbox: Arc<Outbox>,
    _here: Subscription,
    _tree: Supervisor,
}

impl Node {
    fn start(wire: &Wire, number: u64, topic: &str) -> Self {
        let (fanout, end) = (Fanout::new(), wire.end());
        let tree = Supervisor::start(SupervisorSpec::new("node"));
        super::start_under(&tree, &fanout, &end.shared(), NodeId(number));
        let outbox = Arc::new(Outbox::new(ConnectionId(number), OutboxLimits::default()));
        let here = fanout.subscribe(topic, &outbox, SlotKey(0), Lane::Own);
        Self {
            fanout,
            end,
            outbox,
            _here: here,
            _tree: tree,
        }
    }

    /// What has come so far.
    fn heard(&self) -> Vec<String> {
        let mut queue = Deliveries::new();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.outbox.poll_drain(&mut cx, &mut queue);
        let said = |delivery| match delivery {
            Delivery::Broadcast { broadcast, .. } => broadcast.event().to_owned(),
            other => panic!("unexpected {other:?}"),
        };
        queue.map(said).collect()
    }
}

fn event(topic: &str, name: &str) -> Broadcast {
    Broadcast::new(topic, name, json!({}).into())
}

/// Under a paused clock time passes only when every task waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn each_subscriber_of_a_topic_hears_once_and_in_order() {
    let wire = Wire::default();
    let [one, two] = [1, 2].map(|number| Node::start(&wire, number, "a"));
    let other = Node::start(&wire, 3, "b");
    settle().await;
    let names: Vec<_> = (0..600).map(|n| n.to_string()).collect();
    for name in &names {
        one.fanout.publish(event("a", name));
    }
    settle().await;
    assert_eq!(one.heard(), names);
    assert_eq!(two.heard(), names);
    assert!(other.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn from_skips_the_sender_local_stays_and_direct_reaches_one() {
    let wire = Wire::default();
    let [one, two, three] = [1, 2, 3].map(|number| Node::start(&wire, number, "a"));
    settle().await;
    let me = one.outbox.id();
    one.fanout.publish_from(me, SlotKey(0), event("a", "from"));
    one.fanout.publish_local(event("a", "local"));
    one.fanout.publish_direct(NodeId(3), event("a", "to three"));
    one.fanout.publish_direct(NodeId(1), event("a", "to one"));
    one.fanout
        .publish_direct(NodeId(4), event("a", "to nobody"));
    settle().await;
    assert_eq!(one.heard(), ["local", "to one"]);
    assert_eq!(two.heard(), ["from"]);
    assert_eq!(three.heard(), ["from", "to three"]);
}

/// A repeated frame is not heard twice, a lost one leaves a hole, and what follows is heard.
#[tokio::test(start_paused = true)]
async fn what_the_way_repeats_or_loses_is_heard_at_most_once() {
    let wire = Wire::default();
    let two = Node::start(&wire, 2, "a");
    settle().await;
    let gossip = two.end.shared().gossip;
    let frame = |number: u64| {
        let broadcast = Arc::new(event("a", &number.to_string()));
        frame::write(
            NodeId(1),
            number,
            &[Parcel {
                to: None,
                broadcast,
            }],
        )
    };
    for number in [5, 6, 5, 6, 9, 7, 10] {
        gossip
            .tell(Channel::Broadcast, frame(number))
            .await
            .unwrap();
    }
    gossip
        .tell(Channel::Broadcast, Bytes::from_static(b"\x01junk"))
        .await
        .unwrap();
    gossip.tell(Channel::Broadcast, frame(11)).await.unwrap();
    settle().await;
    assert_eq!(two.heard(), ["5", "6", "9", "10", "11"]);
}

/// A connection that was cut while nothing was said costs nothing but time.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_at_once_is_told_a_little_later() {
    let wire = Wire::default();
    let [one, two] = [1, 2].map(|number| Node::start(&wire, number, "a"));
    settle().await;
    one.end.cut(true);
    one.fanout.publish(event("a", "cut"));
    settle().await;
    one.end.cut(false);
    one.fanout.publish(event("a", "again"));
    settle().await;
    assert_eq!(one.heard(), ["cut", "again"], "at once");
    assert!(two.heard().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(two.heard(), ["cut", "again"]);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_told_it_is_heard_here_and_afterwards_everywhere() {
    let wire = Wire::default();
    let [one, two] = [1, 2].map(|number| Node::start(&wire, number, "a"));
    settle().await;
    one.end.cut(true);
    for name in ["cut", "off"] {
        one.fanout.publish(event("a", name));
        settle().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    one.end.cut(false);
    one.fanout.publish(event("a", "again"));
    settle().await;
    assert_eq!(one.heard(), ["cut", "off", "again"]);
    assert_eq!(two.heard(), ["again"], "nothing stale");
}

/// What is not JSON would break the frames of clients.
#[tokio::test(start_paused = true)]
async fn a_payload_that_is_no_json_is_not_passed_on() {
    let wire = Wire::default();
    let two = Node::start(&wire, 2, "a");
    settle().await;
    let broken = quikapp_protocol::Json::assume_valid("{\"a\":}");
    let parcels = [
        Broadcast::new("a", "broken", broken.into()),
        event("a", "whole"),
    ];
    let parcels = parcels.map(|broadcast| Parcel {
        to: None,
        broadcast: Arc::new(broadcast),
    });
    let frame = frame::write(NodeId(1), 0, &parcels);
    let gossip = two.end.shared().gossip;
    gossip.tell(Channel::Broadcast, frame).await.unwrap();
    settle().await;
    assert_eq!(two.heard(), ["whole"]);
}

prop_compose! {
    fn any_parcel()(
        to in proptest::option::of(any::<u64>()),
        seq in proptest::option::of(any::<u64>()),
        topic in ".{0,40}",
        alias in proptest::option::of(".{0,40}"),
        event in ".{0,40}",
        payload in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100).prop_map(|it| Payload::Binary(it.into())),
            ".{0,40}".prop_map(|text| Payload::from(json!({ "text": text, "deep": [null, 1e3] }))),
        ],
    ) -> Parcel {
        let mut broadcast = Broadcast::new(topic, event, payload);
        if let Some(seq) = seq {
            broadcast = broadcast.with_seq(Seq(seq));
        }
        if let Some(alias) = alias {
            broadcast = broadcast.with_alias(alias);
        }
        Parcel { to: to.map(NodeId), broadcast: Arc::new(broadcast) }
    }
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(
        parcels in proptest::collection::vec(any_parcel(), 0..5),
        node in any::<u64>(),
        first in any::<u64>(),
    ) {
        let bytes = frame::write(NodeId(node), first, &parcels);
        let frame = frame::read(bytes.clone()).unwrap();
        prop_assert_eq!((frame.node, frame.first), (NodeId(node), first));
        prop_assert_eq!(frame.said.len(), parcels.len());
        for (said, parcel) in frame.said.iter().zip(&parcels) {
            let (read, written) = (said.broadcast().unwrap(), &parcel.broadcast);
            prop_assert_eq!(said.to, parcel.to);
            prop_assert_eq!(read.topic(), written.topic());
            prop_assert_eq!(read.alias(), written.alias());
            prop_assert_eq!(read.event(), written.event());
            prop_assert_eq!(read.payload(), written.payload());
            prop_assert_eq!(read.seq(), written.seq());
        }
    }

    #[test]
    fn junk_is_refused_or_read_but_never_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![1];
        versioned.extend(&bytes);
        for bytes in [bytes, versioned] {
            if let Ok(frame) = frame::read(Bytes::from(bytes)) {
                for said in frame.said {
                    let _ = said.broadcast();
                }
            }
        }
    }
}
