//! The decision by script, and the projection over a real log.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use quikapp_storage::{
    ConversationId, ConversationKind, DeviceId, Document, DocumentKind, EntryId, MessageId, Mute,
    NewConversation, Person, RegisterChange, RegisterWrite, Role, Seq, SharedStore, Timestamp,
    UserId, WorkspaceId,
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::{
    clock::ManualClock,
    conversation::{self, Command, Conversations, MessageClass, SendMessage},
    delivery::{self, Delivery, Projection},
    fanout::{ConnectionId, Fanout, SlotKey},
    people::{Joined, People, Status},
    preferences::{Notify, Preferences, Previews},
    presence::{Presence, ReplicaId, Tracker},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: user(name),
    }
}

fn entry() -> EntrySeen {
    EntrySeen {
        conversation: ConversationId::parse("c").unwrap(),
        is_direct: false,
        seq: Seq(5),
        message: MessageId::from(EntryId::generate()),
        sender: user("ann"),
        kind: "text".into(),
        class: MessageClass::Persistent,
        thread_root: None,
        mentions: Vec::new(),
        silent: false,
        urgent: false,
        at: NOW,
    }
}

fn bob() -> Recipient {
    Recipient {
        person: person("bob"),
        from_seq: Seq(1),
        mute: None,
        preferences: Preferences::default(),
        status: Status::Online,
        is_connected: false,
        devices: Vec::new(),
    }
}

fn reason(entry: &EntrySeen, recipient: &Recipient) -> Option<Reason> {
    decide(entry, recipient, NOW).map(|told| told.reason)
}

fn muted(until: Option<i64>, mentions_only: bool) -> Recipient {
    let until = until.map(|after| Timestamp(NOW.0 + after));
    Recipient {
        mute: Some(Mute {
            until,
            mentions_only,
        }),
        ..bob()
    }
}

fn mentioning(name: &str) -> EntrySeen {
    EntrySeen {
        mentions: vec![user(name)],
        ..entry()
    }
}

#[test]
fn the_strongest_reason_counts() {
    assert_eq!(reason(&entry(), &bob()), Some(Reason::Group));
    let direct = EntrySeen {
        is_direct: true,
        ..entry()
    };
    assert_eq!(reason(&direct, &bob()), Some(Reason::Direct));
    assert_eq!(reason(&mentioning("bob"), &bob()), Some(Reason::Mention));
    assert_eq!(reason(&mentioning("eve"), &bob()), Some(Reason::Group));
    let call = EntrySeen {
        urgent: true,
        ..mentioning("bob")
    };
    assert_eq!(reason(&call, &bob()), Some(Reason::Urgent));
    assert!(decide(&call, &bob(), NOW).unwrap().mentioned);
}

#[test]
fn never_the_sender_nor_who_came_later() {
    let ann = Recipient {
        person: person("ann"),
        ..bob()
    };
    assert_eq!(reason(&mentioning("ann"), &ann), None);
    let later = Recipient {
        from_seq: Seq(6),
        ..bob()
    };
    assert_eq!(reason(&mentioning("bob"), &later), None);
}

#[test]
fn a_mute_lets_through_what_it_says_and_what_is_urgent() {
    let urgent = EntrySeen {
        urgent: true,
        ..entry()
    };
    let table = [
        (muted(None, false), None, None),
        (muted(None, true), None, Some(Reason::Mention)),
        (muted(Some(1), false), None, None),
        (
            muted(Some(0), false),
            Some(Reason::Group),
            Some(Reason::Mention),
        ),
    ];
    for (recipient, plain, mention) in table {
        assert_eq!(reason(&entry(), &recipient), plain, "{recipient:?}");
        assert_eq!(
            reason(&mentioning("bob"), &recipient),
            mention,
            "{recipient:?}"
        );
        assert_eq!(
            reason(&urgent, &recipient),
            Some(Reason::Urgent),
            "{recipient:?}"
        );
    }
    let told = decide(&mentioning("bob"), &muted(None, true), NOW).unwrap();
    assert!(told.mute.is_some(), "the mute that it came through");
    let told = decide(&entry(), &muted(Some(0), false), NOW).unwrap();
    assert_eq!(told.mute, None, "its time is over");
}

/// All that may be said, by name: plain, in a thread, to one alone, and so on.
fn sayings() -> [(&'static str, EntrySeen); 7] {
    let in_thread = Some(MessageId::from(EntryId::generate()));
    let direct = EntrySeen {
        is_direct: true,
        ..entry()
    };
    let reply = EntrySeen {
        thread_root: in_thread,
        ..entry()
    };
    let direct_reply = EntrySeen {
        thread_root: in_thread,
        ..direct.clone()
    };
    let reply_to_bob = EntrySeen {
        thread_root: in_thread,
        ..mentioning("bob")
    };
    let call = EntrySeen {
        urgent: true,
        thread_root: in_thread,
        ..entry()
    };
    [
        ("plain", entry()),
        ("reply", reply),
        ("direct", direct),
        ("direct_reply", direct_reply),
        ("mention", mentioning("bob")),
        ("reply_to_bob", reply_to_bob),
        ("call", call),
    ]
}

/// What of it a recipient may have to be told of.
fn comes_through(recipient: &Recipient) -> String {
    let all = sayings().into_iter();
    let told = all.filter(|(_, entry)| decide(entry, recipient, NOW).is_some());
    let names: Vec<_> = told.map(|(name, _)| name).collect();
    names.join(" ")
}

#[test]
fn people_are_told_of_what_they_prefer_and_of_what_is_urgent() {
    use Notify::{All, DirectAndMentions, Nothing};
    let everything = "plain reply direct direct_reply mention reply_to_bob call";
    let no_threads = "plain direct mention reply_to_bob call";
    let theirs = "direct direct_reply mention reply_to_bob call";
    let theirs_no_threads = "direct mention reply_to_bob call";
    let mentions = "mention reply_to_bob call";
    let urgent = "call";
    let but_mentions = || muted(None, true);
    let all_of_it = || muted(None, false);
    let table = [
        (All, true, bob(), everything),
        (All, false, bob(), no_threads),
        (DirectAndMentions, true, bob(), theirs),
        (DirectAndMentions, false, bob(), theirs_no_threads),
        (Nothing, true, bob(), urgent),
        // A mute stands above.
        (All, true, but_mentions(), mentions),
        (All, false, but_mentions(), mentions),
        (DirectAndMentions, true, but_mentions(), mentions),
        (Nothing, true, but_mentions(), urgent),
        (All, true, all_of_it(), urgent),
        (DirectAndMentions, true, all_of_it(), urgent),
        (Nothing, true, all_of_it(), urgent),
    ];
    for (notify, threads, recipient, told) in table {
        let preferences = Preferences {
            notify,
            threads,
            ..Preferences::default()
        };
        let recipient = Recipient {
            preferences,
            ..recipient
        };
        assert_eq!(comes_through(&recipient), told, "{recipient:?}");
    }
}

#[test]
fn quiet_hours_hold_nothing_back_here_and_are_told() {
    let until = Timestamp(NOW.0 + 3_600_000);
    let to = jiff::Timestamp::from_millisecond(until.0).unwrap();
    let hours = serde_json::json!({
        "from": "00:00", "to": to.strftime("%H:%M").to_string(), "time_zone": "UTC",
    });
    let quiet = Recipient {
        preferences: Preferences {
            quiet_hours: serde_json::from_value(hours).unwrap(),
            previews: Previews::Sender,
            locale: Some("de".to_owned()),
            ..Preferences::default()
        },
        ..bob()
    };
    let told = decide(&entry(), &quiet, NOW).unwrap();
    assert_eq!(told.quiet_until, Some(until));
    assert_eq!(
        (told.previews, told.locale.as_deref()),
        (Previews::Sender, Some("de"))
    );
    let later = decide(&entry(), &quiet, until).unwrap();
    assert_eq!(later.quiet_until, None, "they are over");
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<MayNotify>(&json).unwrap(), told);
}

#[test]
fn what_a_push_decision_needs_is_all_there() {
    let recipient = Recipient {
        status: Status::Dnd,
        is_connected: true,
        devices: vec![DeviceId::new("phone").unwrap()],
        ..bob()
    };
    let seen = EntrySeen {
        silent: true,
        class: MessageClass::UntilDelivered,
        ..entry()
    };
    let told = decide(&seen, &recipient, NOW).unwrap();
    assert_eq!((told.status, told.is_connected), (Status::Dnd, true));
    assert_eq!(told.active_devices, recipient.devices);
    assert!(told.silent && !told.urgent);
    assert_eq!(
        (told.class, told.seq),
        (MessageClass::UntilDelivered, Seq(5))
    );
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<MayNotify>(&json).unwrap(), told);
}

struct Kit {
    store: SharedStore,
    conversations: Conversations,
    people: People,
    clock: ManualClock,
    told: mpsc::Receiver<MayNotify>,
    _delivery: Delivery,
    _dir: TempDir,
}

impl Kit {
    async fn new(capacity: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&config).unwrap();
        let (fanout, clock) = (Fanout::new(), ManualClock::at(NOW));
        let presence = Presence::new(fanout.clone(), ReplicaId(1 << 8));
        let shared: Arc<dyn crate::Clock> = Arc::new(clock.clone());
        let people = People::start(fanout.clone(), presence, store.clone(), shared.clone());
        let (sink, told) = channel(capacity);
        let parts = (store.clone(), people.clone(), shared.clone());
        let notifier = Notifier::new(parts.0, parts.1, parts.2, vec![sink]).unwrap();
        let settings = conversation::Config::default();
        let conversations =
            Conversations::start(settings, store.clone(), fanout, shared.clone()).await;
        let conversations = conversations.unwrap();
        let delivery = Delivery::start(delivery::Parts {
            config: delivery::Config {
                projection_window: Duration::from_millis(1),
                ..delivery::Config::default()
            },
            store: store.clone(),
            conversations: conversations.clone(),
            clock: shared,
            may_send: Arc::new(|_, _, _| Box::pin(async { Ok(()) })),
            projections: vec![notifier as Arc<dyn Projection>],
        });
        Self {
            store,
            conversations,
            people,
            clock,
            told,
            _delivery: delivery,
            _dir: dir,
        }
    }

    async fn group(&self, members: &[&str]) -> ConversationId {
        let new = NewConversation {
            id: ConversationId::generate(),
            workspace: person("ann").workspace,
            kind: ConversationKind::Group,
            name: None,
            created_by: user("ann"),
            created_at: NOW,
            members: members.iter().map(|it| (user(it), Role::Member)).collect(),
        };
        let id = new.id.clone();
        self.conversations.create(new).await.unwrap();
        id
    }

    async fn send(&self, by: &str, id: &ConversationId, message: SendMessage) -> Seq {
        let send = Command::Send(Box::new(message));
        let sent = self.conversations.submit(&person(by), id, send).await;
        sent.unwrap().seq
    }

    async fn mute(&self, name: &str, id: &ConversationId, mute: Mute) {
        let write = RegisterWrite {
            conversation: id.clone(),
            user: user(name),
            change: RegisterChange::Mute(Some(mute)),
        };
        self.store.write_registers(vec![write]).await.unwrap();
    }

    /// What somebody prefers, as their document has it.
    async fn prefer(&self, name: &str, json: &str) {
        let document = Document {
            person: person(name),
            kind: DocumentKind::Preferences,
            version: 1,
            json: json.into(),
        };
        assert!(self.store.put_document(&document).await.unwrap());
    }

    async fn online(&self, name: &str) -> Joined {
        let tracker = Tracker {
            connection: ConnectionId(7),
            slot: SlotKey(1),
        };
        let device = DeviceId::new("phone").ok();
        let person = person(name);
        let joined = self.people.joined(&person, tracker, device);
        joined.await.unwrap()
    }

    async fn next(&mut self) -> MayNotify {
        let told = timeout(PATIENCE, self.told.recv()).await;
        told.expect("somebody is told").unwrap()
    }
}

/// A sink into a queue that it waits for.
fn channel(capacity: usize) -> (Sink, mpsc::Receiver<MayNotify>) {
    let (outlet, told) = mpsc::channel(capacity);
    let sink = Sink::new("test", move |told: Arc<[MayNotify]>| {
        let outlet = outlet.clone();
        async move {
            for one in told.iter() {
                let sent = outlet.send(one.clone()).await;
                sent.map_err(|_| NotTaken("closed".to_owned()))?;
            }
            Ok(())
        }
    });
    (sink, told)
}

fn text(content: &str) -> SendMessage {
    SendMessage {
        kind: "text".to_owned(),
        content: Some(content.to_owned()),
        ..SendMessage::default()
    }
}

#[tokio::test]
async fn members_are_told_with_what_is_true_of_them() {
    let mut kit = Kit::new(64).await;
    let id = kit.group(&["ann", "bob", "carol", "dave"]).await;
    let _bob = kit.online("bob").await;
    let mute = Mute {
        until: None,
        mentions_only: false,
    };
    kit.mute("dave", &id, mute).await;
    let message = SendMessage {
        mentions: vec![user("carol")],
        ..text("hello")
    };
    let seq = kit.send("ann", &id, message).await;
    let (bob, carol) = (kit.next().await, kit.next().await);
    assert_eq!((bob.person.user, bob.reason), (user("bob"), Reason::Group));
    assert!(bob.is_connected);
    assert_eq!(bob.active_devices, [DeviceId::new("phone").unwrap()]);
    assert_eq!(
        (carol.person.user, carol.reason),
        (user("carol"), Reason::Mention)
    );
    assert!(!carol.is_connected && carol.active_devices.is_empty());
    assert_eq!((carol.seq, carol.unread), (seq, Some(1)));
    kit.send("bob", &id, text("again")).await;
    let next = [kit.next().await, kit.next().await].map(|told| told.person.user);
    assert_eq!(
        next,
        [user("ann"), user("carol")],
        "not dave, and each once"
    );
}

#[tokio::test]
async fn members_are_told_as_they_prefer() {
    let mut kit = Kit::new(64).await;
    let id = kit.group(&["ann", "bob", "carol", "dave", "eve"]).await;
    kit.prefer("bob", r#"{"notify": "nothing"}"#).await;
    kit.prefer(
        "carol",
        r#"{"notify": "direct_and_mentions", "locale": "de"}"#,
    )
    .await;
    // As a later version of this program may write.
    kit.prefer("dave", r#"{"notify": "now_and_then"}"#).await;
    kit.send("ann", &id, text("to all")).await;
    let told = [kit.next().await, kit.next().await].map(|told| told.person.user);
    assert_eq!(told, [user("dave"), user("eve")]);
    let mentions = vec![user("bob"), user("carol")];
    let message = SendMessage {
        mentions,
        ..text("to two")
    };
    kit.send("eve", &id, message).await;
    let told = [kit.next().await, kit.next().await, kit.next().await];
    let names = told.each_ref().map(|told| told.person.user.as_str());
    assert_eq!(names, ["ann", "carol", "dave"]);
    assert_eq!(told[1].locale.as_deref(), Some("de"));
    assert_eq!(told[0].locale, None);
}

#[tokio::test]
async fn a_slow_sink_delays_nobody_but_the_notifier_and_loses_nothing() {
    let mut kit = Kit::new(1).await;
    let id = kit.group(&["ann", "bob"]).await;
    for n in 0..20 {
        kit.send("ann", &id, text(&n.to_string())).await;
    }
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(kit.next().await.seq.0);
    }
    assert!(
        seen.is_sorted_by(|a, b| a < b),
        "in order and once: {seen:?}"
    );
}

#[tokio::test]
async fn a_large_group_is_decided_in_batches_and_wakes_nobody() {
    let mut kit = Kit::new(64).await;
    let names: Vec<_> = (0..600).map(|n| format!("p{n:03}")).collect();
    let mut members: Vec<_> = names.iter().map(String::as_str).collect();
    members.push("ann");
    let id = kit.group(&members).await;
    kit.send("ann", &id, text("to all")).await;
    let mut told = Vec::new();
    for _ in 0..600 {
        let next = kit.next().await;
        assert_eq!(next.unread, None, "not counted for so many");
        told.push(next.person.user.as_str().to_owned());
    }
    assert_eq!(told, names);
    assert_eq!(kit.people.count(), 0);
}

#[tokio::test]
async fn what_is_an_hour_old_is_nothing_to_be_told_of() {
    let kit = Kit::new(64).await;
    let id = kit.group(&["ann", "bob"]).await;
    kit.send("ann", &id, text("old")).await;
    let entries = kit.store.entries(&id, Seq(0), 10).await.unwrap();
    let step = quikapp_storage::ProjectionStep {
        consumer: quikapp_storage::Consumer::NOTIFY,
        conversation: id,
        from: Seq(0),
        to: entries.last().unwrap().seq,
    };
    for (later_ms, is_told) in [(0, true), (3_600_001, false)] {
        kit.clock.advance_ms(later_ms);
        let clock = Arc::new(kit.clock.clone());
        let (store, people) = (kit.store.clone(), kit.people.clone());
        let (sink, mut told) = channel(8);
        let notifier = Notifier::new(store, people, clock, vec![sink]).unwrap();
        notifier.project(&step, &entries).await.unwrap();
        assert_eq!(told.try_recv().is_ok(), is_told);
    }
}

#[tokio::test]
async fn what_a_sink_did_not_take_is_offered_again() {
    let kit = Kit::new(64).await;
    let id = kit.group(&["ann", "bob"]).await;
    let seq = kit.send("ann", &id, text("hello")).await;
    let entries = kit.store.entries(&id, Seq(0), 10).await.unwrap();
    let step = quikapp_storage::ProjectionStep {
        consumer: quikapp_storage::Consumer::feed("test").unwrap(),
        conversation: id.clone(),
        from: Seq(0),
        to: entries.last().unwrap().seq,
    };
    let offers = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let offered = Arc::clone(&offers);
    let sink = Sink::new("test", move |told: Arc<[MayNotify]>| {
        let mut offers = offered.lock();
        offers.extend(told.iter().map(|one| (one.person.user.clone(), one.seq)));
        let answer = match offers.len() {
            1 => Err(NotTaken("full".to_owned())),
            _ => Ok(()),
        };
        async move { answer }
    });
    let clock = Arc::new(kit.clock.clone());
    let (store, people) = (kit.store.clone(), kit.people.clone());
    let notifier = Notifier::new(store.clone(), people, clock, vec![sink]).unwrap();
    let at = async || {
        let places = store.projected(&step.consumer, std::slice::from_ref(&id));
        places.await.unwrap()[0]
    };
    assert!(notifier.project(&step, &entries).await.is_err());
    assert_eq!(at().await, Seq(0), "the cursor waits for the sink");
    assert_eq!(notifier.project(&step, &entries).await, Ok(true));
    assert_eq!(at().await, step.to);
    assert_eq!(*offers.lock(), [(user("bob"), seq), (user("bob"), seq)]);
}

#[test]
fn with_nobody_to_tell_there_is_no_projection() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&config).unwrap();
        let (fanout, clock) = (Fanout::new(), Arc::new(ManualClock::at(NOW)));
        let presence = Presence::new(fanout.clone(), ReplicaId(1));
        let people = People::start(fanout, presence, store.clone(), clock.clone());
        assert!(Notifier::new(store, people, clock, Vec::new()).is_none());
    });
}
