//! Persons on real shards, over a real store with its sequencers, registers and projections.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use quikapp_storage::{
    ConversationId, ConversationKind, DeviceCursor, DeviceId, MessageId, Mute, NewConversation,
    Person, RegisterChange, Role, Seq, SharedStore, Timestamp, UserId, WorkspaceId,
};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::ManualClock,
    conversation::{self, Command, Conversations, SendMessage},
    delivery::{self, Delivery, Projection},
    documents::Documents,
    entities::{self, EntityError},
    fanout::{ConnectionId, Fanout, SlotKey},
    notify::{MayNotify, Notifier, Sink},
    people::{Joined, People, Status},
    presence::{Presence, ReplicaId, Tracker},
    registers::{Change, Mark, Registers},
    supervision::{Ending, Supervisor, SupervisorSpec},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Kit {
    store: SharedStore,
    conversations: Conversations,
    registers: Registers,
    people: People,
    users: Users,
    changes: Changes,
    clock: ManualClock,
    supervisor: Supervisor,
    /// How many may have been notified.
    told: Arc<Mutex<usize>>,
    delivery: Delivery,
    _dir: TempDir,
}

impl Kit {
    async fn new() -> Self {
        Self::with(entities::Config::default()).await
    }

    async fn with(config: entities::Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&settings).unwrap();
        let (fanout, clock) = (Fanout::new(), ManualClock::at(NOW));
        let now: Arc<dyn crate::Clock> = Arc::new(clock.clone());
        let presence = Presence::new(fanout.clone(), ReplicaId(1 << 8));
        let people = People::start(fanout.clone(), presence, store.clone(), now.clone());
        let settings = conversation::Config {
            register_window: Duration::ZERO,
            ..conversation::Config::default()
        };
        let conversations =
            Conversations::start(settings.clone(), store.clone(), fanout.clone(), now.clone());
        let conversations = conversations.await.unwrap();
        let changes = conversations.tails().changes().clone();
        let registers = Registers::start(
            &settings,
            store.clone(),
            fanout,
            now.clone(),
            changes.clone(),
        );
        let told = Arc::<Mutex<usize>>::default();
        let delivery = Delivery::start(delivery::Parts {
            config: delivery::Config {
                projection_window: Duration::from_millis(1),
                ..delivery::Config::default()
            },
            store: store.clone(),
            conversations: conversations.clone(),
            clock: now.clone(),
            may_send: Arc::new(|_, _, _| Box::pin(async { Ok(()) })),
            projections: vec![counting(&store, &people, &now, &told)],
        });
        let supervisor = Supervisor::start(SupervisorSpec::new("test"));
        let parts = Parts {
            delivery: delivery::Config::default(),
            documents: Documents::new(store.clone(), conversations.clone()),
            store: store.clone(),
            people: people.clone(),
            changes: changes.clone(),
            clock: now,
        };
        let users = Users::start_under(&supervisor, &config, parts);
        Self {
            users: users.await.unwrap(),
            store,
            conversations,
            registers,
            people,
            changes,
            clock,
            supervisor,
            told,
            delivery,
            _dir: dir,
        }
    }

    async fn group(&self, members: &[&str]) -> ConversationId {
        let new = new_group(members.iter().map(|name| user(name)));
        let id = new.id.clone();
        self.conversations.create(new).await.unwrap();
        id
    }

    async fn send(&self, by: &str, id: &ConversationId, thread: Option<MessageId>) -> MessageId {
        let send = SendMessage {
            kind: "text".to_owned(),
            content: Some("hello".to_owned()),
            thread_root: thread,
            ..SendMessage::default()
        };
        let send = Command::Send(Box::new(send));
        let sent = self.conversations.submit(&person(by), id, send).await;
        sent.unwrap().id
    }

    async fn change(&self, name: &str, id: &ConversationId, change: RegisterChange) {
        let mark = Mark {
            person: person(name),
            device: None,
            conversation: id.clone(),
            message: None,
            change,
        };
        self.registers.change(Change::Mark(mark)).await.unwrap();
    }

    async fn overview(&self, name: &str) -> Overview {
        self.users.overview(&person(name)).await.unwrap()
    }

    /// The same, straight from the store and by other queries.
    async fn of_store(&self, name: &str) -> BTreeMap<ConversationId, (u64, bool, u64)> {
        let (person, user) = (person(name), user(name));
        let mut all = BTreeMap::new();
        let list = self.store.list_conversations(&person, None, 1_000).await;
        for summary in list.unwrap() {
            let id = summary.conversation.id;
            let mute = self.store.registers(&id, &user).await.unwrap().mute;
            let threads = self.store.threads(&id, &user, None, 100).await.unwrap();
            let in_threads = threads.iter().map(|it| it.unread).sum();
            if summary.unread + in_threads > 0 {
                all.insert(id, (summary.unread, mute.is_some(), in_threads));
            }
        }
        all
    }

    /// Waits until the projections have seen everything that makes a difference.
    async fn until_shown(&self, name: &str) {
        for _ in 0..2_000 {
            if listed(&self.overview(name).await) == self.of_store(name).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(
            listed(&self.overview(name).await),
            self.of_store(name).await
        );
    }

    async fn online(&self, name: &str, device: &str) -> Joined {
        let tracker = Tracker {
            connection: ConnectionId(7),
            slot: SlotKey(1),
        };
        let device = DeviceId::new(device).ok();
        let person = person(name);
        let joined = self.people.joined(&person, tracker, device);
        joined.await.unwrap()
    }

    async fn until(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if is_true(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{what} did not happen");
    }
}

/// Decides about every message, and counts who may be notified.
fn counting(
    store: &SharedStore,
    people: &People,
    now: &Arc<dyn crate::Clock>,
    told: &Arc<Mutex<usize>>,
) -> Arc<dyn Projection> {
    let told = Arc::clone(told);
    let sink = Sink::new("count", move |decided: Arc<[MayNotify]>| {
        *told.lock() += decided.len();
        std::future::ready(Ok(()))
    });
    let (store, people, now) = (store.clone(), people.clone(), now.clone());
    Notifier::new(store, people, now, vec![sink]).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: user(name),
    }
}

fn new_group(members: impl Iterator<Item = UserId>) -> NewConversation {
    NewConversation {
        id: ConversationId::generate(),
        workspace: person("ann").workspace,
        kind: ConversationKind::Group,
        name: None,
        created_by: user("ann"),
        created_at: NOW,
        members: members.map(|user| (user, Role::Owner)).collect(),
    }
}

fn listed(overview: &Overview) -> BTreeMap<ConversationId, (u64, bool, u64)> {
    let listed = overview.conversations.iter().map(|it| {
        let in_threads = it.threads.iter().map(|thread| thread.unread).sum();
        let counts = (it.unread, it.mute.is_some(), in_threads);
        (it.conversation_id.clone(), counts)
    });
    listed.collect()
}

fn idle_after(millis: u64) -> entities::Config {
    entities::Config {
        idle: Duration::from_millis(millis),
        ..entities::Config::default()
    }
}

const FOR_EVER: Mute = Mute {
    until: None,
    mentions_only: false,
};

#[tokio::test]
async fn what_was_acknowledged_is_in_the_next_answer() {
    let kit = Kit::new().await;
    assert_eq!(kit.overview("bob").await.unread, 0);
    let first = kit.group(&["ann", "bob"]).await;
    let counts = async || {
        let overview = kit.overview("bob").await;
        (overview.badge, overview.unread)
    };
    kit.send("ann", &first, None).await;
    assert_eq!(counts().await, (1, 1), "a conversation that is new to them");
    kit.send("ann", &first, None).await;
    assert_eq!(counts().await, (2, 2));
    kit.change("bob", &first, RegisterChange::Mute(Some(FOR_EVER)))
        .await;
    assert_eq!(counts().await, (0, 2));
    kit.change("bob", &first, RegisterChange::Read(Seq(1)))
        .await;
    assert_eq!(counts().await, (0, 1));
    kit.change("bob", &first, RegisterChange::Mute(None)).await;
    kit.change("bob", &first, RegisterChange::UnreadFrom(Seq(1)))
        .await;
    assert_eq!(counts().await, (2, 2));
    let leave = Command::RemoveMember { user: user("bob") };
    let left = kit
        .conversations
        .submit(&person("bob"), &first, leave)
        .await;
    left.unwrap();
    assert_eq!(counts().await, (0, 0), "what was left is nothing to them");
    assert_eq!(kit.users.active(), 1);
}

#[tokio::test]
async fn threads_are_counted_for_their_followers() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let root = kit.send("bob", &id, None).await;
    assert_eq!(kit.overview("bob").await.unread, 0);
    for _ in 0..3 {
        kit.send("ann", &id, Some(root)).await;
    }
    let mut overview = kit.overview("bob").await;
    while overview.badge < 3 {
        overview = kit.overview("bob").await;
    }
    let found = &overview.conversations[0];
    assert_eq!((overview.badge, found.unread), (3, 0));
    assert_eq!(found.threads, [InThread { root, unread: 3 }]);
}

#[tokio::test]
async fn what_waits_for_a_device_is_shown_with_how_far_it_is() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let bob = person("bob");
    let phone = DeviceId::new("phone").unwrap();
    let cursor = kit.store.cursor_now().await.unwrap();
    let stream = Change::Stream {
        person: bob.clone(),
        device: phone.clone(),
        cursor,
    };
    kit.registers.change(stream).await.unwrap();
    let pending = kit.overview("bob").await.pending;
    let shown = |is_connected, reset_required| DeviceBehind {
        device_id: phone.clone(),
        platform: None,
        name: None,
        is_connected,
        reset_required,
    };
    assert_eq!(pending.devices, [shown(false, false)]);
    for _ in 0..3 {
        kit.send("ann", &id, None).await;
    }
    let mut count = 0;
    while count < 3 {
        let pending = kit.overview("bob").await.pending;
        assert!(pending.count >= count, "no acknowledgement yet");
        count = pending.count;
    }
    let _online = kit.online("bob", "phone").await;
    kit.people.choose_status(&bob, Status::Dnd).await.unwrap();
    let overview = kit.overview("bob").await;
    assert_eq!(overview.chosen.status, Status::Dnd);
    assert_eq!(overview.pending.devices, [shown(true, false)]);
    // A week is over, and something is left that is older.
    kit.clock.advance_ms(8 * 24 * 3_600_000);
    let overview = kit.overview("bob").await;
    assert_eq!(overview.pending.devices, [shown(true, true)]);
    let reached = DeviceCursor {
        person: bob.clone(),
        device: phone.clone(),
        conversation: id.clone(),
        seq: Seq(3),
    };
    kit.registers.change(Change::Cursor(reached)).await.unwrap();
    kit.delivery.acknowledged(&bob, &phone, Some(&id));
    while kit.overview("bob").await.pending.count > 0 {
        tokio::task::yield_now().await;
    }
}

/// As many as a person may have, each as it stands.
#[tokio::test]
async fn all_devices_are_shown() {
    const ALL: usize = 40;
    let kit = Kit::new().await;
    let bob = person("bob");
    let cursor = kit.store.cursor_now().await.unwrap();
    let mut expected = Vec::new();
    for nth in 0..ALL {
        let device = DeviceId::new(format!("device-{nth:02}")).unwrap();
        let written = kit.store.write_stream_cursor(&bob, &device, &cursor);
        written.await.unwrap();
        expected.push(device);
    }
    let shown = kit.overview("bob").await.pending.devices.into_iter();
    let shown: Vec<_> = shown.map(|it| it.device_id).collect();
    assert_eq!(shown, expected);
}

/// A walk of many steps, compared after each with what other queries of the store say.
#[tokio::test]
async fn the_entity_agrees_with_the_store_on_a_long_walk() {
    let kit = Kit::with(idle_after(40)).await;
    let mut groups = vec![kit.group(&["ann", "bob"]).await];
    let mut roots = Vec::new();
    let mut state = 42_u64;
    for step in 0..120 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let number = usize::try_from(state >> 33).unwrap();
        let id = groups[number % groups.len()].clone();
        match (number / 7) % 7 {
            0 if groups.len() < 6 => groups.push(kit.group(&["ann", "bob"]).await),
            0 | 1 => roots.push((id.clone(), kit.send("bob", &id, None).await)),
            2 => {
                let thread = roots.iter().rfind(|(at, _)| *at == id);
                kit.send("ann", &id, thread.map(|(_, root)| *root)).await;
            }
            3 => kit.change("bob", &id, RegisterChange::Read(Seq(3))).await,
            4 => {
                let mute = (number % 2 == 0).then_some(FOR_EVER);
                kit.change("bob", &id, RegisterChange::Mute(mute)).await;
            }
            5 if step % 3 == 0 => {
                kit.until("passivation", |kit| kit.users.active() == 0)
                    .await;
            }
            _ => drop(kit.send("ann", &id, None).await),
        }
        kit.until_shown("bob").await;
    }
}

#[tokio::test]
async fn the_idle_are_let_go_and_nothing_of_them_stays() {
    let kit = Kit::with(idle_after(20)).await;
    let id = kit.group(&["ann", "bob"]).await;
    let _online = kit.online("bob", "phone").await;
    kit.send("ann", &id, None).await;
    assert_eq!(kit.overview("bob").await.unread, 1);
    kit.until("passivation", |kit| {
        kit.users.active() == 0 && kit.changes.watched() == (0, 0)
    })
    .await;
    assert_eq!(kit.people.count(), 1, "connected all the same");
    kit.send("ann", &id, None).await;
    assert_eq!(kit.overview("bob").await.unread, 2);
}

#[tokio::test]
async fn an_entry_in_a_large_group_wakes_nobody() {
    let kit = Kit::new().await;
    let others = (0..9_999).map(|n| user(&format!("p{n}")));
    let new = new_group(others.chain([user("ann")]));
    let id = new.id.clone();
    // Without the notices that being invited brings.
    kit.store.create_conversation(new).await.unwrap();
    assert_eq!(kit.overview("p7").await.unread, 0);
    kit.send("ann", &id, None).await;
    kit.until("all are decided", |kit| *kit.told.lock() == 9_999)
        .await;
    assert_eq!(kit.users.active(), 1, "only who was there before");
    let (conversations, people) = kit.changes.watched();
    assert!(conversations <= 2 && people == 1);
    let mut in_tree = 0;
    kit.supervisor.tree().walk(&mut |node| {
        if node.kind == "user" {
            in_tree += node.count;
        }
    });
    assert_eq!(in_tree, 1);
    assert_eq!(kit.overview("p7").await.unread, 1);
}

#[tokio::test]
async fn too_many_questions_are_refused_and_the_others_answered() {
    let kit = Kit::with(entities::Config {
        host_queue: 4,
        ..entities::Config::default()
    })
    .await;
    let names: Vec<_> = (0..40).map(|n| format!("p{n}")).collect();
    let asked = names.iter().map(|name| {
        let (users, person) = (kit.users.clone(), person(name));
        async move { users.overview(&person).await }
    });
    let answers = join_all(asked).await;
    let refused = answers.iter().filter_map(|it| it.as_ref().err());
    assert!(refused.clone().all(|it| *it == EntityError::Overloaded));
    assert!(refused.count() > 0);
    assert!(answers.iter().any(Result::is_ok));
    assert_eq!(kit.overview("p39").await.unread, 0, "and it is over");
}

#[tokio::test]
async fn an_orderly_stop_lets_everybody_go() {
    let kit = Kit::new().await;
    kit.group(&["ann", "bob"]).await;
    for name in ["ann", "bob"] {
        kit.overview(name).await;
    }
    assert_eq!(kit.users.active(), 2);
    assert_eq!(kit.supervisor.stop().await, Ending::Stopped);
    assert_eq!(kit.users.active(), 0);
    assert_eq!(kit.changes.watched(), (0, 0));
    let late = kit.users.overview(&person("bob")).await;
    assert_eq!(late, Err(EntityError::Unavailable));
}

#[tokio::test]
async fn what_another_process_wrote_is_known_after_a_while() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.send("ann", &id, None).await;
    assert_eq!(kit.overview("bob").await.unread, 1);
    let read = quikapp_storage::RegisterWrite {
        conversation: id.clone(),
        user: user("bob"),
        change: RegisterChange::Read(Seq(1)),
    };
    kit.store.write_registers(vec![read]).await.unwrap();
    kit.clock.advance_ms(FRESH);
    assert_eq!(kit.overview("bob").await.unread, 0);
}
