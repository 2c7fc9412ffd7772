//! Replaying a conversation's log to a client that was away.

use quikapp_actors::{conversation::wire, delivery};
use quikapp_protocol::Json;
use quikapp_storage::{
    ConversationId, Entry, Member, Seq, ServerMutant, SharedStore, StoreError, Timestamp,
};

use super::params::GapEntry;

/// Entries in one batch.
pub(super) const BATCH: usize = 100;

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

/// Reads a batch after a place. The client acknowledges the last entry that it was shown, so a
/// batch that is not the last one ends with one: what is hidden in between is passed over.
pub(super) async fn read(
    store: &SharedStore,
    id: &ConversationId,
    visible: &[Member],
    after: Seq,
) -> Result<Replay, StoreError> {
    let mut found: Vec<Entry> = Vec::new();
    let mut last = after;
    while let Some(from) = before_visible(visible, last) {
        let page = store.entries(id, from, BATCH + 1).await?;
        last = page.last().map_or(last, |entry| entry.seq);
        let is_last_page = page.len() <= BATCH;
        found.extend(page.into_iter().filter(|it| is_visible(visible, it.seq)));
        if is_last_page || found.len() > BATCH {
            break;
        }
    }
    if ServerMutant::DropOnResume.is_active() && !found.is_empty() {
        found.remove(0);
    }
    let more = found.len() > BATCH;
    found.truncate(BATCH);
    if let Some(shown) = found.last().filter(|_| more) {
        last = shown.seq;
    }
    Ok(Replay {
        entries: found.iter().map(gap_entry).collect(),
        last,
        more,
    })
}

/// Whether what follows a place cannot be replayed: the client claims to have what is not there
/// yet, or missed too much, or too long ago. What is hidden from them does not count.
pub(super) async fn is_out_of_reach(
    store: &SharedStore,
    id: &ConversationId,
    visible: &[Member],
    after: Seq,
    tail: Seq,
    now: Timestamp,
    config: &delivery::Config,
) -> Result<bool, StoreError> {
    if after > tail {
        return Ok(true);
    }
    let Some(from) = before_visible(visible, after) else {
        return Ok(false);
    };
    if tail.0.saturating_sub(from.0) > config.queue_entries as u64 {
        return Ok(true);
    }
    let first = store.entries(id, from, 1).await?;
    let is_old = |entry: &Entry| now.since_ms(entry.at) > config.queue_ttl_ms();
    Ok(first.first().is_some_and(is_old))
}

/// Whether a place lies in one of the intervals of a membership.
pub(crate) fn is_visible(visible: &[Member], seq: Seq) -> bool {
    visible
        .iter()
        .any(|it| it.from_seq <= seq && it.to_seq.is_none_or(|to_seq| seq <= to_seq))
}

/// The place before the first visible one after `after`; nothing if none is visible.
fn before_visible(visible: &[Member], after: Seq) -> Option<Seq> {
    let next = |it: &Member| {
        let next = it.from_seq.max(after.next());
        (it.to_seq.is_none_or(|to_seq| next <= to_seq)).then_some(next)
    };
    let first = visible.iter().filter_map(next).min()?;
    Some(first.before())
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
