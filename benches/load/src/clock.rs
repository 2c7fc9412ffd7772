//! Time of a run: nanoseconds since its origin, the same for all workers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Nanoseconds since the run's origin.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Counts from the moment it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    /// Seconds since 1970 at the origin.
    unix_origin: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            unix_origin: unix_seconds(),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }

    /// A moment of the run in milliseconds since 1970.
    pub(crate) fn unix_ms(&self, at: Nanos) -> u64 {
        ((self.unix_origin + seconds(at)) * 1000.0) as u64
    }
}

/// Seconds since 1970: for the report, the start barrier and the lifetime of tokens.
#[expect(
    clippy::disallowed_methods,
    reason = "what is told to people, to other generators and to the server is real time"
)]
pub(crate) fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// 584 years fit.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

pub(crate) fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / SECOND as f64
}

pub(crate) fn from_seconds(seconds: f64) -> Nanos {
    (seconds * SECOND as f64) as Nanos
}
