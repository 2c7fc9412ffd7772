//! The log in MongoDB: conversations, members, entries, and the folded view of messages.
//!
//! What is relied on is small: unique indexes, updates of one document that are atomic, and a
//! majority that has journaled what it acknowledges. No transactions, no change streams, no TTL,
//! no `$text`, no partial indexes. See `docs/mongodb.md`.

/// Where a test can let something happen between two writes.
macro_rules! step {
    ($log:ident, $step:ident) => {
        #[cfg(feature = "conformance")]
        $log.testing.done($crate::mongo::testing::Step::$step).await;
    };
}

mod append;
mod conversations;
mod db;
mod doc;
mod documents;
mod effects;
mod history;
mod log;
mod probe;
mod schema;
mod stream;
#[cfg(feature = "conformance")]
mod testing;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::doc as document;
use tokio::sync::{Mutex, Semaphore};
use uuid::Uuid;

use self::{db::Db, doc::Fields, probe::Probe, schema::CONVERSATIONS, stream::Stream};
use crate::{
    Backlog, Config, ConversationId, Epoch, Health, HotConversation, LogKeeper, Person, ServerUrl,
    StoreError, StreamCursor, position,
};

pub use self::documents::MongoDocuments;
#[cfg(feature = "conformance")]
pub use self::testing::{Mutant, Pause, Step, Testing};

/// Conversations that can be appended to at the same time, at most.
const TURNS: usize = 1024;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MongoError {
    /// The address is refused by the driver.
    #[error("{0}")]
    Address(String),
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database was written by a later program.
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}; \
         use a newer program or another database"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The record that names the store does not decode.
    #[error("the record that names the store is damaged")]
    NoRecord,
}

/// A log in MongoDB.
#[derive(Debug)]
pub struct MongoLog {
    db: Arc<Db>,
    store_id: Uuid,
    stream: Stream,
    /// Appends that may be under way; one more is refused as overloaded.
    appends: Semaphore,
    /// Who appends to a conversation holds the one that its id falls on.
    turns: Vec<Mutex<()>>,
    probe: Probe,
    #[cfg(feature = "conformance")]
    testing: Testing,
}

impl MongoLog {
    /// Opens a database and makes its indexes.
    pub async fn open(url: &ServerUrl, config: &Config) -> Result<Self, MongoError> {
        let db = Db::open(url, config).await?;
        Ok(Self {
            store_id: schema::prepare(&db).await?,
            db: Arc::new(db),
            stream: Stream::default(),
            appends: Semaphore::new(config.write_queue),
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            probe: Probe::default(),
            #[cfg(feature = "conformance")]
            testing: Testing::default(),
        })
    }

    /// The same, with something that is wrong with it.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn with_testing(mut self, testing: Testing) -> Self {
        self.testing = testing;
        self
    }

    /// Deletes the database.
    #[cfg(feature = "conformance")]
    pub async fn drop_database(&self) -> Result<(), StoreError> {
        self.db.drop_database().await
    }
}

#[async_trait]
impl LogKeeper for MongoLog {
    fn log_id(&self) -> Uuid {
        self.store_id
    }

    async fn log_health(&self) -> Health {
        self.probe.health(&self.db).await
    }

    async fn close_log(&self) {
        self.db.close().await;
    }

    async fn log_backlog(
        &self,
        person: &Person,
        after: &StreamCursor,
        enough: u64,
    ) -> Result<Option<Backlog>, StoreError> {
        let Some(after) = position::parse(self.store_id, after) else {
            return Ok(None);
        };
        let newest = stream::newest(&self.db).await?;
        if after > newest {
            return Ok(None);
        }
        let missed = self.missed_since(person, after, newest, enough).await;
        missed.map(Some)
    }

    async fn hot_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<HotConversation>, StoreError> {
        let conversations = self.db.collection(CONVERSATIONS);
        let found = conversations
            .find(document! {
                "hot": true,
                "_id": { "$gt": after.map_or("", ConversationId::as_str) },
            })
            .sort(document! { "_id": 1 })
            .limit(doc::limit(limit))
            .projection(document! { "epoch": 1, "tail": 1 });
        let found = self.db.all(found).await?;
        let hot = found.iter().map(|found| {
            Ok(HotConversation {
                id: found.conversation("_id")?,
                epoch: Epoch(found.count("epoch")?),
                tail: found.seq("tail")?,
            })
        });
        hot.collect()
    }

    async fn all_logs(
        &self,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let conversations = self.db.collection(CONVERSATIONS);
        let found = conversations
            .find(document! { "_id": { "$gt": after.map_or("", ConversationId::as_str) } })
            .sort(document! { "_id": 1 })
            .limit(doc::limit(limit))
            .projection(document! { "_id": 1 });
        let found = self.db.all(found).await?;
        found
            .iter()
            .map(|found| found.conversation("_id"))
            .collect()
    }
}
