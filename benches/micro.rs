//! Micro-benchmarks of the parts that everything passes: `cargo bench --bench micro`.
//!
//! For comparing before and after on a quiet machine. What must not get slower unnoticed is
//! guarded by instruction counts instead (`realtime/benches/instructions`).
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::{
    hint::black_box,
    sync::Arc,
    task::{Context, Waker},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quikapp_actors::{
    fanout::{
        Broadcast, ConnectionId, Deliveries, Fanout, Lane, Outbox, OutboxLimits, SlotKey,
        Subscription,
    },
    presence::{Delta, Message, Meta, Replica, ReplicaId, Tracker},
};
use quikapp_protocol::{Json, Payload, Ref, Reply, Status, Vsn, decode_text};
use quikapp_storage::{
    Append, Claim, Config, ConversationId, ConversationKind, Entry, EntryId, EntryKind, Key16,
    NewConversation, NewEntry, OwnerId, Role, SharedStore, Timestamp, UserId, WorkspaceId, open,
};

const MEMBERS: u64 = 1000;
const TOPIC: &str = "broadcast:bench";
const PAYLOAD: &str =
    r#"{"n":123456,"body":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn payload() -> Payload {
    Payload::Json(Json::assume_valid(PAYLOAD.to_owned()))
}

fn codec(c: &mut Criterion) {
    for (name, vsn, text) in [
        (
            "decode V1",
            Vsn::V1,
            format!(r#"{{"topic":"{TOPIC}","event":"tick","payload":{PAYLOAD},"ref":"2"}}"#),
        ),
        (
            "decode V2",
            Vsn::V2,
            format!(r#"["1","2","{TOPIC}","tick",{PAYLOAD}]"#),
        ),
    ] {
        let text = bytes::Bytes::from(text);
        c.bench_function(name, |b| {
            b.iter(|| decode_text(vsn, black_box(text.clone())));
        });
    }
    let payload = payload();
    c.bench_function("encode a broadcast", |b| {
        let broadcast = quikapp_protocol::Broadcast {
            topic: TOPIC,
            event: "tick",
            payload: &payload,
        };
        b.iter(|| black_box(&broadcast).encode(Vsn::V2));
    });
    let asked = decode_text(
        Vsn::V2,
        format!(r#"["1","2","{TOPIC}","tick",{{}}]"#).into(),
    );
    let (join_ref, msg_ref, topic) = asked.map_or_else(
        |_| (Ref::null(), Ref::null(), TOPIC.into()),
        |it| (it.join_ref, it.msg_ref, it.topic),
    );
    c.bench_function("encode a reply", |b| {
        let reply = Reply {
            join_ref: &join_ref,
            msg_ref: &msg_ref,
            topic: &topic,
            status: &Status::Ok,
            response: &payload,
        };
        b.iter(|| black_box(&reply).encode(Vsn::V2));
    });
}

fn outbox(id: u64) -> Arc<Outbox> {
    Arc::new(Outbox::new(ConnectionId(id), OutboxLimits::default()))
}

/// A topic with a thousand subscribers.
fn crowd(fanout: &Fanout) -> (Vec<Arc<Outbox>>, Vec<Subscription>) {
    let outboxes: Vec<_> = (0..MEMBERS).map(outbox).collect();
    let subscribe = |outbox| fanout.subscribe(TOPIC, outbox, SlotKey(1), Lane::Own);
    let subscriptions = outboxes.iter().map(subscribe).collect();
    (outboxes, subscriptions)
}

fn registry(c: &mut Criterion) {
    let fanout = Fanout::new();
    let (outboxes, _subscriptions) = crowd(&fanout);
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = Deliveries::new();
    c.bench_function("publish to 1,000 and drain", |b| {
        b.iter(|| {
            fanout.publish(Broadcast::new(TOPIC, "tick", payload()));
            for outbox in &outboxes {
                if outbox.poll_drain(&mut cx, &mut taken).is_ready() {
                    taken.by_ref().for_each(drop);
                }
            }
        });
    });
    let newcomer = outbox(MEMBERS);
    c.bench_function("subscribe and unsubscribe beside 1,000", |b| {
        b.iter(|| drop(fanout.subscribe(TOPIC, &newcomer, SlotKey(1), Lane::Own)));
    });
    c.bench_function("the first and last subscriber of a topic", |b| {
        b.iter(|| drop(fanout.subscribe("broadcast:alone", &newcomer, SlotKey(1), Lane::Own)));
    });
}

/// What a replica says after a thousand people have come to it.
fn arrivals(from: ReplicaId, to: ReplicaId) -> Option<Delta> {
    let mut replica = Replica::new(from, 10_000);
    replica.replica_up(to);
    let topic: Arc<str> = TOPIC.into();
    for number in 0..MEMBERS {
        let tracker = Tracker {
            connection: ConnectionId(number),
            slot: SlotKey(0),
        };
        let key: Arc<str> = format!("user-{number}").into();
        replica.track(tracker, &topic, &key, Meta::default()).ok()?;
    }
    replica.take_delta()
}

fn presence(c: &mut Criterion) {
    let (here, there) = (ReplicaId(1), ReplicaId(2));
    let Some(delta) = arrivals(there, here) else {
        return;
    };
    let listening = || {
        let mut replica = Replica::new(here, 10_000);
        replica.replica_up(there);
        (replica, Message::Delta(delta.clone()))
    };
    c.bench_function("merge the presence of 1,000", |b| {
        b.iter_batched(
            listening,
            |(mut replica, message)| (replica.receive(message), replica),
            BatchSize::LargeInput,
        );
    });
}

fn entry(number: u64, user: &UserId) -> NewEntry {
    NewEntry {
        id: EntryId::generate(),
        kind: EntryKind::Message,
        sender: user.clone(),
        keys: key(number).into(),
        hash: [7; 32],
        counts: true,
        target: None,
        payload: "{}".into(),
        at: Timestamp(1),
        effects: Vec::new(),
    }
}

fn key(number: u64) -> Key16 {
    // Spread as real keys, which are hashes.
    let spread = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    Key16(spread.to_be_bytes())
}

/// A conversation with ten thousand entries.
async fn long_log(store: &SharedStore) -> Result<ConversationId, Failure> {
    let user = UserId::new("alice")?;
    let new = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("bench")?,
        kind: ConversationKind::Group,
        name: None,
        created_by: user.clone(),
        created_at: Timestamp(0),
        members: vec![(user.clone(), Role::Owner)],
    };
    let conversation = new.id.clone();
    store.create_conversation(new).await?;
    let claim = Claim {
        owner: OwnerId::generate(),
        now: Timestamp(0),
        min_tenure_ms: 0,
    };
    let acquired = store.acquire(&conversation, claim).await?.conversation;
    let part = Append {
        conversation: conversation.clone(),
        epoch: acquired.epoch,
        tail: acquired.tail,
        entries: (0..10_000).map(|number| entry(number, &user)).collect(),
    };
    store.append(vec![part]).await.remove(0)?;
    Ok(conversation)
}

fn idempotency(c: &mut Criterion) {
    bench_idempotency(c).unwrap_or_else(|error| panic!("the store: {error}"));
}

fn bench_idempotency(c: &mut Criterion) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let store = {
        let _entered = runtime.enter();
        open(&Config::at(dir.path()))?
    };
    let conversation = runtime.block_on(long_log(&store))?;
    for (name, number) in [("a key that is known", 4711), ("a key that is new", 10_001)] {
        c.bench_function(name, |b| {
            b.iter(|| {
                let found: Result<Vec<Entry>, _> =
                    runtime.block_on(store.by_keys(&conversation, &[key(number)]));
                black_box(found)
            });
        });
    }
    runtime.block_on(store.close());
    Ok(())
}

criterion_group!(benches, codec, registry, presence, idempotency);
criterion_main!(benches);
