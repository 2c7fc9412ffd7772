//! What went wrong inside SQLite, and what that means for a caller.

use rusqlite::ErrorCode;

use crate::StoreError;

/// A failure inside a transaction, before it is known what becomes of the transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// A row does not decode.
    Corrupt(String),
    /// The caller asked for what cannot be.
    Invalid(String),
}

/// The result of a step inside a transaction.
pub(super) type Sql<T> = Result<T, Fault>;

impl Fault {
    /// Whether the surroundings failed (disk, locks, memory) rather than this one job: then the
    /// whole transaction is given up.
    pub(super) fn is_environmental(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_environmental(error),
            Self::Corrupt(_) | Self::Invalid(_) => false,
        }
    }
}

fn is_environmental(error: &rusqlite::Error) -> bool {
    use ErrorCode as Code;
    matches!(
        error.sqlite_error_code(),
        Some(
            Code::DiskFull
                | Code::SystemIoFailure
                | Code::ReadOnly
                | Code::CannotOpen
                | Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::OutOfMemory
                | Code::PermissionDenied
                | Code::FileLockingProtocolFailed
                | Code::OperationAborted
                | Code::OperationInterrupted
                | Code::NoLargeFileSupport
                | Code::SchemaChanged
        )
    )
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt(what) => Self::Corrupt(what),
            Fault::Invalid(what) => Self::Invalid(what),
            Fault::Sqlite(error) if is_environmental(&error) => {
                Self::Unavailable(error.to_string())
            }
            Fault::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => {
                    Self::Invalid(error.to_string())
                }
                _ => Self::Corrupt(error.to_string()),
            },
        }
    }
}

/// What a failed COMMIT means. SQLite writes the log's commit frame last, so a disk that was full
/// before it kept nothing; after any other failure the frame may be on the disk.
pub(super) fn of_commit(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked,
        ) => StoreError::Unavailable(text),
        _ => StoreError::Unknown(text),
    }
}
