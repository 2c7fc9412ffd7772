//! The handle that other modules and crates hold.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use quikapp_storage::{
    Document, DocumentKind, Entry, JsonText, Key16, Person, SharedStore, StoreError,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    entry::{Written, event_of},
    view,
};
use crate::conversation::{CommandError, Conversations, document_key};

/// How often a change is decided anew because somebody else's came first.
const ATTEMPTS: usize = 16;
/// Versions looked up at once.
const WINDOW: u64 = 64;
/// In one process people change their documents one after the other; those who share a turn wait
/// for each other needlessly.
const TURNS: usize = 64;
/// For so long a change waits for its turn; then it is told to come again.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// A document's size in bytes, at most: all of it is in each entry, and clients catch up on many.
const MAX_BYTES: usize = 64 * 1024;

/// Why a document was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError<E> {
    /// Whoever decides refused.
    #[error("refused")]
    Refused(E),
    /// The entry was not written, or nobody knows whether it was.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The store failed; nothing was done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others came first, again and again; nothing was done, and it may be tried again.
    #[error("others are changing the same")]
    Contended,
}

/// Reads and changes documents. Cheap to clone.
#[derive(Clone)]
pub struct Documents {
    store: SharedStore,
    conversations: Conversations,
    turns: Arc<[Mutex<()>]>,
    hasher: RandomState,
}

/// A document as far as it is known.
struct Latest<'a> {
    person: &'a Person,
    kind: DocumentKind,
    /// 0 where there never was one.
    version: u64,
    /// `None` where there is none, or nothing is left of it.
    json: Option<JsonText>,
}

impl Documents {
    /// Over these.
    pub fn new(store: SharedStore, conversations: Conversations) -> Self {
        Self {
            store,
            conversations,
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A person's document, if there is one.
    pub async fn read(
        &self,
        person: &Person,
        kind: DocumentKind,
    ) -> Result<Option<Document>, StoreError> {
        let users = std::slice::from_ref(&person.user);
        let found = self.store.documents(kind, &person.workspace, users).await?;
        Ok(found.into_iter().next())
    }

    /// Changes a person's document. `decide` gets it as it is now (`None`: there is none yet) and
    /// answers the new one (JSON), `None` when there is nothing to change, or a refusal. It is
    /// called again when somebody else's change came first. Returns the document as it is
    /// afterwards; that it stands in the log is durable by then.
    pub async fn change<E>(
        &self,
        person: &Person,
        kind: DocumentKind,
        mut decide: impl FnMut(Option<&JsonText>) -> Result<Option<JsonText>, E> + Send,
    ) -> Result<Option<Document>, ChangeError<E>> {
        self.change_version(person, kind, |_, json| decide(json))
            .await
    }

    /// Like [`change`](Self::change); `decide` also gets the version of what it decides on, 0 where
    /// there is none or nothing is left of it.
    pub async fn change_version<E>(
        &self,
        person: &Person,
        kind: DocumentKind,
        mut decide: impl FnMut(u64, Option<&JsonText>) -> Result<Option<JsonText>, E> + Send,
    ) -> Result<Option<Document>, ChangeError<E>> {
        let turn = timeout(TURN_WITHIN, self.turn(person).lock()).await;
        let _turn = turn.map_err(|_| ChangeError::Contended)?;
        let mut latest = Latest::of(person, kind, self.read(person, kind).await?);
        for _ in 0..ATTEMPTS {
            let version = latest.json.as_ref().map_or(0, |_| latest.version);
            match decide(version, latest.json.as_ref()) {
                Ok(Some(json)) => {
                    let next = latest.next(json)?;
                    if self.write(&latest, &next).await? {
                        latest.become_next(next);
                        self.keep(&latest).await;
                        return Ok(latest.document());
                    }
                    self.catch_up(&mut latest).await?;
                    // One's own, of which nobody knew whether it was written; if nothing followed.
                    if latest.is(&next) {
                        return Ok(latest.document());
                    }
                }
                // What is said of an earlier version does not hold.
                decided => {
                    if !self.catch_up(&mut latest).await? {
                        let decided = decided.map(|_| latest.document());
                        return decided.map_err(ChangeError::Refused);
                    }
                }
            }
        }
        Err(ChangeError::Contended)
    }

    fn turn(&self, person: &Person) -> &Mutex<()> {
        &self.turns[self.hasher.hash_one(person) as usize % TURNS]
    }

    /// Writes the next version, unless there is one.
    async fn write(&self, latest: &Latest<'_>, next: &Written) -> Result<bool, CommandError> {
        let (person, key) = (latest.person, latest.key(next.version));
        let (event, payload) = (event_of(next.kind), next.payload());
        let written = self.conversations.notify_once(person, event, payload, key);
        Ok(!written.await?.replayed)
    }

    /// Goes on to the last version that the log has; whether there was a later one.
    async fn catch_up(&self, latest: &mut Latest<'_>) -> Result<bool, StoreError> {
        let before = latest.version;
        let own = latest.person.own_conversation();
        loop {
            let versions = latest.version + 1..=latest.version + WINDOW;
            let keys = versions.map(|version| (latest.key(version), version));
            let keys: HashMap<Key16, u64> = keys.collect();
            let asked: Vec<Key16> = keys.keys().copied().collect();
            let found = self.store.by_keys(&own, &asked).await?;
            let version_of = |entry: &Entry| keys.get(&entry.key).copied();
            let Some(entry) = found.iter().max_by_key(|entry| version_of(entry)) else {
                break;
            };
            latest.version = version_of(entry).unwrap_or(latest.version);
            // An entry that says nothing any more was a person's who has been erased since.
            latest.json = Written::of(entry).map(|written| written.json);
        }
        let is_later = latest.version > before;
        if is_later {
            self.keep(latest).await;
        }
        Ok(is_later)
    }

    /// Has the view follow. Where that fails the projection sees to it.
    async fn keep(&self, latest: &Latest<'_>) {
        let Some(document) = latest.document() else {
            return;
        };
        if let Err(error) = view::put(&self.store, &document).await {
            let (user, kind) = (&latest.person.user, latest.kind.as_str());
            tracing::warn!(%user, kind, %error, "a document's view is behind");
            let own = latest.person.own_conversation();
            self.conversations.tails().grown(&own);
        }
    }
}

impl<'a> Latest<'a> {
    fn of(person: &'a Person, kind: DocumentKind, kept: Option<Document>) -> Self {
        Self {
            person,
            kind,
            version: kept.as_ref().map_or(0, |kept| kept.version),
            json: kept.map(|kept| kept.json),
        }
    }

    /// The version behind it.
    fn next(&self, json: JsonText) -> Result<Written, StoreError> {
        if json.len() > MAX_BYTES {
            let problem = format!("a document is at most {MAX_BYTES} bytes");
            return Err(StoreError::Invalid(problem));
        }
        Ok(Written {
            kind: self.kind,
            version: self.version + 1,
            json,
        })
    }

    fn become_next(&mut self, next: Written) {
        (self.version, self.json) = (next.version, Some(next.json));
    }

    fn is(&self, written: &Written) -> bool {
        self.version == written.version && self.json.as_ref() == Some(&written.json)
    }

    fn key(&self, version: u64) -> Key16 {
        document_key(self.person, self.kind, version)
    }

    fn document(&self) -> Option<Document> {
        Some(Document {
            person: self.person.clone(),
            kind: self.kind,
            version: self.version,
            json: self.json.clone()?,
        })
    }
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}
