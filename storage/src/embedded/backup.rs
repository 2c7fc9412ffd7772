//! Copies of a store: taken while it is in use, and put back into an empty directory.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::{
    migrations::{MIGRATIONS, MigrateError, version_of},
    place::{self, DATABASE, OpenError},
};

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its schema version.
    pub version: i32,
    /// How many conversations, people's own included.
    pub conversations: u64,
    /// How many log entries.
    pub entries: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why a copy was not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file already, and it is not overwritten.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// There is no store in the directory.
    #[error("there is no store in {}", .0.display())]
    NoStore(PathBuf),
    /// The file is damaged.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What its check says.
        detail: String,
    },
    /// It is no store of ours, or a newer one.
    #[error(transparent)]
    Unfit(#[from] OpenError),
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot copy {}: {source}", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Copies the store of a data directory into a new file (mode 0600), as of one moment, while
/// other processes go on reading and writing. Everything that was acknowledged before the call is
/// in it. The copy is on the disk, and was checked, when this returns. It blocks: a large store
/// takes its time, and meanwhile the store's write-ahead log only grows.
pub fn backup(data_dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    let from = data_dir.join(DATABASE);
    if !from.exists() {
        return Err(BackupError::NoStore(data_dir.to_owned()));
    }
    let draft = Draft::create(to)?;
    let refused = |source| BackupError::Sqlite {
        path: from.clone(),
        source,
    };
    // The busy handler waits for a process that is just migrating or checkpointing.
    let conn = place::connect(&from, Duration::from_secs(30), 2048).map_err(refused)?;
    check_version(&from, &conn)?;
    let text = draft.path.to_string_lossy().into_owned();
    conn.execute("VACUUM INTO ?1", [text]).map_err(refused)?;
    let copied = inspect(&draft.path)?;
    draft.publish(to)?;
    Ok(copied)
}

/// Puts a copy into a data directory that has no store yet, nor what one left. The store gets a name of its own:
/// what was written after the copy was taken is gone, so that cursors which clients hold from
/// before are answered with `reset_required` instead of silence.
pub fn restore(from: &Path, data_dir: &Path) -> Result<Copied, BackupError> {
    let copied = inspect(from)?;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.map_err(at(data_dir))?;
    let to = data_dir.join(DATABASE);
    no_journal_beside(&to)?;
    let draft = Draft::create(&to)?;
    fs::copy(from, &draft.path).map_err(at(from))?;
    rename_store(&draft.path).map_err(|source| BackupError::Sqlite {
        path: draft.path.clone(),
        source,
    })?;
    draft.publish(&to)?;
    Ok(copied)
}

/// A log that another store left, after a crash say, would be replayed over the file that is put
/// beside it, and what is served were that store again.
fn no_journal_beside(database: &Path) -> Result<(), BackupError> {
    let beside = ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    match beside.into_iter().find(|file| file.exists()) {
        Some(left) => Err(BackupError::Exists(left)),
        None => Ok(()),
    }
}

/// A file in the making beside the one that it becomes. Dropped, it is removed.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn create(target: &Path) -> Result<Self, BackupError> {
        if target.exists() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", Uuid::new_v4().simple()));
        let path = target.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(&path);
        created.map_err(at(&path))?;
        Ok(Self { path })
    }

    /// Gives it its name, whole and durable. A file that came to be there meanwhile stays.
    fn publish(&self, target: &Path) -> Result<(), BackupError> {
        let io = || {
            fs::File::open(&self.path)?.sync_all()?;
            fs::hard_link(&self.path, target)?;
            let directory = match target.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            fs::File::open(directory)?.sync_all()
        };
        io().map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(target.to_owned()),
            _ => at(target)(source),
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It bears another name by now, or is of no use.
        let _ = fs::remove_file(&self.path);
    }
}

/// Reads a copy from end to end.
fn inspect(path: &Path) -> Result<Copied, BackupError> {
    let metadata = fs::metadata(path).map_err(at(path))?;
    let refused = |source| BackupError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(refused)?;
    let version = check_version(path, &conn)?;
    let text = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0));
    let count = |sql: &str| {
        let counted: i64 = conn.query_row(sql, [], |row| row.get(0)).map_err(refused)?;
        Ok::<_, BackupError>(u64::try_from(counted).unwrap_or_default())
    };
    let detail = text("PRAGMA integrity_check(1)").map_err(refused)?;
    if detail != "ok" {
        let path = path.to_owned();
        return Err(BackupError::Damaged { path, detail });
    }
    Ok(Copied {
        version,
        conversations: count("SELECT count(*) FROM conversations")?,
        entries: count("SELECT count(*) FROM entries")?,
        bytes: metadata.len(),
    })
}

/// The schema version, if it is one that this program knows.
fn check_version(path: &Path, conn: &Connection) -> Result<i32, BackupError> {
    let unfit = |error| BackupError::Unfit(place::explain(path, error));
    let found = version_of(conn).map_err(unfit)?;
    let known = MIGRATIONS.last().map_or(0, |newest| newest.version);
    match found {
        0 => Err(unfit(MigrateError::Foreign { found: 0 })),
        _ if found > known => Err(unfit(MigrateError::Newer { found, known })),
        _ => Ok(found),
    }
}

fn rename_store(path: &Path) -> rusqlite::Result<()> {
    let conn = place::connect(path, Duration::from_secs(1), 2048)?;
    let name = Uuid::new_v4();
    conn.execute("UPDATE store SET store_id = ?1", [name.as_bytes()])?;
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Io { path, source }
}
