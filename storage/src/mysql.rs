//! MySQL 8 and MariaDB: every concern, in the SQL that both speak.
//!
//! One writer task per process groups appends into transactions, as the embedded store does;
//! everything else runs in short transactions of its own, on a bounded pool. Positions in the
//! order of commits come from a locked row (see `append`), so a stream cursor never passes an
//! entry that is still on its way.

mod append;
mod conversations;
mod devices;
mod dial;
mod documents;
mod effects;
mod erasure;
mod fault;
mod head;
mod history;
mod log;
mod migrations;
mod people;
mod pool;
mod probe;
mod projections;
mod queue;
mod registers;
mod row;
mod security;
mod stream;
mod timers;
mod upkeep;
mod writer;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mysql_async::{Opts, OptsBuilder};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use self::{
    dial::Dialer,
    fault::{Fault, Sql},
    pool::{Db, Pool},
    row::Columns,
    writer::Writer,
};
use crate::{Config, ConnectError, Health, ServerUrl, SharedKeeper, Store, StoreError};

/// Opens the store at an address, and brings its schema up to date.
pub(crate) async fn open(url: &ServerUrl, config: &Config) -> Result<SharedKeeper, ConnectError> {
    Ok(Arc::new(MySqlStore::open(url, config).await?))
}

/// The store.
struct MySqlStore {
    pool: Arc<Pool>,
    writer: Writer,
    store_id: Uuid,
}

/// What every session is set to. Strict, so that nothing is cut off silently; READ COMMITTED, so
/// that no gap is locked: what must not change is locked by name. No statement names a time zone.
/// For how long a statement waits for a lock is added.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
     SESSION time_zone = '+00:00'";
const NAMES: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_bin";
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A health probe that takes longer has failed: less than what readiness waits for an answer.
const PROBE: Duration = Duration::from_millis(1500);

impl MySqlStore {
    async fn open(url: &ServerUrl, config: &Config) -> Result<Self, ConnectError> {
        let explain = |reason: String| ConnectError::Server {
            url: url.to_string(),
            reason: url.scrub(&reason),
        };
        let patience = Duration::from_millis(config.server_timeout_ms);
        let opts = options(url).map_err(explain)?;
        let pool = Arc::new(Pool::new(
            url.clone(),
            Dialer::new(opts, setup(patience)),
            config.connections,
            Duration::from_millis(config.connection_wait_ms),
            patience,
        ));
        let mut db = pool.get().await.map_err(|fault| explain(text_of(fault)))?;
        let store_id = prepare(&mut db).await.map_err(explain)?;
        drop(db);
        Ok(Self {
            writer: Writer::start(Arc::clone(&pool), config),
            pool,
            store_id,
        })
    }
}

fn options(url: &ServerUrl) -> Result<Opts, String> {
    let opts = Opts::from_url(url.with_secrets()).map_err(|error| error.to_string())?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err("the address names no database (mysql://host/name)".to_owned());
    }
    // A socket in the file system would pass by the proxy, or the other host, that was named.
    let builder = OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .tcp_nodelay(true)
        .client_found_rows(true)
        .stmt_cache_size(256);
    Ok(builder.into())
}

/// What is run on every connection that work is done on, before that.
fn setup(patience: Duration) -> Vec<String> {
    let session = format!(
        "{SESSION}, SESSION innodb_lock_wait_timeout = {}",
        lock_wait_seconds(patience)
    );
    vec![NAMES.to_owned(), session, ISOLATION.to_owned()]
}

/// A statement that waits for a lock is told so by the server before it would be taken for
/// unanswered: half of the patience, no more than 5 s, and no less than 1 s, which is the least
/// that the server knows.
fn lock_wait_seconds(patience: Duration) -> u64 {
    (patience.as_secs() / 2).clamp(1, 5)
}

/// Checks the server, migrates, and reads the name of the store.
async fn prepare(db: &mut Db<'_>) -> Result<Uuid, String> {
    check_server(db).await.map_err(text_of)?;
    migrations::migrate(db, migrations::MIGRATIONS).await?;
    identify(db).await.map_err(text_of)
}

fn text_of(fault: Fault) -> String {
    StoreError::from(fault).to_string()
}

/// Says what the server will not keep its word about.
async fn check_server(db: &mut Db<'_>) -> Sql<()> {
    let sql = "SELECT CAST(@@version AS CHAR), CAST(@@session.sql_mode AS CHAR),
                      CAST(@@innodb_flush_log_at_trx_commit AS SIGNED),
                      CAST(@@max_allowed_packet AS SIGNED)";
    let found = db.first(sql, (), |row| {
        Ok((
            row.string(0)?,
            row.string(1)?,
            row.value::<i64>(2)?,
            row.value::<i64>(3)?,
        ))
    });
    let Some((version, mode, flush, packet)) = found.await? else {
        return Ok(());
    };
    if !mode.contains("STRICT_ALL_TABLES") {
        return Err(Fault::Invalid(
            "the server refuses the strict mode".to_owned(),
        ));
    }
    if flush != 1 {
        tracing::warn!(
            innodb_flush_log_at_trx_commit = flush,
            "the server flushes lazily: what it acknowledges may be lost when it dies"
        );
    }
    if packet < 16 << 20 {
        tracing::warn!(
            max_allowed_packet = packet,
            "the server refuses large batches and messages: 16 MiB are recommended"
        );
    }
    tracing::info!(version, "connected to the database server");
    db.learn_packet(packet);
    Ok(())
}

async fn identify(db: &mut Db<'_>) -> Sql<Uuid> {
    let fresh = Uuid::new_v4();
    db.run(
        "INSERT IGNORE INTO store (one, store_id) VALUES (1, ?)",
        (fresh.as_bytes().to_vec(),),
    )
    .await?;
    let found = db
        .first("SELECT store_id FROM store WHERE one = 1", (), |row| {
            Ok(Uuid::from_bytes(row.bytes(0)?))
        })
        .await?;
    found.ok_or_else(|| Fault::Corrupt("the store has no name".to_owned()))
}

#[async_trait]
impl Store for MySqlStore {
    fn store_id(&self) -> Uuid {
        self.store_id
    }

    async fn health(&self) -> Health {
        let began = Instant::now();
        let sql = "UPDATE store SET probe = probe + 1 WHERE one = 1";
        let detail = match timeout(PROBE, self.pool.probe(sql)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        Health {
            writable: detail.is_none(),
            detail,
            latency_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    async fn close(&self) {
        self.writer.stop().await;
        self.pool.close();
    }
}
