//! How many appends a second the embedded store makes durable, and how long each takes.
//!
//! `cargo run --release -p quikapp-storage --example append_throughput -- [DIR]`
//!
//! Every append is what a sent message costs: one entry with its folded view and the sender's
//! read mark, in a conversation of its sender's own (1,000 of them in the closed loop).
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the machine's clock"
)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use quikapp_storage::{
    Append, Claim, Config, ConversationId, ConversationKind, EntryEffect, EntryId, EntryKind,
    Epoch, Key16, Message, NewConversation, NewEntry, OwnerId, Role, Seq, SharedStore, Timestamp,
    UserId, WorkspaceId, open,
};
use tokio::task::JoinSet;

const SENDERS: usize = 1000;
const CLOSED_LOOP: Duration = Duration::from_secs(10);
const PACED: Duration = Duration::from_secs(10);
const PACED_RATE: u64 = 5000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let base = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("append-throughput-{}", std::process::id()));
    let outcome = measure(&dir).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(dir: &Path) -> Result<(), Failure> {
    let store = open(&Config::at(dir))?;
    println!("fsync of the disk: p50 {:?}", median_fsync(dir)?);
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        senders.push(Sender::create(Arc::clone(&store), number).await?);
    }
    let mut alone = Vec::new();
    let mut sender = Sender::create(Arc::clone(&store), SENDERS).await?;
    for _ in 0..300 {
        alone.push(sender.send().await?);
    }
    report("one sender alone", alone, None);
    let (senders, latencies) = closed_loop(senders).await?;
    report("1,000 senders, closed loop", latencies, Some(CLOSED_LOOP));
    let latencies = paced(senders).await?;
    report("5,000/s paced", latencies, Some(PACED));
    let size = std::fs::metadata(dir.join("quikapp.db"))?.len();
    println!("database: {} MB", size / 1_000_000);
    store.close().await;
    Ok(())
}

async fn closed_loop(senders: Vec<Sender>) -> Result<(Vec<Sender>, Vec<Duration>), Failure> {
    let end = Instant::now() + CLOSED_LOOP;
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                latencies.push(sender.send().await?);
            }
            Ok::<_, Failure>((sender, latencies))
        });
    }
    let mut senders = Vec::new();
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (sender, more) = done??;
        senders.push(sender);
        latencies.extend(more);
    }
    Ok((senders, latencies))
}

/// Open loop: every sender has its own beat, and its latency counts from when it was due.
async fn paced(senders: Vec<Sender>) -> Result<Vec<Duration>, Failure> {
    let count = u64::try_from(senders.len())?;
    let period = Duration::from_secs(1) * u32::try_from(count)? / u32::try_from(PACED_RATE)?;
    let start = Instant::now() + Duration::from_millis(100);
    let mut tasks = JoinSet::new();
    for (number, mut sender) in (0u32..).zip(senders) {
        let first = start + period * number / u32::try_from(count)?;
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut due = first;
            while due < start + PACED {
                tokio::time::sleep_until(due.into()).await;
                sender.send().await?;
                latencies.push(due.elapsed());
                due += period;
            }
            Ok::<_, Failure>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(latencies)
}

fn report(what: &str, mut latencies: Vec<Duration>, took: Option<Duration>) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    let rate = took.map_or(String::new(), |took| {
        format!(
            "{}/s, ",
            latencies.len() / usize::try_from(took.as_secs()).unwrap_or(1)
        )
    });
    println!(
        "{what}: {rate}p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
}

fn median_fsync(dir: &Path) -> std::io::Result<Duration> {
    let mut file = std::fs::File::create(dir.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

struct Sender {
    store: SharedStore,
    conversation: ConversationId,
    user: UserId,
    epoch: Epoch,
    tail: Seq,
}

impl Sender {
    async fn create(store: SharedStore, number: usize) -> Result<Self, Failure> {
        let user = UserId::new(format!("user-{number}"))?;
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
        let acquired = store.acquire(&conversation, claim).await?;
        Ok(Self {
            store,
            conversation,
            user,
            epoch: acquired.conversation.epoch,
            tail: acquired.conversation.tail,
        })
    }

    async fn send(&mut self) -> Result<Duration, Failure> {
        let part = Append {
            conversation: self.conversation.clone(),
            epoch: self.epoch,
            tail: self.tail,
            entries: vec![self.message()],
        };
        let started = Instant::now();
        let appended = self.store.append(vec![part]).await.remove(0)?;
        self.tail = appended.tail;
        Ok(started.elapsed())
    }

    fn message(&self) -> NewEntry {
        let id = EntryId::generate();
        let body = format!(
            r#"{{"id":"{id}","sender_id":"{}","type":"text","content":"a message of common length, nothing special","created_at":"2026-01-01T00:00:00.000Z"}}"#,
            self.user
        );
        let message = Message {
            id,
            seq: Seq(0),
            sender: self.user.clone(),
            at: Timestamp(1),
            thread_root: None,
            deleted: false,
            pinned: false,
            text: "a message of common length, nothing special".to_owned(),
            body: body.as_str().into(),
            applied_seq: Seq(0),
        };
        NewEntry {
            id,
            kind: EntryKind::Message,
            sender: self.user.clone(),
            keys: Key16(*uuid::Uuid::new_v4().as_bytes()).into(),
            hash: [7; 32],
            counts: true,
            target: None,
            payload: body.into(),
            at: Timestamp(1),
            effects: vec![
                EntryEffect::PutMessage(message),
                EntryEffect::ReadUpToHere {
                    user: self.user.clone(),
                },
            ],
        }
    }
}
