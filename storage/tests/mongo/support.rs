//! Databases, conversations and entries of the tests.

use std::sync::Arc;

use mongodb::{Client, Collection, bson::Document};
use quikapp_storage::{
    AcquireError, Append, AppendError, Appended, Backend, Claim, Config, ConversationId,
    ConversationKind, ConversationStore, EntryEffect, EntryId, EntryKind, Epoch, Key16, LogStore,
    Message, MongoLog, NewConversation, NewEntry, OwnerId, Person, Role, Seq, ServerUrl, Testing,
    Timestamp, UserId, WorkspaceId,
};
use uuid::Uuid;

use crate::toxiproxy::Proxy;

/// A server's address, unless there is none and that is allowed.
fn server(variable: &str, name: &str) -> Option<String> {
    let set = |wanted: &str| {
        let mut set = std::env::vars();
        set.find_map(|(name, value)| (name == wanted).then_some(value))
    };
    let url = set(variable);
    if url.is_none() {
        let required = set("TEST_REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!required, "{variable} is not set");
        println!("skipped: no {name}");
    }
    url
}

fn mongodb() -> Option<String> {
    server("TEST_MONGODB_URL", "mongodb")
}

/// A database that a test has for itself.
#[derive(Clone)]
pub(crate) struct Place {
    url: ServerUrl,
}

impl Place {
    /// Opens it as one process does.
    pub(crate) async fn open(&self) -> Arc<MongoLog> {
        self.open_with(Testing::default()).await
    }

    /// Opens it through a proxy.
    pub(crate) async fn open_through(&self, proxy: &Proxy, config: &Config) -> Arc<MongoLog> {
        let url = self.url.with_secrets();
        let host = host_of(url);
        let url = ServerUrl::parse(&url.replacen(host, &proxy.address, 1)).unwrap();
        Arc::new(MongoLog::open(&url, config).await.unwrap())
    }

    /// Where it is, in a configuration.
    pub(crate) fn backend(&self) -> Backend {
        Backend::Server(self.url.clone())
    }

    /// What it has.
    pub(crate) async fn collections(&self) -> Vec<String> {
        let client = Client::with_uri_str(self.url.with_secrets()).await;
        let database = client.unwrap().default_database().unwrap();
        database.list_collection_names().await.unwrap()
    }

    /// A collection, as everybody else sees it.
    pub(crate) async fn collection(&self, name: &str) -> Collection<Document> {
        let client = Client::with_uri_str(self.url.with_secrets()).await;
        client.unwrap().default_database().unwrap().collection(name)
    }

    /// The same, with something different.
    pub(crate) async fn open_with(&self, testing: Testing) -> Arc<MongoLog> {
        let log = MongoLog::open(&self.url, &Config::default()).await.unwrap();
        Arc::new(log.with_testing(testing))
    }
}

/// Runs a test on a database of its own, which is deleted however the test ends.
pub(crate) async fn with_database<Fut>(test: impl FnOnce(Place) -> Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let Some(server) = mongodb() else { return };
    let name = format!("test_{}", Uuid::new_v4().simple());
    let url = match server.split_once("/?") {
        Some((server, options)) => format!("{server}/{name}?{options}"),
        None => format!("{}/{name}", server.trim_end_matches('/')),
    };
    let place = Place {
        url: ServerUrl::parse(&url).unwrap(),
    };
    let outcome = tokio::spawn(test(place.clone())).await;
    place.open().await.drop_database().await.unwrap();
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

/// Runs a test on a database of its own, with a proxy in front of the server.
pub(crate) async fn with_proxy<Fut>(test: impl FnOnce(Place, Arc<Proxy>) -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let Some(server) = mongodb() else { return };
    let Some(control) = self::server("TEST_TOXIPROXY_URL", "toxiproxy") else {
        return;
    };
    let proxy = Arc::new(Proxy::to(&control, host_of(&server)).await);
    let used = Arc::clone(&proxy);
    with_database(|place| test(place, used)).await;
    proxy.close().await;
}

/// `host:port` of an address.
fn host_of(url: &str) -> &str {
    let rest = url.split("//").nth(1).unwrap();
    rest.split('/').next().unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn ana() -> Person {
    Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: user("ana"),
    }
}

/// Makes a group of ana and bob.
pub(crate) async fn group(log: &MongoLog) -> ConversationId {
    let id = ConversationId::generate();
    let new = NewConversation {
        id: id.clone(),
        workspace: WorkspaceId::new("w").unwrap(),
        kind: ConversationKind::Group,
        name: None,
        created_by: user("ana"),
        created_at: Timestamp(0),
        members: vec![(user("ana"), Role::Owner), (user("bob"), Role::Member)],
    };
    log.create_conversation(new).await.unwrap();
    id
}

/// Who sequences a conversation through one process.
#[derive(Clone)]
pub(crate) struct Sequencer {
    pub(crate) log: Arc<MongoLog>,
    pub(crate) id: ConversationId,
    pub(crate) head: (Epoch, Seq),
}

impl Sequencer {
    /// Takes the conversation, whoever has it.
    pub(crate) async fn take(log: &Arc<MongoLog>, id: &ConversationId) -> Self {
        Self::claim(log, id, 0).await
    }

    /// Takes the conversation once others have had it for so long.
    pub(crate) async fn claim(
        log: &Arc<MongoLog>,
        id: &ConversationId,
        min_tenure_ms: u64,
    ) -> Self {
        loop {
            match Self::try_claim(log, id, min_tenure_ms).await {
                Ok(sequencer) => return sequencer,
                Err(AcquireError::Held { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes the conversation, or says why not.
    pub(crate) async fn try_claim(
        log: &Arc<MongoLog>,
        id: &ConversationId,
        min_tenure_ms: u64,
    ) -> Result<Self, AcquireError> {
        let claim = Claim {
            owner: OwnerId::generate(),
            now: Timestamp(jiff::Timestamp::now().as_millisecond()),
            min_tenure_ms,
        };
        let taken = log.acquire(id, claim).await?.conversation;
        Ok(Self {
            log: Arc::clone(log),
            id: id.clone(),
            head: (taken.epoch, taken.tail),
        })
    }

    /// Appends at the tail that it knows.
    pub(crate) async fn append(&mut self, entries: Vec<NewEntry>) -> Result<Appended, AppendError> {
        let (epoch, tail) = self.head;
        let part = Append {
            conversation: self.id.clone(),
            epoch,
            tail,
            entries,
        };
        let result = self.log.append(vec![part]).await.remove(0);
        if let Ok(appended) = &result {
            self.head.1 = appended.tail;
        }
        result
    }

    /// The keys in the log, which is dense and in the stream in its order.
    pub(crate) async fn keys(&self) -> Vec<Key16> {
        let log = self
            .log
            .entries(&self.id, Seq(0), usize::MAX)
            .await
            .unwrap();
        let places: Vec<u64> = log.iter().map(|entry| entry.seq.0).collect();
        let dense: Vec<u64> = (1..=log.len() as u64).collect();
        assert_eq!(places, dense, "the log is dense");
        let tails = self.log.tails(std::slice::from_ref(&self.id)).await;
        assert_eq!(tails.unwrap()[0].1, Seq(log.len() as u64));
        assert_eq!(self.streamed().await, dense, "the stream has the log");
        log.iter().map(|entry| entry.key).collect()
    }

    /// What ana missed from the beginning, in this conversation.
    pub(crate) async fn streamed(&self) -> Vec<u64> {
        let mut cursor = self.log.cursor_of(&self.id, Seq(0)).await.unwrap();
        let mut places = Vec::new();
        loop {
            let page = self.log.missed(&ana(), &cursor, 3).await.unwrap();
            let here = page.entries.iter().filter(|(id, _)| *id == self.id);
            places.extend(here.map(|(_, entry)| entry.seq.0));
            cursor = page.next;
            if !page.more {
                return places;
            }
        }
    }
}

/// An entry with a key of its own.
pub(crate) fn entry(kind: EntryKind, effects: Vec<EntryEffect>) -> NewEntry {
    let id = EntryId::generate();
    NewEntry {
        id,
        kind,
        sender: user("ana"),
        keys: Key16(*id.0.as_bytes()).into(),
        hash: [0; 32],
        counts: kind == EntryKind::Message,
        target: None,
        payload: "{}".into(),
        at: Timestamp(1),
        effects,
    }
}

/// A message with its view.
pub(crate) fn message(text: &str) -> NewEntry {
    let mut entry = entry(EntryKind::Message, Vec::new());
    let view = view_of(&entry, text, Seq(0));
    entry.effects.push(EntryEffect::PutMessage(view));
    entry
}

/// The folded view of a message entry at a place.
pub(crate) fn view_of(entry: &NewEntry, text: &str, seq: Seq) -> Message {
    Message {
        id: entry.id,
        seq,
        sender: entry.sender.clone(),
        at: entry.at,
        thread_root: None,
        deleted: false,
        pinned: false,
        text: text.to_owned(),
        body: "{}".into(),
        applied_seq: Seq(0),
    }
}
