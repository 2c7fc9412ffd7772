//! The handle on a real store, with its log, its projections and who is connected.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use quikapp_storage::{DeviceId, Person, Seq, SharedStore, Timestamp, UserId, WorkspaceId};
use serde_json::Value;
use tempfile::TempDir;

use super::{payload::RegisteredPayload, *};
use crate::{
    Clock,
    clock::ManualClock,
    conversation::{self, Conversations},
    delivery::{self, Delivery},
    documents::{ChangeError, Documents},
    fanout::{ConnectionId, Fanout, SlotKey},
    people::{Joined, People},
    presence::{Presence, ReplicaId, Tracker},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const DAY_MS: i64 = 24 * 3_600_000;

/// One process on a store that it may share with others.
struct Kit {
    store: SharedStore,
    people: People,
    devices: Devices,
    clock: ManualClock,
    dir: Arc<TempDir>,
}

impl Kit {
    async fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), ManualClock::at(NOW)).await
    }

    /// Another process on the same data.
    async fn beside(&self) -> Self {
        Self::on(Arc::clone(&self.dir), self.clock.clone()).await
    }

    async fn on(dir: Arc<TempDir>, clock: ManualClock) -> Self {
        let settings = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&settings).unwrap();
        let fanout = Fanout::new();
        let now: Arc<dyn Clock> = Arc::new(clock.clone());
        let presence = Presence::new(fanout.clone(), ReplicaId(1 << 8));
        let people = People::start(fanout.clone(), presence, store.clone(), now.clone());
        let settings = conversation::Config::default();
        let conversations = Conversations::start(settings, store.clone(), fanout, now.clone());
        let conversations = conversations.await.unwrap();
        let delivery = Delivery::start(delivery::Parts {
            config: delivery::Config {
                projection_window: Duration::from_millis(1),
                ..delivery::Config::default()
            },
            store: store.clone(),
            conversations: conversations.clone(),
            clock: now.clone(),
            may_send: Arc::new(|_, _, _| Box::pin(async { Ok(()) })),
            projections: Vec::new(),
        });
        let devices = Devices {
            documents: Documents::new(store.clone(), conversations),
            store: store.clone(),
            people: people.clone(),
            delivery,
            clock: now,
        };
        Self {
            store,
            people,
            devices,
            clock,
            dir,
        }
    }

    async fn register(&self, id: &str, replace: bool) -> Result<Registering, DevicesError> {
        let registered = self.devices.register(&bob(), phone(id), replace).await;
        registered.map(|(done, _)| done)
    }

    /// As many as there may be, `d0` first.
    async fn register_all(&self) {
        for nth in 0..MAX_DEVICES {
            self.register(&format!("d{nth}"), false).await.unwrap();
            self.clock.advance_ms(1);
        }
    }

    async fn ids(&self) -> Vec<String> {
        let list = self.devices.list(&bob()).await.unwrap();
        let devices = list.devices.iter();
        devices.map(|it| it.device.device_id.to_string()).collect()
    }

    async fn seen(&self, id: &str) -> Seen {
        let list = self.devices.list(&bob()).await.unwrap().devices;
        let found = list
            .into_iter()
            .find(|it| it.device.device_id == device(id));
        found.unwrap()
    }

    /// What Bob's devices have been told, in order.
    async fn told(&self) -> Vec<RegisteredPayload> {
        let own = bob().own_conversation();
        let entries = self.store.entries(&own, Seq(0), 1_000).await.unwrap();
        let told = entries.iter().map(|entry| {
            let notice: Value = serde_json::from_str(&entry.payload).unwrap();
            assert_eq!(notice["event"], "devices:registered");
            serde_json::from_value(notice["payload"].clone()).unwrap()
        });
        told.collect()
    }

    /// A device is known by a cursor, and was last used at a moment.
    async fn knows(&self, id: &str, at: Timestamp) {
        let (bob, device) = (bob(), device(id));
        let cursor = self.store.cursor_now().await.unwrap();
        let written = self.store.write_stream_cursor(&bob, &device, &cursor);
        written.await.unwrap();
        let used = vec![(bob, device)];
        self.store.devices_used(used, at).await.unwrap();
    }

    async fn is_used_at(&self, id: &str, at: Timestamp) {
        let used = async {
            while self.seen(id).await.last_used != Some(at) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), used).await;
        waited.expect("its use is written down in time");
    }

    async fn connect(&self, id: &str, connection: u64) -> Joined {
        let tracker = Tracker {
            connection: ConnectionId(connection),
            slot: SlotKey(0),
        };
        let (bob, device) = (bob(), Some(device(id)));
        self.people.joined(&bob, tracker, device).await.unwrap()
    }
}

fn bob() -> Person {
    Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new("bob").unwrap(),
    }
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn phone(id: &str) -> Registration {
    Registration {
        device_id: device(id),
        platform: Platform::Android,
        details: Details::default(),
    }
}

fn is_full(done: &Result<Registering, DevicesError>) -> bool {
    matches!(done, Err(ChangeError::Refused(Refused::Full(_))))
}

fn is_unknown<T>(done: &Result<T, DevicesError>) -> bool {
    matches!(done, Err(ChangeError::Refused(Refused::Unknown(_))))
}

#[tokio::test]
async fn every_change_is_told_in_order_and_what_changes_nothing_is_not() {
    let kit = Kit::new().await;
    let new = Registering::New { replaced: None };
    assert_eq!(kit.register("a", false).await.unwrap(), new);
    kit.register("b", false).await.unwrap();
    kit.register("a", false).await.unwrap();
    let named = Details {
        name: Some(Some("mine".to_owned())),
        ..Details::default()
    };
    let seen = kit.devices.update(&bob(), &device("b"), &named).await;
    assert_eq!(seen.unwrap().device.name.as_deref(), Some("mine"));
    kit.devices.remove(&bob(), &device("a")).await.unwrap();
    let told = kit.told().await;
    let versions: Vec<_> = told.iter().map(|told| told.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    let last = told.last().unwrap();
    assert_eq!(last.devices, [kit.seen("b").await.device]);
    assert_eq!(kit.devices.list(&bob()).await.unwrap().version, 4);
}

/// Whoever writes decides on what stands, also where another process came first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_register_at_the_same_time_come_to_one_list() {
    let here = Kit::new().await;
    let there = here.beside().await;
    let registering = (0..14).map(|nth| {
        let kit = if nth % 2 == 0 { &here } else { &there };
        async move {
            loop {
                match kit.register(&format!("d{nth}"), false).await {
                    Ok(_) => return true,
                    Err(ChangeError::Refused(refused)) => {
                        assert_eq!(refused, Refused::Full(Full));
                        return false;
                    }
                    // The other process has the conversation, for a while by the clock.
                    Err(_) => kit.clock.advance_ms(2_500),
                }
            }
        }
    });
    let done = join_all(registering).await;
    assert_eq!(done.iter().filter(|it| **it).count(), MAX_DEVICES);
    for (nth, is_in) in done.into_iter().enumerate() {
        for kit in [&here, &there] {
            assert_eq!(kit.ids().await.contains(&format!("d{nth}")), is_in);
        }
    }
    let told = here.told().await;
    let counts: Vec<_> = told.iter().map(|told| told.devices.len()).collect();
    assert_eq!(counts, (1..=MAX_DEVICES).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_one_that_was_used_earliest_and_is_not_connected_is_replaced() {
    let kit = Kit::new().await;
    kit.register_all().await;
    assert!(is_full(&kit.register("new", false).await));
    let _connected = kit.connect("d0", 1).await;
    kit.knows("d1", Timestamp(NOW.0 + 500)).await;
    kit.clock.advance_ms(1_000);
    let replaced = Registering::New {
        replaced: Some(device("d2")),
    };
    assert_eq!(kit.register("new", true).await.unwrap(), replaced);
    assert!(kit.seen("d0").await.is_connected);
    assert!(!kit.seen("new").await.is_connected);

    let mut all = Vec::new();
    for (connection, id) in (2..).zip(kit.ids().await) {
        all.push(kit.connect(&id, connection).await);
    }
    assert!(is_full(&kit.register("newer", true).await));
}

/// What is written down ahead of its time is not shown before it.
#[tokio::test]
async fn a_heartbeat_says_that_a_device_is_in_use() {
    let kit = Kit::new().await;
    kit.knows("a", Timestamp(NOW.0 - 5)).await;
    kit.register("a", false).await.unwrap();
    kit.is_used_at("a", NOW).await;
    kit.clock.advance_ms(3 * DAY_MS);
    let now = Timestamp(NOW.0 + 3 * DAY_MS);
    let before = kit.seen("a").await.last_used;
    assert!(before.is_some_and(|at| at < Timestamp(NOW.0 + DAY_MS)));
    kit.devices.heartbeat(&bob(), &device("a")).await.unwrap();
    kit.is_used_at("a", now).await;
    assert_eq!(kit.told().await.len(), 1);
    assert!(is_unknown(
        &kit.devices.heartbeat(&bob(), &device("b")).await
    ));
}

/// The list that is read may be behind the log; nobody is refused, or replaced, for that.
#[tokio::test]
async fn a_list_that_is_behind_is_not_believed() {
    let kit = Kit::new().await;
    for n in 0..10 {
        let name = format!("d{n}");
        kit.register(&name, false).await.unwrap();
        kit.clock.advance_ms(60_000);
    }
    // The first is the one in use, which only the store knows.
    kit.knows("d0", kit.clock.now()).await;
    kit.store.forget_documents(&bob()).await.unwrap();
    kit.devices.heartbeat(&bob(), &device("d3")).await.unwrap();
    assert_eq!(kit.ids().await.len(), 10, "the view has caught up");
    kit.store.forget_documents(&bob()).await.unwrap();
    kit.register("new", true).await.unwrap();
    let ids = kit.ids().await;
    assert!(
        ids.contains(&"d0".to_owned()) && !ids.contains(&"d1".to_owned()),
        "{ids:?}"
    );
}

/// One that has never acknowledged anything has no place of which the time could be written down.
#[tokio::test]
async fn a_heartbeat_of_a_device_without_a_place_is_in_the_list_once_a_day() {
    let kit = Kit::new().await;
    kit.register("a", false).await.unwrap();
    for hours in 1..=49 {
        kit.clock.advance_ms(3_600_000);
        kit.devices.heartbeat(&bob(), &device("a")).await.unwrap();
        assert_eq!(kit.told().await.len(), 1 + hours / 24);
    }
    let seen = kit.seen("a").await;
    assert_eq!(seen.last_used, None);
    assert_eq!(seen.device.updated_at, Timestamp(NOW.0 + 2 * DAY_MS));
}

#[tokio::test]
async fn a_removed_device_is_forgotten_with_its_cursors_registered_or_not() {
    let kit = Kit::new().await;
    kit.register("a", false).await.unwrap();
    for id in ["a", "b"] {
        kit.knows(id, NOW).await;
        kit.devices.remove(&bob(), &device(id)).await.unwrap();
        assert!(is_unknown(&kit.devices.remove(&bob(), &device(id)).await));
    }
    assert_eq!(kit.store.devices(&bob()).await.unwrap(), []);
    assert_eq!(kit.ids().await, [""; 0]);
    assert_eq!(kit.told().await.len(), 2);
}
