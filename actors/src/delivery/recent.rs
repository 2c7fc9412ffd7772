//! What was written here a moment ago, so that projections need not read it back from the store.
//!
//! Only a hint: what is not here is in the log. Whoever learns of a conversation otherwise than by
//! writing to it ([`Tails::grown`](super::Tails::grown)) has it forgotten here, since another
//! process may have written what comes next.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_storage::{ConversationId, Entry, EntryKind, Seq};
use tokio::time::Instant;

/// For how long entries are kept. Projections look twice a second, unless the store is slow.
const LIFETIME: Duration = Duration::from_secs(10);
/// Bytes that are kept. What is older gives way.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Of them, what a batch takes besides its entries. Those count twice, for the room that a list has
/// to spare.
const OF_A_BATCH: usize = 512;

/// Entries by conversation, each a stretch of its log without a hole.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    stretches: HashMap<ConversationId, VecDeque<Entry>>,
    /// What was kept, the oldest first.
    batches: VecDeque<Batch>,
    bytes: usize,
}

#[derive(Debug)]
struct Batch {
    conversation: ConversationId,
    up_to: Seq,
    bytes: usize,
    since: Instant,
}

impl Recent {
    /// Keeps a batch that was written. One that takes something away is not kept, nor what it may
    /// have taken it from.
    pub(super) fn keep(&self, id: &ConversationId, entries: &[Entry], now: Instant) {
        let batch = Batch::of(id, entries, now);
        if batch.bytes > MOST_BYTES || entries.iter().any(takes_away) {
            return self.forget(id);
        }
        let entries = entries.to_vec();
        let mut kept = self.0.lock();
        kept.make_room(batch.bytes, now);
        kept.insert(batch, entries);
    }

    /// Up to `most` entries after a place, if all that follow it closely are here; `None` where the
    /// log has to be asked.
    pub(super) fn after(&self, id: &ConversationId, from: Seq, most: usize) -> Option<Vec<Entry>> {
        let kept = self.0.lock();
        let stretch = kept.stretches.get(id)?;
        let first = stretch.front()?.seq;
        let skipped = usize::try_from(from.next().0.checked_sub(first.0)?).ok()?;
        let found: Vec<_> = stretch.iter().skip(skipped).take(most).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    /// A conversation has grown, or may have, by what is not here.
    pub(super) fn forget(&self, id: &ConversationId) {
        self.0.lock().stretches.remove(id);
    }

    /// Lets go of what is too old.
    pub(super) fn expire(&self, now: Instant) {
        self.0.lock().make_room(0, now);
    }
}

impl Kept {
    fn make_room(&mut self, bytes: usize, now: Instant) {
        while let Some(oldest) = self.batches.front() {
            let is_old = now.duration_since(oldest.since) >= LIFETIME;
            if !is_old && self.bytes + bytes <= MOST_BYTES {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.batches.pop_front() else {
            return;
        };
        self.bytes -= oldest.bytes;
        let Some(stretch) = self.stretches.get_mut(&oldest.conversation) else {
            return;
        };
        while stretch.front().is_some_and(|it| it.seq <= oldest.up_to) {
            stretch.pop_front();
        }
        if stretch.is_empty() {
            self.stretches.remove(&oldest.conversation);
        }
    }

    fn insert(&mut self, batch: Batch, entries: Vec<Entry>) {
        let stretch = self.stretches.entry(batch.conversation.clone());
        let stretch = stretch.or_default();
        let follows = |last: &Entry| entries.first().is_some_and(|it| it.seq == last.seq.next());
        if !stretch.back().is_none_or(follows) {
            stretch.clear();
        }
        stretch.extend(entries);
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
    }
}

impl Batch {
    fn of(id: &ConversationId, entries: &[Entry], since: Instant) -> Self {
        let bytes = |entry: &Entry| 2 * size_of::<Entry>() + entry.payload.len();
        Self {
            conversation: id.clone(),
            up_to: entries.last().map_or(Seq(0), |last| last.seq),
            bytes: OF_A_BATCH + entries.iter().map(bytes).sum::<usize>(),
            since,
        }
    }
}

/// What this takes from the log is to be gone from here.
fn takes_away(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Delete | EntryKind::Forget)
}

#[cfg(test)]
mod tests {
    use quikapp_storage::{EntryId, Epoch, Key16, Timestamp, UserId};

    use super::*;

    fn id(number: usize) -> ConversationId {
        ConversationId::from_stored(number.to_string())
    }

    fn entries(kind: EntryKind, seqs: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Entry> {
        let entry = |seq| Entry {
            seq: Seq(seq),
            id: EntryId::generate(),
            kind,
            sender: UserId::new("ann").expect("an id"),
            key: Key16([0; 16]),
            hash: [0; 32],
            epoch: Epoch(1),
            n: seq,
            target: None,
            payload: "x".repeat(bytes).into(),
            at: Timestamp(0),
        };
        seqs.map(entry).collect()
    }

    fn messages(seqs: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        entries(EntryKind::Message, seqs, 10)
    }

    fn places(recent: &Recent, from: u64, most: usize) -> Option<Vec<u64>> {
        let found = recent.after(&id(1), Seq(from), most)?;
        Some(found.iter().map(|entry| entry.seq.0).collect())
    }

    #[test]
    fn a_stretch_is_given_from_where_it_is_known() {
        let recent = Recent::default();
        let now = Instant::now();
        assert_eq!(places(&recent, 0, 9), None);
        recent.keep(&id(1), &messages(5..=6), now);
        recent.keep(&id(2), &messages(1..=1), now);
        recent.keep(&id(1), &messages(7..=9), now);
        assert_eq!(places(&recent, 4, 3), Some(vec![5, 6, 7]));
        assert_eq!(places(&recent, 6, 9), Some(vec![7, 8, 9]));
        assert_eq!(places(&recent, 3, 9), None, "4 is not here");
        assert_eq!(places(&recent, 9, 9), None, "the log may have more");
        assert_eq!(places(&recent, 20, 9), None);
    }

    #[test]
    fn nothing_is_given_across_a_hole() {
        let recent = Recent::default();
        recent.keep(&id(1), &messages(1..=2), Instant::now());
        recent.keep(&id(1), &messages(5..=5), Instant::now());
        assert_eq!(places(&recent, 0, 9), None);
        assert_eq!(places(&recent, 4, 9), Some(vec![5]));
    }

    #[test]
    fn what_may_be_incomplete_or_was_taken_away_is_forgotten() {
        let takes_away = [None, Some(EntryKind::Delete), Some(EntryKind::Forget)];
        for kind in takes_away {
            let recent = Recent::default();
            recent.keep(&id(1), &messages(1..=2), Instant::now());
            match kind {
                None => recent.forget(&id(1)),
                Some(kind) => recent.keep(&id(1), &entries(kind, 3..=3, 1), Instant::now()),
            }
            assert_eq!(places(&recent, 0, 9), None);
            recent.keep(&id(1), &messages(4..=4), Instant::now());
            assert_eq!(places(&recent, 3, 9), Some(vec![4]));
        }
    }

    #[test]
    fn what_is_old_goes_and_what_came_later_stays() {
        let recent = Recent::default();
        let start = Instant::now();
        recent.keep(&id(1), &messages(1..=2), start);
        recent.keep(&id(1), &messages(3..=3), start + LIFETIME / 2);
        recent.expire(start + LIFETIME);
        assert_eq!(places(&recent, 1, 9), None);
        assert_eq!(places(&recent, 2, 9), Some(vec![3]));
        recent.expire(start + LIFETIME * 2);
        let kept = recent.0.lock();
        assert!(kept.stretches.is_empty() && kept.batches.is_empty());
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn no_more_bytes_are_kept_than_may_be() {
        let recent = Recent::default();
        let now = Instant::now();
        let keep = |seq, bytes| {
            recent.keep(&id(1), &entries(EntryKind::Message, seq..=seq, bytes), now);
            assert!(recent.0.lock().bytes <= MOST_BYTES);
        };
        (1..=9).for_each(|seq| keep(seq, MOST_BYTES / 4));
        assert_eq!(places(&recent, 5, 9), None);
        assert_eq!(places(&recent, 6, 9), Some(vec![7, 8, 9]));
        keep(10, MOST_BYTES);
        assert_eq!(places(&recent, 6, 9), None);
    }
}
