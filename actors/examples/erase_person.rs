//! What it takes to erase a person, and what others notice of it.
//!
//! ```sh
//! cargo run --release -p quikapp-actors --example erase_person -- 100000 20
//! ```
//!
//! Has a person send so many messages in so many conversations, each with somebody else, on the
//! embedded store; has them erased; and prints how long that took from the end of the grace period
//! on, the CPU time, and how long somebody else waited meanwhile for messages of their own, beside
//! what they waited before.

use std::{env, error::Error, fs, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use quikapp_actors::{
    Clock, SystemClock,
    conversation::{self, Command, CommandError, Conversations, SendMessage},
    delivery::{self, Delivery, MaySend, Parts},
    fanout::Fanout,
};
use quikapp_storage::{
    ConversationId, ConversationKind, EntryKind, NewConversation, Person, Role, Seq, SharedStore,
    UserId, WorkspaceId,
};
use tokio::time::{Instant, sleep};

/// Messages under way at the same time while the conversations are filled.
const CONCURRENCY: usize = 256;
/// Between two looks, and two messages of somebody else.
const LOOK: Duration = Duration::from_millis(10);
/// Messages of somebody else before the erasure.
const BEFORE: usize = 300;
/// Entries read at once.
const PAGE: usize = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let (messages, rooms) = (argument(1, 100_000)?, argument(2, 20)?);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let store = quikapp_storage::open(&quikapp_storage::Config::at(&data))?;
    let (conversations, delivery) = start(&store).await?;
    let ann = person("ann")?;
    let ids = fill(&conversations, &ann, messages, rooms).await?;
    let elsewhere = group(&conversations, "dora", "emil").await?;
    let size = bytes_in(&data)?;
    println!(
        "{messages} messages in {rooms} conversations: {} MB",
        size >> 20
    );

    let before = latencies(&conversations, &elsewhere, |sent| sent < BEFORE).await?;
    delivery.erase(&ann).await?;
    let first = &ids[0];
    while !has_left(&store, first, &ann).await? {
        sleep(LOOK).await;
    }
    let (began, cpu) = (Instant::now(), cpu_time()?);
    let watched = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let goes_on = Arc::clone(&watched);
    let others = conversations.clone();
    let during = tokio::spawn(async move {
        let goes_on = |_| goes_on.load(std::sync::atomic::Ordering::Relaxed);
        let sent = latencies(&others, &elsewhere, goes_on).await;
        sent.map_err(|error| error.to_string())
    });
    while delivery.is_being_erased(&ann).await? {
        sleep(LOOK).await;
    }
    let (took, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu));
    watched.store(false, std::sync::atomic::Ordering::Relaxed);
    let during = during.await??;
    let each = |whole: Duration| whole.as_micros() / messages.max(1) as u128;
    println!(
        "erased in {took:.1?}: {} us and {} us of CPU a message",
        each(took),
        each(cpu)
    );
    println!("{} MB afterwards", bytes_in(&data)? >> 20);
    println!("left of what was said: {}", left(&store, &ids, &ann).await?);
    println!("a message elsewhere, before: {}", percentiles(before));
    println!("a message elsewhere, meanwhile: {}", percentiles(during));
    conversations.stop().await;
    delivery.stop().await;
    store.close().await;
    Ok(())
}

async fn start(store: &SharedStore) -> Outcome<(Conversations, Delivery)> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = conversation::Config::default();
    let started = Conversations::start(config, store.clone(), Fanout::new(), clock.clone());
    let conversations = started.await?;
    let may_send: MaySend = Arc::new(|_, _, _| Box::pin(std::future::ready(Ok(()))));
    let delivery = Delivery::start(Parts {
        config: delivery::Config::default(),
        store: store.clone(),
        conversations: conversations.clone(),
        clock,
        may_send,
        projections: Vec::new(),
    });
    Ok((conversations, delivery))
}

async fn fill(
    conversations: &Conversations,
    by: &Person,
    messages: usize,
    rooms: usize,
) -> Outcome<Vec<ConversationId>> {
    let mut ids = Vec::new();
    for room in 0..rooms {
        ids.push(group(conversations, "ann", &format!("other {room}")).await?);
    }
    let sent = stream::iter(0..messages).map(|number| {
        let text = format!("message {number} of many, as long as people write on average");
        say(conversations, by, &ids[number % rooms], text)
    });
    let () = sent.buffer_unordered(CONCURRENCY).try_collect().await?;
    Ok(ids)
}

async fn group(conversations: &Conversations, one: &str, other: &str) -> Outcome<ConversationId> {
    let (one, other) = (person(one)?, person(other)?);
    let id = ConversationId::generate();
    let new = NewConversation {
        id: id.clone(),
        workspace: one.workspace,
        kind: ConversationKind::Group,
        name: None,
        created_by: one.user.clone(),
        created_at: SystemClock.now(),
        members: vec![(one.user, Role::Owner), (other.user, Role::Owner)],
    };
    conversations.create(new).await?;
    Ok(id)
}

async fn say(
    conversations: &Conversations,
    by: &Person,
    id: &ConversationId,
    text: String,
) -> Result<(), CommandError> {
    let send = SendMessage {
        kind: "text".into(),
        content: Some(text),
        ..SendMessage::default()
    };
    let command = Command::Send(Box::new(send));
    conversations.submit(by, id, command).await.map(drop)
}

/// Sends one message after the other, as long as it goes on.
async fn latencies(
    conversations: &Conversations,
    id: &ConversationId,
    goes_on: impl Fn(usize) -> bool,
) -> Outcome<Vec<Duration>> {
    let by = person("dora")?;
    let mut all = Vec::new();
    while goes_on(all.len()) {
        let sent = Instant::now();
        say(conversations, &by, id, format!("message {}", all.len())).await?;
        all.push(sent.elapsed());
        sleep(LOOK).await;
    }
    Ok(all)
}

async fn has_left(store: &SharedStore, id: &ConversationId, person: &Person) -> Outcome<bool> {
    let intervals = store.membership(id, &person.user).await?;
    Ok(intervals.iter().any(|interval| interval.to_seq.is_some()))
}

/// Messages of a person that still say something.
async fn left(store: &SharedStore, ids: &[ConversationId], person: &Person) -> Outcome<usize> {
    let mut left = 0;
    for id in ids {
        let mut after = Seq(0);
        loop {
            let page = store.entries(id, after, PAGE).await?;
            let messages = page.iter().filter(|it| it.kind == EntryKind::Message);
            let theirs = messages.filter(|it| it.sender == person.user);
            left += theirs.filter(|it| it.payload.contains("of many")).count();
            match page.last() {
                Some(last) => after = last.seq,
                None => break,
            }
        }
    }
    Ok(left)
}

fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1)));
    let at = |share| at(share).copied().unwrap_or_default();
    format!("p50 {:.2?}, p99 {:.2?}, {} sent", at(50), at(99), all.len())
}

fn bytes_in(dir: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

/// CPU time of this process so far.
fn cpu_time() -> Outcome<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    // Linux counts in hundredths of a second.
    Ok(Duration::from_millis(ticks * 10))
}

fn person(name: &str) -> Outcome<Person> {
    Ok(Person {
        workspace: WorkspaceId::new("example")?,
        user: UserId::new(name)?,
    })
}

fn argument(position: usize, default: usize) -> Outcome<usize> {
    match env::args().nth(position) {
        Some(text) => Ok(text.parse()?),
        None => Ok(default),
    }
}
