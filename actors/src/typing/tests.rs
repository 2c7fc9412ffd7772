//! The core by script and by property, and the handle under a paused clock.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use quikapp_protocol::Payload;
use quikapp_storage::{ConversationId, Timestamp, UserId};

use super::{Config, Core, Full, Typing, TypingEvent};
use crate::{
    clock::ManualClock,
    fanout::{
        ConnectionId, Deliveries, Delivery, Drained, Fanout, Lane, Outbox, OutboxLimits, SlotKey,
    },
    gossip_kit::Wire,
    presence::{ReplicaId, Tracker},
    supervision::{Supervisor, SupervisorSpec},
};

fn conversation(id: &str) -> ConversationId {
    ConversationId::parse(id).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn tracker(connection: u64) -> Tracker {
    Tracker {
        connection: ConnectionId(connection),
        slot: SlotKey(0),
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A core in one conversation, whose events are written `+alice`, `-alice`.
struct Room(Core);

impl Room {
    fn new() -> Self {
        Self(Core::new(Config::default()))
    }

    fn start(&mut self, who: &str, connection: u64, ms: u64) -> Option<String> {
        let event = self
            .0
            .start(&conversation("c"), &user(who), tracker(connection), at(ms));
        event.unwrap().as_ref().map(written)
    }

    fn stop(&mut self, connection: u64) -> Option<String> {
        self.0
            .stop(&conversation("c"), tracker(connection))
            .as_ref()
            .map(written)
    }

    fn expire(&mut self, ms: u64) -> Vec<String> {
        self.0.expire(at(ms)).iter().map(written).collect()
    }
}

fn written(event: &TypingEvent) -> String {
    format!("{}{}", if event.typing { "+" } else { "-" }, event.user)
}

#[test]
fn typing_ends_by_itself_after_five_seconds() {
    let mut room = Room::new();
    assert_eq!(room.start("alice", 1, 100), Some("+alice".into()));
    assert_eq!(room.0.next_deadline(), Some(at(5100)));
    assert!(room.expire(5099).is_empty());
    assert_eq!(room.expire(5100), ["-alice"]);
    assert!(room.0.is_empty() && room.0.next_deadline().is_none());
}

#[test]
fn a_start_refreshes_and_is_repeated_now_and_then() {
    let mut room = Room::new();
    room.start("alice", 1, 0);
    assert_eq!(room.start("alice", 1, 1999), None);
    assert_eq!(room.start("alice", 1, 2000), Some("+alice".into()));
    assert_eq!(room.start("alice", 1, 3999), None);
    assert!(room.expire(8998).is_empty());
    assert_eq!(room.expire(8999), ["-alice"]);
}

#[test]
fn a_stop_ends_it_at_once_and_once() {
    let mut room = Room::new();
    room.start("alice", 1, 0);
    assert_eq!(room.stop(1), Some("-alice".into()));
    assert_eq!(room.stop(1), None);
    assert!(room.expire(9000).is_empty());
    assert_eq!(
        room.start("alice", 1, 1),
        Some("+alice".into()),
        "it begins anew"
    );
}

#[test]
fn two_devices_of_one_person_type_as_one() {
    let mut room = Room::new();
    room.start("alice", 1, 0);
    assert_eq!(room.start("alice", 2, 100), None);
    assert_eq!(room.0.list(&conversation("c")), [user("alice")]);
    assert_eq!(room.stop(1), None, "the other device types on");
    assert_eq!(room.expire(5100), ["-alice"]);
}

#[test]
fn conversations_and_people_do_not_mix() {
    let mut room = Room::new();
    room.start("bob", 2, 0);
    room.start("alice", 1, 0);
    assert_eq!(
        room.0.list(&conversation("c")),
        [user("alice"), user("bob")]
    );
    assert!(room.0.list(&conversation("d")).is_empty());
    assert_eq!(room.stop(1), Some("-alice".into()));
    assert_eq!(room.0.list(&conversation("c")), [user("bob")]);
}

#[test]
fn a_full_core_refuses_new_typists_and_keeps_the_old() {
    let config = Config {
        max_typists: 1,
        ..Config::default()
    };
    let mut core = Core::new(config);
    let (c, alice) = (conversation("c"), user("alice"));
    core.start(&c, &alice, tracker(1), at(0)).unwrap();
    assert_eq!(core.start(&c, &user("bob"), tracker(2), at(0)), Err(Full));
    assert!(core.start(&c, &alice, tracker(1), at(10)).is_ok());
    assert_eq!(core.len(), 1);
}

/// What a core that looks at everything every time would say.
#[derive(Default)]
struct Model(BTreeMap<(u64, u64), Duration>);

proptest! {
    #[test]
    fn what_was_told_is_who_types(
        steps in prop::collection::vec((0..4u8, 0..3u64, 0..3u64, 0..3000u64), 1..200)
    ) {
        let mut core = Core::new(Config::default());
        let (mut model, mut told, mut now) = (Model::default(), BTreeMap::new(), 0);
        for (what, person, device, wait) in steps {
            now += wait;
            let connection = person * 10 + device;
            let mut events = core.expire(at(now));
            model.0.retain(|_, until| *until > at(now));
            if what < 3 {
                let who = user(&person.to_string());
                let event = core.start(&conversation("c"), &who, tracker(connection), at(now));
                events.extend(event.unwrap());
                model.0.insert((person, device), at(now + 5000));
            } else {
                events.extend(core.stop(&conversation("c"), tracker(connection)));
                model.0.remove(&(person, device));
            }
            for event in events {
                let was = told.insert(event.user.to_string(), event.typing);
                prop_assert!(event.typing || was == Some(true), "a stop follows a start");
            }
            let typing: Vec<_> = told.iter().filter(|(_, typing)| **typing).collect();
            let typing: Vec<_> = typing.into_iter().map(|(who, _)| user(who)).collect();
            let mut expected: Vec<_> = model.0.keys().map(|(p, _)| user(&p.to_string())).collect();
            expected.dedup();
            prop_assert_eq!(&typing, &expected);
            prop_assert_eq!(core.list(&conversation("c")), expected);
            prop_assert_eq!(core.len(), model.0.len());
            prop_assert_eq!(core.next_deadline(), model.0.values().min().copied());
        }
    }
}

/// A connection on `chat:c`, and what reaches it.
struct Ear {
    outbox: Arc<Outbox>,
    _subscription: crate::fanout::Subscription,
}

impl Ear {
    fn on(fanout: &Fanout, connection: u64) -> Self {
        let outbox = Arc::new(Outbox::new(
            ConnectionId(connection),
            OutboxLimits::default(),
        ));
        let subscription = fanout.subscribe("chat:c", &outbox, SlotKey(0), Lane::Own);
        Self {
            outbox,
            _subscription: subscription,
        }
    }

    async fn hears(&self) -> Vec<(String, serde_json::Value)> {
        let mut heard = Deliveries::new();
        let drained = std::future::poll_fn(|cx| self.outbox.poll_drain(cx, &mut heard)).await;
        assert!(matches!(drained, Drained::Deliveries));
        heard
            .map(|delivery| match delivery {
                Delivery::Broadcast { broadcast, .. } => {
                    let payload: &Payload = broadcast.payload();
                    (broadcast.event().to_owned(), payload.parse().unwrap())
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_others_hear_the_start_and_the_end() {
    let fanout = Fanout::new();
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let typing = Typing::start(fanout.clone(), Arc::new(clock), &Config::default());
    let (alice, bob) = (Ear::on(&fanout, 1), Ear::on(&fanout, 2));
    let began = tokio::time::Instant::now();
    typing
        .started(&conversation("c"), &user("alice"), tracker(1))
        .unwrap();
    let expected = serde_json::json!({
        "conversation_id": "c",
        "user_id": "alice",
        "timestamp": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(
        bob.hears().await,
        [("typing:start".into(), expected.clone())]
    );
    assert_eq!(typing.list(&conversation("c")), [user("alice")]);
    assert_eq!(bob.hears().await, [("typing:stop".into(), expected)]);
    let waited = began.elapsed();
    assert!(waited >= at(5000) && waited < at(5100), "{waited:?}");
    assert!(alice.outbox.is_empty(), "who types is not told");
    assert_eq!(typing.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_later_start_is_not_missed_by_the_task() {
    let fanout = Fanout::new();
    let clock = ManualClock::at(Timestamp(0));
    let typing = Typing::start(fanout.clone(), Arc::new(clock), &Config::default());
    let bob = Ear::on(&fanout, 2);
    for round in 0..3 {
        typing
            .started(&conversation("c"), &user("alice"), tracker(1))
            .unwrap();
        let heard = bob.hears().await;
        assert_eq!(heard[0].0, "typing:start", "round {round}");
        assert_eq!(bob.hears().await[0].0, "typing:stop", "round {round}");
    }
}

/// Who types on one node is heard on the other, ends there when it ends here, and by itself when
/// nothing more is heard.
#[tokio::test(start_paused = true)]
async fn who_types_on_another_node_is_heard() {
    let wire = Wire::default();
    let tree = Supervisor::start(SupervisorSpec::new("test"));
    let node = |id| {
        let (fanout, clock) = (Fanout::new(), Arc::new(ManualClock::at(Timestamp(0))));
        let typing = Typing::start(fanout.clone(), clock, &Config::default());
        let end = wire.end();
        typing.share_under(&tree, &end.shared(), ReplicaId(id));
        (typing, Ear::on(&fanout, 9), end)
    };
    let (here, heard_here, end) = node(1);
    let (there, heard_there, _) = node(2);
    // The tasks listen once they have run.
    tokio::time::sleep(at(10)).await;
    for lost in [false, true] {
        here.started(&conversation("c"), &user("alice"), tracker(1))
            .unwrap();
        assert_eq!(heard_there.hears().await[0].0, "typing:start");
        assert_eq!(
            heard_here.hears().await.len(),
            1,
            "its own node tells it once"
        );
        assert_eq!(there.list(&conversation("c")), [user("alice")]);
        end.lose(lost);
        let stopped = tokio::time::Instant::now();
        here.stopped(&conversation("c"), tracker(1));
        assert_eq!(heard_there.hears().await[0].0, "typing:stop");
        let expected = if lost {
            at(4900)..at(5100)
        } else {
            at(0)..at(100)
        };
        assert!(
            expected.contains(&stopped.elapsed()),
            "{:?}",
            stopped.elapsed()
        );
        assert_eq!(heard_here.hears().await[0].0, "typing:stop");
        assert!(there.list(&conversation("c")).is_empty());
    }
}
