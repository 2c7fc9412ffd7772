//! Directories, stores and conversations of the tests.

use std::{path::PathBuf, time::Duration};

use quikapp_storage::{
    Append, AppendError, Claim, Config, ConversationId, ConversationKind, Entry, EntryEffect,
    EntryId, EntryKind, Epoch, Key16, Message, NewConversation, NewEntry, OwnerId, Role, Seq,
    SharedStore, Timestamp, UserId, WorkspaceId, open,
};

/// A data directory that goes when it is dropped.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where the data is, or will be.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Another path in the same temporary directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A store, which may be the second on this directory.
    pub(crate) fn open(&self) -> SharedStore {
        open(&Config::at(self.data())).unwrap()
    }
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

/// One who appends to a conversation, and takes it whenever somebody else has.
pub(crate) struct Appender {
    store: SharedStore,
    conversation: ConversationId,
    owner: OwnerId,
    head: Option<(Epoch, Seq)>,
}

impl Appender {
    /// Creates the conversation, or finds it.
    pub(crate) async fn new(store: &SharedStore, conversation: &str) -> Self {
        let id = ConversationId::parse(conversation).unwrap();
        let ana = UserId::new("ana").unwrap();
        let new = NewConversation {
            id: id.clone(),
            workspace: WorkspaceId::new("w").unwrap(),
            kind: ConversationKind::Group,
            name: None,
            created_by: ana.clone(),
            created_at: Timestamp(0),
            members: vec![(ana, Role::Owner)],
        };
        store.create_conversation(new).await.unwrap();
        Self {
            store: store.clone(),
            conversation: id,
            owner: OwnerId::generate(),
            head: None,
        }
    }

    /// Appends a message with this text; what was acknowledged.
    pub(crate) async fn append(&mut self, text: &str) -> Result<(Seq, EntryId), AppendError> {
        loop {
            let (epoch, tail) = self.head().await?;
            let entry = message(text);
            let id = entry.id;
            let part = Append {
                conversation: self.conversation.clone(),
                epoch,
                tail,
                entries: vec![entry],
            };
            match self.store.append(vec![part]).await.remove(0) {
                Ok(appended) => {
                    self.head = Some((epoch, appended.tail));
                    return Ok((appended.tail, id));
                }
                Err(AppendError::Fenced) => self.head = None,
                Err(AppendError::TailMoved { tail }) => self.head = Some((epoch, tail)),
                Err(error) => {
                    self.head = None;
                    return Err(error);
                }
            }
        }
    }

    /// A tenure of some milliseconds lets two who fight for a conversation both get on.
    async fn head(&mut self) -> Result<(Epoch, Seq), AppendError> {
        use quikapp_storage::AcquireError;
        while self.head.is_none() {
            let claim = Claim {
                owner: self.owner,
                now: Timestamp(jiff::Timestamp::now().as_millisecond()),
                min_tenure_ms: 20,
            };
            match self.store.acquire(&self.conversation, claim).await {
                Ok(taken) => self.head = Some((taken.conversation.epoch, taken.conversation.tail)),
                Err(AcquireError::Held { .. }) => {}
                Err(AcquireError::Store(error)) => return Err(error.into()),
                Err(error) => panic!("{error}"),
            }
        }
        Ok(self.head.unwrap())
    }

    /// Everything that is kept, after checking that the log is dense and that its views are
    /// those of its entries.
    pub(crate) async fn log(&self) -> Vec<Entry> {
        let log = self.store.entries(&self.conversation, Seq(0), usize::MAX);
        let log = log.await.unwrap();
        for (place, entry) in (1..).zip(&log) {
            assert_eq!(
                (entry.seq, entry.n),
                (Seq(place), place),
                "the log is dense"
            );
        }
        let ids: Vec<EntryId> = log.iter().map(|entry| entry.id).collect();
        let views = self.store.messages(&self.conversation, &ids).await.unwrap();
        let viewed: Vec<EntryId> = views.iter().map(|view| view.id).collect();
        assert_eq!(viewed, ids, "an entry and its view commit together");
        let stored = self.store.conversation(&self.conversation).await.unwrap();
        assert_eq!(stored.unwrap().tail, Seq(log.len() as u64));
        log
    }
}

fn message(text: &str) -> NewEntry {
    let id = EntryId::generate();
    let sender = UserId::new("ana").unwrap();
    let view = Message {
        id,
        seq: Seq(0),
        sender: sender.clone(),
        at: Timestamp(0),
        thread_root: None,
        deleted: false,
        pinned: false,
        text: String::new(),
        body: "{}".into(),
        applied_seq: Seq(0),
    };
    NewEntry {
        id,
        kind: EntryKind::Message,
        sender: sender.clone(),
        keys: Key16(*id.0.as_bytes()).into(),
        hash: [0; 32],
        counts: true,
        target: None,
        payload: serde_json::json!({ "content": text }).to_string().into(),
        at: Timestamp(0),
        effects: vec![
            EntryEffect::PutMessage(view),
            EntryEffect::ReadUpToHere { user: sender },
        ],
    }
}
