//! What went wrong between us and the server, and what that means for a caller.

use mysql_async::{DriverError, Error, ServerError};

use crate::StoreError;

/// A failure of a step.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server refused a statement; the connection goes on.
    Server(ServerError),
    /// The connection is of no use any more.
    Lost(String),
    /// A commit was sent and not answered.
    Unanswered(String),
    /// No connection became free in time.
    Crowded,
    /// A row does not decode.
    Corrupt(String),
    /// The caller asked for what cannot be.
    Invalid(String),
}

/// The result of a step.
pub(super) type Sql<T> = Result<T, Fault>;

const DUPLICATE: u16 = 1062;
const LOCK_WAIT: u16 = 1205;
const DEADLOCK: u16 = 1213;
/// A value is too long, too large, not in the column's character set, or null.
const NO_SUCH_VALUE: [u16; 7] = [1048, 1153, 1264, 1300, 1366, 1406, 3988];
/// What a schema that is not ours, or damaged, answers.
const NO_SUCH_THING: [u16; 6] = [1034, 1035, 1054, 1064, 1146, 1712];

impl Fault {
    /// Whether the same work may succeed when it is done again: nothing of it was kept.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Server(error) => matches!(error.code, LOCK_WAIT | DEADLOCK),
            Self::Lost(_) => true,
            Self::Unanswered(_) | Self::Crowded | Self::Corrupt(_) | Self::Invalid(_) => false,
        }
    }

    /// Whether one piece of work failed, and not the transaction around it.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Server(error) => error.code == DUPLICATE || NO_SUCH_VALUE.contains(&error.code),
            Self::Corrupt(_) | Self::Invalid(_) => true,
            Self::Lost(_) | Self::Unanswered(_) | Self::Crowded => false,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(error) => Self::Server(error),
            Error::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. }) => {
                // The driver's own text would show the row.
                Self::Corrupt("a row does not have the expected columns".to_owned())
            }
            Error::Driver(DriverError::PacketTooLarge) => {
                Self::Invalid("larger than the server's max_allowed_packet".to_owned())
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt(what) => Self::Corrupt(what),
            Fault::Invalid(what) => Self::Invalid(what),
            Fault::Crowded => Self::Overloaded,
            Fault::Lost(what) => Self::Unavailable(what),
            Fault::Unanswered(what) => Self::Unknown(what),
            Fault::Server(error) if error.code == DUPLICATE => {
                Self::Invalid("a row of this key exists".to_owned())
            }
            Fault::Server(error) if NO_SUCH_VALUE.contains(&error.code) => {
                Self::Invalid(error.to_string())
            }
            Fault::Server(error) if NO_SUCH_THING.contains(&error.code) => {
                Self::Corrupt(error.to_string())
            }
            Fault::Server(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// What a failed COMMIT means. A deadlock found by it (a cluster of servers) rolled back; after
/// anything else the transaction may have been kept.
pub(super) fn of_commit(fault: Fault) -> Fault {
    match fault {
        Fault::Server(error) if error.code == DEADLOCK => Fault::Server(error),
        Fault::Server(error) => Fault::Unanswered(error.to_string()),
        Fault::Lost(what) => Fault::Unanswered(what),
        other => other,
    }
}
