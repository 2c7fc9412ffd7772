use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quikapp_storage::{PeopleStore, ProfileChange, StoreError};
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::ManualClock,
    fanout::{Deliveries, Delivery, Drained, Fanout, Lane, Outbox, OutboxLimits, Subscription},
    gossip_kit::Wire,
    people::{
        ChooseError, Connected, Joined, People, PersonSeen, Shown, Status, lobby_room, own_topic,
    },
    presence::{Presence, ReplicaId, room_of, workspace_room},
    supervision::{Supervisor, SupervisorSpec},
};

/// Profiles in memory, and a switch that makes writing fail.
#[derive(Debug, Default)]
struct Profiles {
    kept: Mutex<HashMap<Person, Profile>>,
    is_full: AtomicBool,
    /// Nothing can be read.
    is_away: AtomicBool,
    /// The next write takes [`SLOWLY`].
    is_slow: AtomicBool,
    /// The next write panics.
    is_poisoned: AtomicBool,
}

#[async_trait]
impl PeopleStore for Profiles {
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError> {
        if self.is_poisoned.swap(false, Ordering::SeqCst) {
            panic!("as asked");
        }
        if self.is_full.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("disk full".into()));
        }
        if self.is_slow.swap(false, Ordering::SeqCst) {
            tokio::time::sleep(SLOWLY).await;
        }
        let mut kept = self.kept.lock();
        let profile = kept.entry(person.clone()).or_insert_with(|| Profile {
            person: person.clone(),
            name: None,
            last_seen: None,
            presence: None,
            last_seen_public: false,
        });
        profile.last_seen = change.last_seen.or(profile.last_seen);
        profile.last_seen_public = change.last_seen_public.unwrap_or(profile.last_seen_public);
        if let Some(presence) = change.presence {
            profile.presence = presence;
        }
        Ok(())
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".into()));
        }
        let kept = self.kept.lock();
        let is_asked =
            |person: &Person| person.workspace == *workspace && users.contains(&person.user);
        Ok(kept
            .values()
            .filter(|profile| is_asked(&profile.person))
            .cloned()
            .collect())
    }

    async fn set_block(
        &self,
        _: &Person,
        _: &UserId,
        _: bool,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn blocks(&self, _: &Person) -> Result<Vec<UserId>, StoreError> {
        Ok(Vec::new())
    }
}

const SLOWLY: Duration = Duration::from_secs(2);

struct Node {
    fanout: Fanout,
    presence: Presence,
    people: People,
    clock: ManualClock,
}

impl Node {
    fn on(store: &Arc<Profiles>) -> Self {
        Self::of(store, 1)
    }

    fn of(store: &Arc<Profiles>, number: u64) -> Self {
        let fanout = Fanout::new();
        let presence = Presence::new(fanout.clone(), ReplicaId(number << 8));
        let clock = ManualClock::at(Timestamp(1_000));
        let people = People::start(
            fanout.clone(),
            presence.clone(),
            store.clone(),
            Arc::new(clock.clone()),
        );
        Self {
            fanout,
            presence,
            people,
            clock,
        }
    }

    fn shares(&self, wire: &Wire) -> Supervisor {
        let tree = Supervisor::start(SupervisorSpec::new("node"));
        self.presence.share_under(&tree, &wire.end().shared());
        tree
    }

    async fn comes_to_know(&self, person: &Person, wanted: &Option<Connected>) {
        let known = async {
            while self.people.connected(person) != *wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let known = tokio::time::timeout(Duration::from_secs(5), known).await;
        assert!(
            known.is_ok(),
            "{:?}, not {wanted:?}",
            self.people.connected(person)
        );
    }

    /// A device of somebody, on the first channel of a connection.
    async fn joins(&self, person: &Person, connection: u64, id: &str) -> Joined {
        let joined = self
            .people
            .joined(person, tracker(connection, 1), device(id));
        joined.await.unwrap()
    }

    async fn chooses(&self, person: &Person, status: Status) {
        self.people.choose_status(person, status).await.unwrap();
    }

    async fn asks(&self, person: &Person) -> PersonSeen {
        let users = std::slice::from_ref(&person.user);
        let asked = self.people.ask(&person.workspace, users).await;
        asked.unwrap().remove(0).seen
    }

    async fn comes_to_show(&self, person: &Person, wanted: Shown) {
        let shown = || self.people.myself(person).map(|seen| seen.status);
        let shows = async {
            while shown() != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let shows = tokio::time::timeout(Duration::from_secs(5), shows).await;
        assert!(shows.is_ok(), "{:?}, not {wanted:?}", shown());
    }

    fn ear(&self, topic: &str) -> Ear {
        let outbox = Arc::new(Outbox::new(ConnectionId(99), OutboxLimits::default()));
        let subscription = self.fanout.subscribe(topic, &outbox, SlotKey(0), Lane::Own);
        Ear {
            outbox,
            heard: Deliveries::new(),
            _subscription: subscription,
        }
    }
}

struct Ear {
    outbox: Arc<Outbox>,
    heard: Deliveries,
    _subscription: Subscription,
}

impl Ear {
    async fn hears(&mut self) -> (String, Value) {
        if self.heard.is_empty() {
            let heard = &mut self.heard;
            let drained = std::future::poll_fn(|cx| self.outbox.poll_drain(cx, heard)).await;
            assert!(matches!(drained, Drained::Deliveries));
        }
        match self.heard.pop_front() {
            Some(Delivery::Broadcast { broadcast, .. }) => (
                broadcast.event().to_owned(),
                broadcast.payload().parse().unwrap(),
            ),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn hears_nothing(&self) -> bool {
        self.heard.is_empty() && self.outbox.is_empty()
    }
}

fn alice_at(ms: i64) -> Value {
    json!(Timestamp(ms))
}

#[tokio::test]
async fn the_lobby_hears_of_comings_and_goings() {
    let node = Node::on(&Arc::default());
    let mut lobby = node.ear(&lobby_room(&person("alice").workspace));
    let joined = node
        .people
        .joined(&person("alice"), tracker(1, 1), None)
        .await
        .unwrap();
    let online = json!({"user_id": "alice", "status": "online", "online_at": alice_at(1000)});
    assert_eq!(lobby.hears().await, ("user:online".into(), online));
    drop(joined);
    let offline = json!({"user_id": "alice", "last_seen": null});
    assert_eq!(lobby.hears().await, ("user:offline".into(), offline));
    assert_eq!(node.people.count(), 0);
}

#[tokio::test]
async fn a_status_is_written_shown_told_and_outlives_a_restart() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let (room, workspace) = (
        topic("presence:c"),
        room_of(&alice.workspace, "presence:global"),
    );
    let (mut on_room, mut on_all) = (node.ear(&room), node.ear(&workspace));
    let mut own = node.ear(&own_topic(&alice));
    let joined = node
        .people
        .joined(&alice, tracker(1, 1), device("phone"))
        .await
        .unwrap();
    joined.enter(&room).unwrap();
    assert_eq!(on_room.hears().await.0, "presence_diff");

    node.people
        .choose_status(&alice, Status::Away)
        .await
        .unwrap();
    let (event, diff) = on_room.hears().await;
    assert_eq!(event, "presence_diff");
    assert_eq!(diff["joins"]["alice"]["metas"][0]["status"], "away");
    assert_eq!(diff["leaves"]["alice"]["metas"][0]["status"], "online");
    for ear in [&mut on_room, &mut on_all, &mut own] {
        let (event, payload) = ear.hears().await;
        assert_eq!(event, "user:status:changed");
        assert_eq!(
            (&payload["user_id"], &payload["status"]),
            (&json!("alice"), &json!("away"))
        );
    }
    drop(joined);

    let reborn = Node::on(&store);
    let _joined = reborn
        .people
        .joined(&alice, tracker(1, 1), None)
        .await
        .unwrap();
    assert_eq!(reborn.people.myself(&alice).unwrap().status, Shown::Away);
}

#[tokio::test]
async fn a_choice_that_cannot_be_written_is_neither_shown_nor_told() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let _joined = node
        .people
        .joined(&alice, tracker(1, 1), None)
        .await
        .unwrap();
    let own = node.ear(&own_topic(&alice));
    store.is_full.store(true, Ordering::SeqCst);
    let refused = node.people.choose_status(&alice, Status::Busy).await;
    assert!(matches!(
        refused,
        Err(ChooseError::Store(StoreError::Unavailable(_)))
    ));
    assert_eq!(node.people.myself(&alice).unwrap().status, Shown::Online);
    assert!(own.hears_nothing());
}

/// The task that writes is supervised: its panic is heard by who waits, and by nobody else.
#[tokio::test]
async fn a_panic_while_writing_costs_one_answer_and_the_next_choice_is_written() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let _joined = node
        .people
        .joined(&alice, tracker(1, 1), None)
        .await
        .unwrap();
    store.is_poisoned.store(true, Ordering::SeqCst);
    let lost = node.people.choose_status(&alice, Status::Busy).await;
    assert_eq!(lost, Err(ChooseError::Overloaded));
    let chosen = node.people.choose_status(&alice, Status::Away).await;
    assert_eq!(chosen, Ok(()));
    assert_eq!(node.people.myself(&alice).unwrap().status, Shown::Away);
}

#[tokio::test]
async fn an_invisible_person_looks_offline_to_all_but_themselves() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let room = topic("presence:c");
    let joined = node
        .people
        .joined(&alice, tracker(1, 1), device("phone"))
        .await
        .unwrap();
    joined.enter(&room).unwrap();
    let mut lobby = node.ear(&lobby_room(&alice.workspace));
    let mut own = node.ear(&own_topic(&alice));
    node.clock.advance_ms(500);
    node.people
        .choose_status(&alice, Status::Invisible)
        .await
        .unwrap();

    assert_eq!(lobby.hears().await.0, "user:offline");
    assert_eq!(own.hears().await.1["status"], "invisible");
    assert!(node.presence.list(&room).is_empty());
    assert!(node.people.online(&alice.workspace, None, 10).is_empty());
    node.clock.advance_ms(500);
    let ask = || async {
        let asked = node
            .people
            .ask(&alice.workspace, std::slice::from_ref(&alice.user));
        asked.await.unwrap().remove(0).seen
    };
    let seen = ask().await;
    assert_eq!(
        (seen.status, seen.last_seen),
        (Shown::Offline, Some(Timestamp(1500)))
    );
    drop(joined);
    node.people.flush().await;
    assert_eq!(
        ask().await.last_seen,
        Some(Timestamp(1500)),
        "leaving adds nothing"
    );
    assert!(lobby.hears_nothing());
}

#[tokio::test]
async fn last_seen_is_written_when_the_last_socket_goes() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let tabs = [tracker(1, 1), tracker(2, 1)];
    let [one, two] = tabs.map(|tab| node.people.joined(&alice, tab, None));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    drop(one);
    node.people.flush().await;
    assert!(store.kept.lock().is_empty(), "one tab is still open");
    node.clock.advance_ms(234);
    drop(two);
    node.people.flush().await;
    assert_eq!(store.kept.lock()[&alice].last_seen, Some(Timestamp(1234)));
}

#[tokio::test]
async fn choices_made_at_once_are_all_kept() {
    let store: Arc<Profiles> = Arc::default();
    let node = Node::on(&store);
    let alice = person("alice");
    let _joined = node
        .people
        .joined(&alice, tracker(1, 1), None)
        .await
        .unwrap();
    let (status, words) = tokio::join!(
        node.people.choose_status(&alice, Status::Dnd),
        node.people
            .choose_custom(&alice, Some(busy_with("thinking", None))),
    );
    status.unwrap();
    words.unwrap();
    let kept = store.kept.lock()[&alice].presence.clone().unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        kept,
        json!({"status": "dnd", "custom": {"text": "thinking"}})
    );
}

#[tokio::test(start_paused = true)]
async fn custom_statuses_are_cleared_by_the_task() {
    let node = Node::on(&Arc::default());
    let alice = person("alice");
    let _joined = node
        .people
        .joined(&alice, tracker(1, 1), None)
        .await
        .unwrap();
    let mut own = node.ear(&own_topic(&alice));
    let lunch = busy_with("lunch", Some(Timestamp(31_000)));
    node.people
        .choose_custom(&alice, Some(lunch))
        .await
        .unwrap();
    assert_eq!(own.hears().await.1["custom_status"]["text"], "lunch");
    node.clock.advance_ms(30_000);
    let (event, payload) = own.hears().await;
    assert_eq!(event, "user:custom_status:changed");
    assert_eq!(payload["custom_status"], Value::Null);
}

#[tokio::test]
async fn who_is_not_connected_chooses_nothing() {
    let node = Node::on(&Arc::default());
    let refused = node
        .people
        .choose_status(&person("alice"), Status::Busy)
        .await;
    assert!(matches!(refused, Err(ChooseError::NotConnected(_))));
}

/// Nodes tell each other of whoever is connected, and nobody else: an invisible person is known to
/// be, and shown nowhere.
#[tokio::test(start_paused = true)]
async fn who_is_connected_to_another_node_is_known_here_invisible_or_not() {
    let store = Arc::<Profiles>::default();
    let ([here, there], _trees) = sharing(&store);
    let alice = person("alice");
    let connected = |status, devices: &[&str]| {
        Some(Connected {
            status,
            devices: devices.iter().filter_map(|id| device(id)).collect(),
        })
    };
    let phone = here.people.joined(&alice, tracker(1, 1), device("phone"));
    let phone = phone.await.unwrap();
    let online = connected(Some(Status::Online), &["phone"]);
    there.comes_to_know(&alice, &online).await;
    assert_eq!(there.people.myself(&alice), None, "not connected to it");

    let hides = here.people.choose_status(&alice, Status::Invisible);
    hides.await.unwrap();
    let hidden = connected(Some(Status::Invisible), &["phone"]);
    there.comes_to_know(&alice, &hidden).await;
    assert_eq!(there.asks(&alice).await.status, Shown::Offline);
    assert_eq!(
        there
            .presence
            .counts(&workspace_room(&alice.workspace))
            .keys,
        0
    );

    let laptop = there.people.joined(&alice, tracker(2, 1), device("laptop"));
    let laptop = laptop.await.unwrap();
    let both = connected(Some(Status::Invisible), &["laptop", "phone"]);
    there.comes_to_know(&alice, &both).await;
    let shows = there.people.choose_status(&alice, Status::Busy);
    shows.await.unwrap();
    let both = connected(Some(Status::Busy), &["laptop", "phone"]);
    there.comes_to_know(&alice, &both).await;
    drop(phone);
    let laptop_only = connected(Some(Status::Busy), &["laptop"]);
    there.comes_to_know(&alice, &laptop_only).await;
    here.comes_to_know(&alice, &laptop_only).await;
    drop(laptop);
    here.comes_to_know(&alice, &None).await;
}

/// Nodes on one store that tell each other of their people.
fn sharing<const N: usize>(store: &Arc<Profiles>) -> ([Node; N], [Supervisor; N]) {
    let wire = Wire::default();
    let nodes: [Node; N] = std::array::from_fn(|at| Node::of(store, at as u64 + 1));
    let trees = nodes.each_ref().map(|node| node.shares(&wire));
    (nodes, trees)
}

/// Alice with a phone on one node and a laptop on another, each in a room of its own.
async fn on_both(here: &Node, there: &Node) -> [Joined; 2] {
    let alice = person("alice");
    let phone = here.people.joined(&alice, tracker(1, 1), device("phone"));
    let laptop = there.people.joined(&alice, tracker(2, 1), device("laptop"));
    let (phone, laptop) = (phone.await.unwrap(), laptop.await.unwrap());
    phone.enter(&topic("presence:c")).unwrap();
    laptop.enter(&topic("presence:d")).unwrap();
    let both = Some(Connected {
        status: Some(Status::Online),
        devices: ["laptop", "phone"]
            .iter()
            .filter_map(|id| device(id))
            .collect(),
    });
    there.comes_to_know(&alice, &both).await;
    [phone, laptop]
}

#[tokio::test(start_paused = true)]
async fn what_is_chosen_on_one_node_is_shown_and_told_by_all() {
    let store = Arc::<Profiles>::default();
    let ([here, there], _trees) = sharing(&store);
    let alice = person("alice");
    let _joined = on_both(&here, &there).await;
    let mut own = there.ear(&own_topic(&alice));
    let mut lobby = there.ear(&lobby_room(&alice.workspace));

    here.chooses(&alice, Status::Away).await;
    let (event, told) = own.hears().await;
    assert_eq!(
        (event.as_str(), &told["status"]),
        ("user:status:changed", &json!("away"))
    );
    let shown = there.presence.list(&topic("presence:d"));
    assert!(shown.to_payload().parse::<Value>().unwrap()["alice"]["metas"][0]["status"] == "away");

    // What is chosen on two nodes in turn is laid over each other, not over what each knew.
    let words = there
        .people
        .choose_custom(&alice, Some(busy_with("lunch", None)));
    words.await.unwrap();
    here.chooses(&alice, Status::Dnd).await;
    there.comes_to_show(&alice, Shown::Dnd).await;
    let words = |node: &Node| {
        node.people
            .myself(&alice)
            .unwrap()
            .custom_status
            .unwrap()
            .text
    };
    assert_eq!(
        (words(&here), words(&there)),
        ("lunch".into(), "lunch".into())
    );

    here.chooses(&alice, Status::Invisible).await;
    assert_eq!(lobby.hears().await.0, "user:offline");
    assert_eq!(there.asks(&alice).await.status, Shown::Offline);
    assert!(there.presence.list(&topic("presence:d")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_cannot_be_read_yet_is_taken_over_once_it_can() {
    let store = Arc::<Profiles>::default();
    let ([here, there], _trees) = sharing(&store);
    let alice = person("alice");
    let [phone, _laptop] = on_both(&here, &there).await;
    here.chooses(&alice, Status::Invisible).await;
    store.is_away.store(true, Ordering::SeqCst);
    // The phone is gone before the laptop's node could read what was chosen on it.
    drop(phone);
    here.people.flush().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(there.people.myself(&alice).unwrap().status, Shown::Online);
    store.is_away.store(false, Ordering::SeqCst);
    there.comes_to_show(&alice, Shown::Invisible).await;
}

/// Somebody who joins reads their profile first, and may have chosen something else meanwhile.
#[tokio::test(start_paused = true)]
async fn who_comes_with_what_they_chose_before_is_corrected() {
    let store = Arc::<Profiles>::default();
    let ([here, there], _trees) = sharing(&store);
    let alice = person("alice");
    let _phone = here.joins(&alice, 1, "phone").await;
    here.chooses(&alice, Status::Busy).await;
    let busy = Some(Connected {
        status: Some(Status::Busy),
        devices: device("phone").into_iter().collect(),
    });
    there.comes_to_know(&alice, &busy).await;
    assert_eq!(
        there.asks(&alice).await.status,
        Shown::Busy,
        "without a socket there"
    );

    let written = store.kept.lock().remove(&alice);
    let _laptop = there.joins(&alice, 2, "laptop").await;
    assert_eq!(there.people.myself(&alice).unwrap().status, Shown::Online);
    store
        .kept
        .lock()
        .extend(written.map(|it| (alice.clone(), it)));
    there.comes_to_show(&alice, Shown::Busy).await;
}

/// A choice whose socket closed before it was written, and one that was told for a moment only.
#[tokio::test(start_paused = true)]
async fn who_hides_and_leaves_is_hidden_on_all_other_nodes() {
    let store = Arc::<Profiles>::default();
    let ([here, there, yonder], _trees) = sharing(&store);
    let alice = person("alice");
    let [phone, _laptop] = on_both(&here, &there).await;
    let _tablet = yonder.joins(&alice, 3, "tablet").await;
    here.chooses(&alice, Status::Invisible).await;
    drop(phone);
    for node in [&there, &yonder] {
        node.comes_to_show(&alice, Shown::Invisible).await;
    }

    let phone = here
        .people
        .joined(&alice, tracker(1, 2), device("phone"))
        .await
        .unwrap();
    here.comes_to_show(&alice, Shown::Invisible).await;
    store.is_slow.store(true, Ordering::SeqCst);
    let (chosen, ()) = tokio::join!(here.people.choose_status(&alice, Status::Busy), async {
        tokio::time::sleep(SLOWLY / 2).await;
        drop(phone);
    });
    assert!(
        matches!(chosen, Err(ChooseError::NotConnected(_))),
        "{chosen:?}"
    );
    for node in [&there, &yonder] {
        node.comes_to_show(&alice, Shown::Busy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whether_last_seen_is_public_is_known_wherever_it_was_changed() {
    let store = Arc::<Profiles>::default();
    let ([here, there, yonder], _trees) = sharing(&store);
    let alice = person("alice");
    let _joined = on_both(&here, &there).await;
    // By REST, at a node where she has no socket.
    for public in [true, false] {
        let change = ProfileChange {
            last_seen_public: Some(public),
            ..ProfileChange::default()
        };
        store.put_profile(&alice, change).await.unwrap();
        yonder.people.last_seen_shown(&alice, public);
        for node in [&here, &there] {
            let users = std::slice::from_ref(&alice.user);
            let began = tokio::time::Instant::now();
            while node.people.ask(&alice.workspace, users).await.unwrap()[0].last_seen_public
                != public
            {
                assert!(began.elapsed() < Duration::from_secs(5));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn words_that_had_their_time_do_not_come_back_and_those_of_the_hidden_are_not_told() {
    let store = Arc::<Profiles>::default();
    let ([here, there], _trees) = sharing(&store);
    let alice = person("alice");
    let _phone = here.joins(&alice, 1, "phone").await;
    let lunch = busy_with("lunch", Some(Timestamp(31_000)));
    here.people
        .choose_custom(&alice, Some(lunch))
        .await
        .unwrap();
    here.clock.advance_ms(30_000);
    let mut own = here.ear(&own_topic(&alice));
    assert_eq!(own.hears().await.1["custom_status"], Value::Null);
    here.chooses(&alice, Status::Busy).await;
    assert_eq!(own.hears().await.0, "user:status:changed");
    here.chooses(&alice, Status::Invisible).await;
    assert_eq!(own.hears().await.1["status"], "invisible");
    assert!(own.hears_nothing());

    let words = busy_with("not for all", None);
    here.people
        .choose_custom(&alice, Some(words))
        .await
        .unwrap();
    // What this node has heard of her is older than what the store has.
    let seen = there.asks(&alice).await;
    assert_eq!((seen.status, seen.custom_status), (Shown::Offline, None));
}
