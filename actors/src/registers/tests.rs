//! Registers on the embedded store: durable, told, then acknowledged.
#![allow(clippy::unwrap_used)]

use std::{future::poll_fn, sync::Arc, time::Duration};

use futures_util::future::join_all;
use quikapp_storage::{
    ConversationId, ConversationKind, DeviceCursor, DeviceId, NewConversation, Person,
    RegisterChange, Role, Seq, SharedStore, UserId, WorkspaceId,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Change, Mark, Registers};
use crate::{
    Clock, SystemClock,
    conversation::{
        Command, CommandError, Config, Conversations, SendMessage, person_topic, topic_of,
    },
    fanout::{
        ConnectionId, Deliveries, Delivery, Drained, Fanout, Lane, Outbox, OutboxLimits, SlotKey,
        Subscription,
    },
};

struct Kit {
    registers: Registers,
    conversations: Conversations,
    store: SharedStore,
    fanout: Fanout,
    id: ConversationId,
    _dir: TempDir,
}

impl Kit {
    /// A group of so many, `u0` first, in which `u0` has said so much.
    async fn new(members: usize, messages: usize, config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = quikapp_storage::Config::at(dir.path().join("data"));
        let store = quikapp_storage::open(&settings).unwrap();
        let (fanout, clock) = (Fanout::new(), Arc::new(SystemClock));
        let started =
            Conversations::start(config.clone(), store.clone(), fanout.clone(), clock.clone());
        let conversations = started.await.unwrap();
        let changes = conversations.tails().changes().clone();
        let registers = Registers::start(&config, store.clone(), fanout.clone(), clock, changes);
        let kit = Self {
            registers,
            conversations,
            store,
            fanout,
            id: ConversationId::generate(),
            _dir: dir,
        };
        kit.create(members).await;
        for _ in 0..messages {
            let send = SendMessage {
                kind: "text".into(),
                content: Some("hi".into()),
                ..SendMessage::default()
            };
            let send = Command::Send(Box::new(send));
            let (by, id) = (person(0), &kit.id);
            kit.conversations.submit(&by, id, send).await.unwrap();
        }
        kit
    }

    async fn create(&self, members: usize) {
        let new = NewConversation {
            id: self.id.clone(),
            workspace: person(0).workspace,
            kind: ConversationKind::Group,
            name: None,
            created_by: person(0).user,
            created_at: SystemClock.now(),
            members: (0..members)
                .map(|n| (person(n).user, Role::Owner))
                .collect(),
        };
        self.store.create_conversation(new).await.unwrap();
    }

    async fn mark(&self, user: usize, change: RegisterChange) -> Result<(), CommandError> {
        let mark = Mark {
            person: person(user),
            device: None,
            conversation: self.id.clone(),
            message: None,
            change,
        };
        self.registers.change(Change::Mark(mark)).await
    }

    fn listen(&self, topic: &str) -> Listener {
        let outbox = Arc::new(Outbox::new(ConnectionId(1), OutboxLimits::default()));
        let subscription = self.fanout.subscribe(topic, &outbox, SlotKey(0), Lane::Own);
        Listener {
            outbox,
            waiting: Deliveries::new(),
            _subscription: subscription,
        }
    }
}

struct Listener {
    outbox: Arc<Outbox>,
    waiting: Deliveries,
    _subscription: Subscription,
}

impl Listener {
    async fn event(&mut self) -> (String, Value) {
        loop {
            if self.waiting.is_empty() {
                let drained = poll_fn(|cx| self.outbox.poll_drain(cx, &mut self.waiting));
                let drained = timeout(Duration::from_secs(10), drained).await;
                assert!(matches!(drained, Ok(Drained::Deliveries)), "{drained:?}");
            }
            if let Some(Delivery::Broadcast { broadcast, .. }) = self.waiting.pop_front() {
                let payload = broadcast.payload().parse().unwrap();
                return (broadcast.event().to_owned(), payload);
            }
        }
    }

    /// How many broadcasts wait now.
    fn backlog(&self) -> usize {
        self.waiting.len() + self.outbox.len()
    }
}

fn person(n: usize) -> Person {
    Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new(format!("u{n}")).unwrap(),
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_and_was_told() {
    let kit = Kit::new(2, 3, Config::default()).await;
    let mut topic = kit.listen(&topic_of(&kit.id));
    let mut own = kit.listen(&person_topic(&person(1)));
    kit.mark(1, RegisterChange::Read(Seq(2))).await.unwrap();
    assert_eq!((topic.backlog(), own.backlog()), (1, 1));
    let stored = kit.store.registers(&kit.id, &person(1).user).await.unwrap();
    assert_eq!(stored.marks.read, Seq(2));
    let (event, receipt) = topic.event().await;
    assert_eq!(
        (event.as_str(), &receipt["seq"]),
        ("message:read", &2.into())
    );
    assert_eq!(receipt["user_id"], "u1");
    let (event, unread) = own.event().await;
    assert_eq!(
        (event.as_str(), &unread["unread"]),
        ("unread:changed", &1.into())
    );
}

#[tokio::test]
async fn marks_end_at_the_tail_and_do_not_go_back() {
    let kit = Kit::new(2, 3, Config::default()).await;
    let mut topic = kit.listen(&topic_of(&kit.id));
    kit.mark(1, RegisterChange::Delivered(Seq(900)))
        .await
        .unwrap();
    assert_eq!(topic.event().await.1["seq"], 3);
    kit.mark(1, RegisterChange::Delivered(Seq(1)))
        .await
        .unwrap();
    assert_eq!(topic.backlog(), 0, "nothing changed, nothing is told");
    let stored = kit.store.registers(&kit.id, &person(1).user).await.unwrap();
    assert_eq!(stored.marks.delivered, Seq(3));
}

#[tokio::test]
async fn a_burst_is_merged_and_everybody_is_answered() {
    let kit = Kit::new(2, 50, Config::default()).await;
    let mut topic = kit.listen(&topic_of(&kit.id));
    let marks = (1..=50).map(|seq| kit.mark(1, RegisterChange::Read(Seq(seq))));
    for answer in join_all(marks).await {
        answer.unwrap();
    }
    let told = topic.backlog();
    assert!((1..=3).contains(&told), "{told} receipts for 50 marks");
    let mut last = topic.event().await.1;
    while topic.backlog() > 0 {
        last = topic.event().await.1;
    }
    assert_eq!(last["seq"], 50);
}

#[tokio::test]
async fn in_a_large_group_receipts_are_counted() {
    let config = Config {
        receipts_up_to_members: 3,
        ..Config::default()
    };
    let kit = Kit::new(5, 2, config).await;
    let mut topic = kit.listen(&topic_of(&kit.id));
    let marks = (1..5).map(|user| kit.mark(user, RegisterChange::Read(Seq(2))));
    for answer in join_all(marks).await {
        answer.unwrap();
    }
    let mut counted = 0;
    while topic.backlog() > 0 {
        let (event, receipt) = topic.event().await;
        assert_eq!(event, "message:read");
        assert!(receipt.get("user_id").is_none(), "{receipt}");
        counted += receipt["count"].as_u64().unwrap();
    }
    assert_eq!(counted, 4);
}

#[tokio::test]
async fn a_full_queue_says_overloaded() {
    let config = Config {
        register_queue: 1,
        ..Config::default()
    };
    let kit = Kit::new(2, 9, config).await;
    let marks = (1..=9).map(|seq| kit.mark(1, RegisterChange::Read(Seq(seq))));
    let answers = join_all(marks).await;
    let refused = answers.iter().filter_map(|it| it.as_ref().err());
    assert!(refused.clone().all(|it| *it == CommandError::Overloaded));
    assert!(refused.count() > 0);
}

#[tokio::test]
async fn device_cursors_end_at_the_tail_and_do_not_go_back() {
    let kit = Kit::new(2, 3, Config::default()).await;
    let device = DeviceId::new("phone").unwrap();
    for seq in [900, 1] {
        let cursor = DeviceCursor {
            person: person(1),
            device: device.clone(),
            conversation: kit.id.clone(),
            seq: Seq(seq),
        };
        kit.registers.change(Change::Cursor(cursor)).await.unwrap();
    }
    let bob = person(1);
    let stored = kit.store.device_cursor(&bob, &device, &kit.id);
    assert_eq!(stored.await.unwrap(), Some(Seq(3)));
}
