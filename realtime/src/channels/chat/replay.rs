//! Replaying a conversation's log to a client that was away.

use quikapp_actors::conversation::wire;
use quikapp_protocol::Json;
use quikapp_storage::{ConversationId, Entry, Member, Seq, SharedStore, StoreError, Timestamp};

use super::params::GapEntry;

/// Entries in one batch.
pub(super) const BATCH: usize = 100;
/// Who is further behind fetches the history instead.
const FURTHEST: u64 = 10_000;
/// So is whoever missed something older than this: 168 hours.
const OLDEST_MS: u64 = 168 * 3600 * 1000;

/// What a client missed.
#[derive(Debug)]
pub(super) struct Replay {
    /// The entries that are visible, oldest first.
    pub(super) entries: Vec<GapEntry>,
    /// The last place that was looked at.
    pub(super) last: Seq,
    /// Whether there is more behind it.
    pub(super) more: bool,
}

/// Reads a batch after a place.
pub(super) async fn read(
    store: &SharedStore,
    id: &ConversationId,
    visible: &[Member],
    after: Seq,
) -> Result<Replay, StoreError> {
    let mut entries = store.entries(id, after, BATCH + 1).await?;
    let more = entries.len() > BATCH;
    entries.truncate(BATCH);
    let last = entries.last().map_or(after, |entry| entry.seq);
    let entries = entries
        .iter()
        .filter(|entry| is_visible(visible, entry.seq));
    Ok(Replay {
        entries: entries.map(gap_entry).collect(),
        last,
        more,
    })
}

/// Whether what follows a place cannot be replayed: the client claims to have what is not there
/// yet, or missed too much, or too long ago.
pub(super) async fn is_out_of_reach(
    store: &SharedStore,
    id: &ConversationId,
    after: Seq,
    tail: Seq,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if after > tail || tail.0 - after.0 > FURTHEST {
        return Ok(true);
    }
    let first = store.entries(id, after, 1).await?;
    let is_old = |entry: &Entry| now.since_ms(entry.at) > OLDEST_MS;
    Ok(first.first().is_some_and(is_old))
}

/// Whether a place lies in one of the intervals of a membership.
pub(crate) fn is_visible(visible: &[Member], seq: Seq) -> bool {
    visible
        .iter()
        .any(|it| it.from_seq <= seq && it.to_seq.is_none_or(|to_seq| seq <= to_seq))
}

/// An entry as it is replayed.
pub(crate) fn gap_entry(entry: &Entry) -> GapEntry {
    let pushed = wire::pushed(entry);
    GapEntry {
        seq: entry.seq,
        conversation_id: None,
        event: pushed.event.into_owned(),
        payload: Json::assume_valid(pushed.payload.to_string()),
    }
}
