//! What is to happen later: kept, so that it happens even if every process dies before.

use async_trait::async_trait;

use crate::{Fired, NewTimer, StoreError, Timer, TimerKind, Timestamp};

/// Timers. A timer fires at least once: whoever finds it due does the work and then deletes it,
/// so the work must be such that doing it again does no harm.
#[async_trait]
pub trait TimerStore: Send + Sync {
    /// Keeps a timer, at version 1, unless there is one of its kind and id. Says whether it was
    /// kept.
    async fn put_timer(&self, timer: NewTimer) -> Result<bool, StoreError>;

    /// Moves a timer to another moment with another payload, if its version is still as named;
    /// its version then grows by one. The new version, or `None` when somebody else has moved
    /// or deleted it.
    async fn move_timer(
        &self,
        fired: &Fired,
        due_at: Timestamp,
        payload: &str,
    ) -> Result<Option<u64>, StoreError>;

    /// Deletes a timer, if its version is still as named. Says whether it was deleted.
    async fn delete_timer(&self, fired: &Fired) -> Result<bool, StoreError>;

    /// One timer.
    async fn timer(&self, kind: TimerKind, id: &str) -> Result<Option<Timer>, StoreError>;

    /// The timers of a shard that are due at `now`, the earliest first.
    async fn due_timers(
        &self,
        shard: u16,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError>;

    /// The timers of a kind and a group, the earliest first.
    async fn timers_of(
        &self,
        kind: TimerKind,
        group: &str,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError>;
}
