//! Where the database lies: creating it, connecting to it, and noticing when it is gone.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use uuid::Uuid;

use super::migrations::{MIGRATIONS, MigrateError, migrate, version_of};
use crate::{Config, ConfigError, ServerMutant, StoreError};

/// Why the embedded store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of its bounds.
    #[error("storage.{0}")]
    Config(#[from] ConfigError),
    /// The data directory or a file in it cannot be made or used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is a database, but not one of ours, or no database at all.
    #[error("{} is not a database of this program ({detail}); choose another data directory", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What is in the way.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error(
        "{} has schema version {found}, this program knows versions up to {known}; \
         use a newer program or another data directory", path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The file's version.
        found: i32,
        /// The newest version known here.
        known: i32,
    },
    /// The database does not open, or its schema cannot be brought up to date.
    #[error("cannot open {}: {reason}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

pub(super) const DATABASE: &str = "quikapp.db";
const LOCK: &str = "quikapp.lock";

/// What tells one file from another with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    identity: Identity,
    generation: u64,
}

/// The place of one store's database.
#[derive(Debug)]
pub(super) struct Place {
    file: PathBuf,
    busy_timeout: Duration,
    lock: fs::File,
    current: Mutex<Current>,
    store_id: Uuid,
}

impl Place {
    /// Creates or finds the database and brings its schema up to date.
    pub(super) fn prepare(config: &Config) -> Result<Self, OpenError> {
        config.validate()?;
        let file = config.data_dir.join(DATABASE);
        let busy_timeout = Duration::from_millis(config.busy_timeout_ms);
        make_directory(&config.data_dir).map_err(at(&config.data_dir))?;
        let lock = lock(&config.data_dir.join(LOCK))?;
        touch(&file).map_err(at(&file))?;
        let store_id = create(&file, busy_timeout).map_err(|error| explain(&file, error))?;
        let identity = identity(&file).map_err(at(&file))?;
        lock.unlock().map_err(at(&config.data_dir))?;
        Ok(Self {
            file,
            busy_timeout,
            lock,
            current: Mutex::new(Current {
                identity,
                generation: 0,
            }),
            store_id,
        })
    }

    /// What names this set of data.
    pub(super) fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// Counts how often the file has been exchanged under us; connections of an older
    /// generation are of no use.
    pub(super) fn generation(&self) -> u64 {
        self.current.lock().generation
    }

    /// A connection to the file.
    pub(super) fn connect(&self, cache_kib: u32) -> rusqlite::Result<Connection> {
        connect(&self.file, self.busy_timeout, cache_kib)
    }

    /// Whether the file that was opened is still the one at its path. Writes to a file whose
    /// name is gone would succeed, and be lost at the next start.
    pub(super) fn check(&self) -> Result<(), String> {
        let expected = self.current.lock().identity;
        match identity(&self.file) {
            Ok(found) if found == expected => Ok(()),
            Ok(_) => Err(format!("{} has been exchanged", self.file.display())),
            Err(error) => Err(format!("{}: {error}", self.file.display())),
        }
    }

    /// Whether the disk takes a write at all. SQLite keeps its index of the log in mapped memory,
    /// where a file system that has become read-only answers a write with SIGBUS; here it answers
    /// with an error.
    fn try_write(&self) -> io::Result<()> {
        self.lock.write_all_at(b"\n", 0)
    }

    /// Accepts another file at the path (a volume that was mounted again), if it is the same
    /// store. All connections are to be made anew afterwards.
    pub(super) fn adopt(&self) -> Result<(), String> {
        let found = identity(&self.file).map_err(|error| error.to_string())?;
        if found == self.current.lock().identity {
            return Ok(());
        }
        let conn = self.connect(1024).map_err(|error| error.to_string())?;
        let version = version_of(&conn).map_err(|error| error.to_string())?;
        let store_id = read_store_id(&conn).map_err(|error| error.to_string())?;
        let known = MIGRATIONS.last().map_or(0, |newest| newest.version);
        if store_id != self.store_id || version != known {
            return Err(format!("{} is another store now", self.file.display()));
        }
        let mut current = self.current.lock();
        current.identity = found;
        current.generation += 1;
        Ok(())
    }
}

/// A connection that outlives failures: it is made anew when it was dropped or when the file was
/// exchanged.
#[derive(Debug)]
pub(super) struct Link {
    place: Arc<Place>,
    cache_kib: u32,
    made: Option<(u64, Connection)>,
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(place: Arc<Place>, cache_kib: u32) -> Self {
        Self {
            place,
            cache_kib,
            made: None,
        }
    }

    /// The connection to the file that lies at the path now.
    pub(super) fn get(&mut self) -> Result<&mut Connection, StoreError> {
        if self.place.check().is_err() {
            self.place.adopt().map_err(StoreError::Unavailable)?;
        }
        let written = self.place.try_write();
        written.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let generation = self.place.generation();
        let made = match self.made.take() {
            Some(made) if made.0 == generation => made,
            _ => {
                let conn = self.place.connect(self.cache_kib);
                let conn = conn.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                (generation, conn)
            }
        };
        Ok(&mut self.made.insert(made).1)
    }

    /// Drops the connection, and with it a transaction that is open.
    pub(super) fn reset(&mut self) {
        self.made = None;
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    |source| OpenError::Directory { path, source }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Held while a database is created or migrated; other processes wait for it.
fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let file = private_file(path).map_err(at(path))?;
    file.lock().map_err(at(path))?;
    Ok(file)
}

fn touch(path: &Path) -> io::Result<()> {
    private_file(path).map(drop)
}

/// Opens, or creates readable for its owner only. SQLite gives its side files the same mode.
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::metadata(path)?;
    Ok(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn create(file: &Path, busy_timeout: Duration) -> Result<Uuid, MigrateError> {
    let mut conn = connect(file, busy_timeout, 1024)?;
    version_of(&conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    migrate(&mut conn, MIGRATIONS)?;
    let fresh = Uuid::new_v4();
    conn.execute(
        "INSERT OR IGNORE INTO store (one, store_id) VALUES (1, ?1)",
        [fresh.as_bytes()],
    )?;
    Ok(read_store_id(&conn)?)
}

fn read_store_id(conn: &Connection) -> rusqlite::Result<Uuid> {
    conn.query_row("SELECT store_id FROM store", [], |row| row.get(0))
        .map(Uuid::from_bytes)
}

pub(super) fn explain(file: &Path, error: MigrateError) -> OpenError {
    let path = file.to_owned();
    match error {
        MigrateError::Newer { found, known } => OpenError::Newer { path, found, known },
        MigrateError::Foreign { .. } => OpenError::NotOurs {
            path,
            detail: error.to_string(),
        },
        MigrateError::Sqlite(error)
            if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) =>
        {
            OpenError::NotOurs {
                path,
                detail: error.to_string(),
            }
        }
        MigrateError::Sqlite(error) => OpenError::Database {
            path,
            reason: error.to_string(),
        },
    }
}

pub(super) fn connect(
    file: &Path,
    busy_timeout: Duration,
    cache_kib: u32,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(file, flags)?;
    conn.busy_handler(Some(patience(busy_timeout)))?;
    let synchronous = match ServerMutant::AcknowledgeBeforeSync.is_active() {
        true => "OFF",
        false => "FULL",
    };
    conn.pragma_update(None, "synchronous", synchronous)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A statement keeps its plan, whatever is bound to it: without this SQLite compiles one anew
    // for every other value that is bound to its limit.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // What was redacted or deleted is overwritten, and does not linger in free pages.
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

/// Waits for another process in short steps: SQLite's own handler sleeps up to 100 ms at a time
/// and so seldom meets the gap between two commits of a busy writer.
fn patience(limit: Duration) -> impl FnMut(i32) -> bool {
    const STEP: Duration = Duration::from_millis(1);
    let steps = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    move |waited| {
        #[expect(
            clippy::disallowed_methods,
            reason = "SQLite's busy handler is synchronous"
        )]
        std::thread::sleep(STEP);
        waited < steps
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plans.db");
        fs::File::create(&file).unwrap();
        let conn = connect(&file, Duration::ZERO, 1024).unwrap();
        conn.execute_batch(
            "CREATE TABLE log (conv INTEGER PRIMARY KEY, epoch INTEGER, tail INTEGER)",
        )
        .unwrap();
        // A limit is one of the values by which SQLite would plan again.
        let sql = "SELECT 1 FROM log WHERE conv > ?1 ORDER BY conv LIMIT ?2";
        let mut statement = conn.prepare(sql).unwrap();
        for n in 0..10 {
            assert!(!statement.exists((n, n)).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    /// It costs nothing but time when it is not, so nobody else would notice.
    #[test]
    fn sqlite_is_compiled_as_the_workspace_says() {
        let conn = Connection::open_in_memory().unwrap();
        let mut statement = conn.prepare("PRAGMA compile_options").unwrap();
        let options = statement.query_map([], |row| row.get::<_, String>(0));
        let options: Vec<_> = options.unwrap().map(Result::unwrap).collect();
        let wanted = "DEFAULT_MEMSTATUS=0";
        assert!(options.iter().any(|it| it == wanted), "{options:?}");
        // This it does not tell of itself.
        let flags = option_env!("LIBSQLITE3_FLAGS").unwrap_or_default();
        assert!(flags.contains("-DHAVE_FDATASYNC=__linux__"), "{flags}");
    }
}
