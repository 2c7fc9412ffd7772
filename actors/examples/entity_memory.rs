//! What a person costs in memory: active, and known but not there.
//!
//! ```sh
//! cargo run --release -p quikapp-actors --example entity_memory -- 2000 100000
//! ```
//!
//! Makes so many people in 20 conversations each, and so many more whom the store knows (a profile,
//! a conversation); asks for the first ones, which makes them active; and prints resident memory
//! per person. What the store's own caches need is read into them before.

use std::{env, error::Error, fs, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use quikapp_actors::{
    Clock, SystemClock,
    conversation::{self, Conversations},
    documents::Documents,
    entities,
    fanout::Fanout,
    people::People,
    presence::{Presence, ReplicaId},
    supervision::{Supervisor, SupervisorSpec},
    users::{Changes, Parts, Users},
};
use quikapp_storage::{
    ConversationId, ConversationKind, NewConversation, Person, ProfileChange, Role, SharedStore,
    StoreError, UserId, WorkspaceId,
};
use tokio::time::Instant;

/// Conversations of each person who becomes active.
const MEMBERSHIPS: usize = 20;
/// Of them there are so many in all.
const CONVERSATIONS: usize = 200;
/// Members of a conversation of those who only are known.
const CROWD: usize = 4_000;
/// Writes under way at the same time.
const CONCURRENCY: usize = 512;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let (active, known) = (argument(1, 2_000)?, argument(2, 100_000)?);
    let dir = tempfile::tempdir()?;
    let store = quikapp_storage::open(&quikapp_storage::Config::at(dir.path().join("data")))?;
    make_active(&store, active).await?;
    let users = start(&store).await?;
    read_all(&store, active).await?;

    let empty = settled().await;
    make_known(&store, known).await?;
    let with_known = settled().await;
    println!(
        "{known} known people: {} in memory, {} kB more than without them (the store's caches)",
        users.active(),
        with_known.saturating_sub(empty) / 1024
    );

    read_all(&store, active).await?;
    let before = settled().await;
    for number in 0..active {
        users.overview(&person(number)?).await?;
    }
    let grown = settled().await.saturating_sub(before);
    println!(
        "{} active people in {MEMBERSHIPS} conversations: {} bytes each",
        users.active(),
        grown / active as u64
    );
    Ok(())
}

async fn start(store: &SharedStore) -> Outcome<Users> {
    let (fanout, clock): (_, Arc<dyn Clock>) = (Fanout::new(), Arc::new(SystemClock));
    let presence = Presence::new(fanout.clone(), ReplicaId(1));
    let settings = conversation::Config::default();
    let conversations =
        Conversations::start(settings, store.clone(), fanout.clone(), clock.clone());
    let parts = Parts {
        delivery: Default::default(),
        documents: Documents::new(store.clone(), conversations.await?),
        store: store.clone(),
        people: People::start(fanout, presence, store.clone(), clock.clone()),
        changes: Changes::default(),
        clock,
    };
    let config = entities::Config {
        idle: Duration::from_secs(3_600),
        ..entities::Config::default()
    };
    let tree = Supervisor::start(SupervisorSpec::new("example"));
    Ok(Users::start_under(&tree, &config, parts).await?)
}

async fn make_active(store: &SharedStore, count: usize) -> Outcome<()> {
    let mut members = vec![Vec::new(); CONVERSATIONS];
    for number in 0..count {
        for membership in 0..MEMBERSHIPS {
            let at = (number + membership * CONVERSATIONS / MEMBERSHIPS) % CONVERSATIONS;
            members[at].push((person(number)?.user, Role::Member));
        }
    }
    for members in members.into_iter().filter(|members| !members.is_empty()) {
        store.create_conversation(group(members)?).await?;
    }
    Ok(())
}

/// People whom nobody asks for.
async fn make_known(store: &SharedStore, count: usize) -> Outcome<()> {
    let people: Vec<_> = (1_000_000..1_000_000 + count)
        .map(person)
        .collect::<Result<_, _>>()?;
    for crowd in people.chunks(CROWD) {
        let members = crowd.iter().map(|it| (it.user.clone(), Role::Member));
        store.create_conversation(group(members.collect())?).await?;
    }
    let written = stream::iter(people).map(|person| async move {
        let change = ProfileChange {
            name: Some("somebody".to_owned()),
            ..ProfileChange::default()
        };
        store.put_profile(&person, change).await
    });
    let written: Vec<Result<(), StoreError>> =
        written.buffer_unordered(CONCURRENCY).collect().await;
    Ok(written.into_iter().collect::<Result<_, _>>()?)
}

/// Reads what the entities will read.
async fn read_all(store: &SharedStore, count: usize) -> Outcome<()> {
    for number in 0..count {
        let person = person(number)?;
        for (id, _) in store.conversations_of(&person).await? {
            store.unread(&id, &person.user).await?;
            store.registers(&id, &person.user).await?;
            store.threads(&id, &person.user, None, 100).await?;
        }
        store.queue(&person, 100).await?;
        let users = std::slice::from_ref(&person.user);
        store.profiles(&person.workspace, users).await?;
    }
    Ok(())
}

fn group(members: Vec<(UserId, Role)>) -> Outcome<NewConversation> {
    Ok(NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("default")?,
        kind: ConversationKind::Group,
        name: None,
        created_by: UserId::new("maker")?,
        created_at: SystemClock.now(),
        members,
    })
}

/// People are called as guests are: by a UUID.
fn person(number: usize) -> Result<Person, quikapp_storage::IdError> {
    Ok(Person {
        workspace: WorkspaceId::new("default")?,
        user: UserId::new(format!("0197c2a0-0000-7000-8000-{number:012}"))?,
    })
}

fn argument(at: usize, default: usize) -> Outcome<usize> {
    Ok(match env::args().nth(at) {
        Some(text) => text.parse()?,
        None => default,
    })
}

/// Resident memory in bytes, once it has not grown for a moment.
async fn settled() -> u64 {
    let (mut last, began) = (resident(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = resident();
        if now <= last || began.elapsed() > Duration::from_secs(10) {
            return now;
        }
        last = now;
    }
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1);
    pages.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 4096
}
