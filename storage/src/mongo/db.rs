//! The connection: options that durability asks for, bounded waiting, and errors in our words.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::{
    Client, Collection, Database,
    bson::Document,
    error::{Error, ErrorKind, WriteFailure},
    options::{
        Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
    },
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::MongoError;
use crate::{Config, ServerUrl, StoreError};

/// The database where the address names none.
const DATABASE: &str = "quikapp";
/// What a server says when a key is taken.
const DUPLICATE_KEY: i32 = 11_000;

/// A database, and how long we wait for it.
#[derive(Debug)]
pub(super) struct Db {
    client: Client,
    database: Database,
    url: ServerUrl,
    /// As many requests as there are connections, besides that of the probe, so that waiting for
    /// one is ours to bound.
    permits: Semaphore,
    wait: Duration,
    patience: Duration,
}

impl Db {
    /// Reads the options and prepares the connections; nothing is asked of the server yet.
    pub(super) async fn open(url: &ServerUrl, config: &Config) -> Result<Self, MongoError> {
        let refused = |error: Error| MongoError::Address(url.scrub(&error.to_string()));
        let mut options = ClientOptions::parse(url.with_secrets())
            .await
            .map_err(refused)?;
        let patience = Duration::from_millis(config.server_timeout_ms);
        // What is acknowledged is on the disks of a majority, and what is read is not undone.
        options.write_concern = Some(
            WriteConcern::builder()
                .w(Acknowledgment::Majority)
                .journal(true)
                .w_timeout(patience)
                .build(),
        );
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        // One more than there are permits, for the probe.
        options.max_pool_size = Some(u32::try_from(config.connections + 1).unwrap_or(u32::MAX));
        options.server_selection_timeout = Some(patience);
        options.connect_timeout = Some(patience);
        options.app_name.get_or_insert_with(|| "quikapp".to_owned());
        let name = options.default_database.clone();
        let client = Client::with_options(options).map_err(refused)?;
        Ok(Self {
            database: client.database(name.as_deref().unwrap_or(DATABASE)),
            client,
            url: url.clone(),
            permits: Semaphore::new(config.connections),
            wait: Duration::from_millis(config.connection_wait_ms),
            patience,
        })
    }

    /// A collection.
    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Deletes the database.
    #[cfg(feature = "conformance")]
    pub(super) async fn drop_database(&self) -> Result<(), StoreError> {
        self.write(self.database.drop().into_future()).await
    }

    /// Ends the connections, of everybody who shares them.
    pub(super) async fn close(&self) {
        if self.permits.is_closed() {
            return;
        }
        self.permits.close();
        self.client.clone().shutdown().immediate(true).await;
    }

    /// Asks for something.
    pub(super) async fn read<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.run(request)
            .await
            .map_err(|failure| failure.of_read(&self.url))
    }

    /// Changes something.
    pub(super) async fn write<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        self.run(request)
            .await
            .map_err(|failure| failure.of_write(&self.url))
    }

    /// The same for the probe, which does not stand in line: busy is not broken.
    pub(super) async fn write_aside<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let answered = self.answer(request).await;
        answered.map_err(|failure| failure.of_write(&self.url))
    }

    /// Inserts something; `false` if a unique key of it is taken.
    pub(super) async fn insert_new<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<bool, StoreError> {
        let inserted = self.unless_taken(request).await?;
        Ok(inserted.is_some())
    }

    /// Changes something; `None` if a unique key of it is taken.
    pub(super) async fn unless_taken<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, StoreError> {
        match self.run(request).await {
            Ok(done) => Ok(Some(done)),
            Err(Failure::Driver(error)) if is_duplicate(&error) => Ok(None),
            Err(failure) => Err(failure.of_write(&self.url)),
        }
    }

    /// All that a query finds.
    pub(super) async fn all(
        &self,
        find: mongodb::action::Find<'_, Document>,
    ) -> Result<Vec<Document>, StoreError> {
        self.read(async { find.await?.try_collect().await }).await
    }

    async fn run<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let permit = timeout(self.wait, self.permits.acquire()).await;
        let _permit = permit
            .map_err(|_| Failure::Crowded)?
            .map_err(|_| Failure::Closed)?;
        self.answer(request).await
    }

    async fn answer<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let answer = timeout(self.patience, request).await;
        metrics::histogram!("quikapp_store_server_seconds", "server" => "mongodb")
            .record(started.elapsed());
        answer
            .map_err(|_| Failure::Slow(self.patience))?
            .map_err(|error| Failure::Driver(Box::new(error)))
    }
}

/// Why a request was not answered.
enum Failure {
    Crowded,
    Closed,
    Slow(Duration),
    Driver(Box<Error>),
}

impl Failure {
    /// A read kept nothing, whatever happened.
    fn of_read(self, url: &ServerUrl) -> StoreError {
        match self.of_write(url) {
            StoreError::Unknown(problem) => StoreError::Unavailable(problem),
            other => other,
        }
    }

    /// A write is refused for sure only if it was not sent, or the server said so.
    fn of_write(self, url: &ServerUrl) -> StoreError {
        match self {
            Self::Crowded => StoreError::Overloaded,
            Self::Closed => StoreError::Unavailable("mongodb: the store is closed".to_owned()),
            Self::Slow(patience) => {
                StoreError::Unknown(format!("mongodb: no answer within {patience:?}"))
            }
            Self::Driver(error) => {
                let problem = format!("mongodb: {}", url.scrub(&error.to_string()));
                match *error.kind {
                    ErrorKind::ServerSelection { .. }
                    | ErrorKind::ConnectionPoolCleared { .. }
                    | ErrorKind::DnsResolve { .. }
                    | ErrorKind::Authentication { .. }
                    | ErrorKind::InvalidTlsConfig { .. }
                    | ErrorKind::IncompatibleServer { .. }
                    | ErrorKind::Shutdown => StoreError::Unavailable(problem),
                    ErrorKind::InvalidArgument { .. } => StoreError::Invalid(problem),
                    _ => StoreError::Unknown(problem),
                }
            }
        }
    }
}

/// Whether a unique key was taken.
fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::InsertMany(error) => {
            let mut errors = error.write_errors.iter().flatten();
            errors.any(|error| error.code == DUPLICATE_KEY)
        }
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}
