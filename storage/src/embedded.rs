//! The embedded store: one SQLite file (WAL, synchronous FULL), one writer that groups commits,
//! a pool of readers.
//!
//! Several processes may use one data directory: every write transaction is immediate, and
//! epochs fence a sequencer that was taken over. What was acknowledged is on the disk; when the
//! disk is full, read-only or gone, writes answer [`StoreError::Unavailable`] until it is back.
//!
//! [`StoreError::Unavailable`]: crate::StoreError::Unavailable

mod append;
mod backup;
mod checkpoint;
mod conversations;
mod detached;
mod devices;
mod documents;
mod effects;
mod erasure;
mod fault;
mod health;
mod history;
mod log;
mod marks;
mod migrations;
mod people;
mod place;
mod projections;
mod queue;
mod readers;
mod registers;
mod row;
mod search;
mod security;
mod stream;
mod timers;
mod upkeep;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use uuid::Uuid;

use self::{fault::Sql, health::Probe, place::Place, readers::Readers, writer::Writer};
use crate::{Config, Health, SharedKeeper, SharedStore, Store, StoreError};

pub use self::{
    backup::{BackupError, Copied, backup, restore},
    place::OpenError,
};

/// Opens the embedded store; creates it where there is none.
pub fn open(config: &Config) -> Result<SharedStore, OpenError> {
    Ok(Arc::new(EmbeddedStore::open(config)?))
}

/// The same, for keeping some concerns beside other stores.
pub fn open_keeper(config: &Config) -> Result<SharedKeeper, OpenError> {
    Ok(Arc::new(EmbeddedStore::open(config)?))
}

/// The embedded store.
#[derive(Debug)]
struct EmbeddedStore {
    place: Arc<Place>,
    writer: Writer,
    readers: Readers,
    probe: Probe,
}

impl EmbeddedStore {
    fn open(config: &Config) -> Result<Self, OpenError> {
        let place = Arc::new(Place::prepare(config)?);
        let cache_kib = config.cache_mib.saturating_mul(1024);
        let readers = u32::try_from(config.readers).unwrap_or(1).max(1);
        let writer = Writer::start(
            Arc::clone(&place),
            config.write_queue,
            config.max_batch,
            cache_kib,
        )
        .map_err(|source| OpenError::Directory {
            path: config.data_dir.clone(),
            source,
        })?;
        Ok(Self {
            readers: Readers::new(
                Arc::clone(&place),
                config.readers,
                config.read_queue,
                cache_kib / readers,
            ),
            place,
            writer,
            probe: Probe::default(),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Sql<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn store_id(&self) -> Uuid {
        self.place.store_id()
    }

    async fn health(&self) -> Health {
        self.probe.health(&self.writer).await
    }

    async fn close(&self) {
        self.readers.close();
        self.writer.stop().await;
    }
}
