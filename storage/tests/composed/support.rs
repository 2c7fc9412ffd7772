//! Two embedded stores, each in a directory of its own.

use std::{sync::Arc, time::Duration};

use quikapp_storage::{
    Append, Appended, Claim, Config, ConversationId, ConversationKind, EntryEffect, EntryId,
    EntryKind, Epoch, Keepers, Key16, NewConversation, NewEntry, OwnerId, Role, Seq, SharedKeeper,
    SharedStore, Store, Timestamp, UserId, WorkspaceId, compose, open_keeper,
};

/// A store in a directory that goes when it is dropped.
pub(crate) struct Place {
    pub(crate) keeper: SharedKeeper,
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            busy_timeout_ms: 100,
            ..Config::at(dir.path().join("data"))
        };
        Self {
            keeper: open_keeper(&config).unwrap(),
            dir,
        }
    }

    /// Whether something stands in one of its files.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.dir.path().join("data")).unwrap();
        let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.any(|file| file.windows(text.len()).any(|it| it == text.as_bytes()))
    }

    /// Keeps everybody from writing until the connection is dropped.
    pub(crate) fn lock(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.dir.path().join("data/quikapp.db")).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn
    }
}

/// A log in one store, its registers in another, and both as one.
pub(crate) struct Divided {
    pub(crate) log: Place,
    pub(crate) registers: Place,
    pub(crate) store: SharedStore,
}

impl Divided {
    pub(crate) fn new() -> Self {
        let (log, registers) = (Place::new(), Place::new());
        let keepers = Keepers {
            registers: Arc::clone(&registers.keeper),
            ..Keepers::all(&log.keeper)
        };
        Self {
            store: compose(&keepers),
            log,
            registers,
        }
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Makes a group of ana and bob.
pub(crate) async fn group(store: &SharedStore) -> ConversationId {
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
    store.create_conversation(new).await.unwrap();
    id
}

/// Takes a conversation; the head of its log.
pub(crate) async fn take(store: &SharedStore, id: &ConversationId) -> (Epoch, Seq) {
    let claim = Claim {
        owner: OwnerId::generate(),
        now: Timestamp(0),
        min_tenure_ms: 0,
    };
    let taken = store.acquire(id, claim).await.unwrap().conversation;
    (taken.epoch, taken.tail)
}

/// An entry as sequencers write it: sending reads.
pub(crate) fn entry(kind: EntryKind, sender: &str, effects: Vec<EntryEffect>) -> NewEntry {
    let id = EntryId::generate();
    NewEntry {
        id,
        kind,
        sender: user(sender),
        keys: Key16(*id.0.as_bytes()).into(),
        hash: [0; 32],
        counts: kind == EntryKind::Message,
        target: None,
        payload: "{}".into(),
        at: Timestamp(0),
        effects,
    }
}

pub(crate) fn message(sender: &str) -> NewEntry {
    let read = EntryEffect::ReadUpToHere { user: user(sender) };
    entry(EntryKind::Message, sender, vec![read])
}

/// Takes the conversation and appends.
pub(crate) async fn append(
    store: &(impl Store + ?Sized),
    id: &ConversationId,
    (epoch, tail): (Epoch, Seq),
    entries: Vec<NewEntry>,
) -> Appended {
    let part = Append {
        conversation: id.clone(),
        epoch,
        tail,
        entries,
    };
    store.append(vec![part]).await.remove(0).unwrap()
}

/// Waits for a condition, at most ten seconds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let met = tokio::time::timeout(Duration::from_secs(10), poll).await;
    assert!(met.is_ok(), "waited in vain: {what}");
}
