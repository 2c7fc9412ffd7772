//! The order over all conversations: a log of confirmations.
//!
//! Each of its documents says which stretches of which conversations were confirmed, and covers as
//! many positions as those have entries. A document's `_id` is its first position, and it is
//! inserted right behind the newest one: of two who want the same place one is refused, and goes
//! behind. So positions are dense, and what lies before a position never changes: a reader's
//! cursor is a number, and nothing can appear behind it later. A process has one insert under way
//! at a time; what comes meanwhile shares the next one.
//!
//! The stretches of a conversation follow each other without a gap and without an overlap, whoever
//! writes them: one begins where the log of confirmations says that the last one ended, and it is
//! taken only if nothing was written since that was read.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::try_join_all;
use mongodb::bson::{Document, doc};
use tokio::sync::{Mutex, oneshot};

use super::{
    MongoLog,
    db::Db,
    doc::{self, Fields, int},
    schema::{ENTRIES, MEMBERS, STREAM},
};
use crate::{
    Backlog, ConversationId, Entry, Missed, Person, Seq, StoreError, position,
    spans::{self, Span},
};

/// Stretches in one document at most.
const MAX_PARTS: usize = 1000;
/// How often a place is sought before others are too fast for us.
const ATTEMPTS: usize = 200;
/// Conversations looked up at the same time.
const LOOKS: usize = 4;
/// Documents read at a time.
const PAGE: i64 = 200;

/// Conversations whose end in the stream is remembered; all are forgotten when there are more.
const REMEMBERED: usize = 10_000;

/// Writes the stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    waiting: parking_lot::Mutex<Vec<Waiting>>,
    /// Who holds it inserts.
    end: Mutex<End>,
}

/// An entry that is confirmed, and not known to be in the stream.
#[derive(Debug)]
struct Waiting {
    id: ConversationId,
    last: Seq,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// What this process knows of the end of the stream. An insert at the first free position is
/// refused if somebody else has written since, so whatever is known beside it is true as well.
#[derive(Debug, Default)]
struct End {
    /// The first free position; 0 if it is not known.
    next: u64,
    /// Up to which places conversations are in the stream.
    reached: HashMap<ConversationId, Seq>,
}

impl Stream {
    /// Puts everything of a conversation that is not in the stream yet into it, up to a place that
    /// is confirmed. (The number of those that wait is bounded by the number of appends that are
    /// under way.)
    pub(super) async fn publish(
        &self,
        db: &Db,
        id: &ConversationId,
        last: Seq,
    ) -> Result<(), StoreError> {
        let (done, mut answer) = oneshot::channel();
        self.waiting.lock().push(Waiting {
            id: id.clone(),
            last,
            done,
        });
        loop {
            let mut end = self.end.lock().await;
            match answer.try_recv() {
                Ok(outcome) => return outcome,
                // Whoever had taken it was cancelled.
                Err(oneshot::error::TryRecvError::Closed) => {
                    let problem = "the order of the entry was not kept";
                    return Err(StoreError::Unknown(problem.to_owned()));
                }
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let batch: Vec<Waiting> = {
                let mut waiting = self.waiting.lock();
                let count = waiting.len().min(MAX_PARTS);
                waiting.drain(..count).collect()
            };
            let outcome = end.insert(db, &batch).await;
            for one in batch {
                // Nobody waits any more: the append was cancelled.
                let _ = one.done.send(outcome.clone());
            }
        }
    }
}

impl End {
    /// Writes what of a batch is not in the stream.
    async fn insert(&mut self, db: &Db, batch: &[Waiting]) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<&ConversationId, Seq> = BTreeMap::new();
        for one in batch {
            let last = wanted.entry(&one.id).or_default();
            *last = (*last).max(one.last);
        }
        for _ in 0..ATTEMPTS {
            // A caller that gives up in between, or a failure, leaves nothing that may be wrong.
            let known = std::mem::take(self);
            let Some(known) = known.write(db, &wanted).await? else {
                continue;
            };
            *self = known;
            return Ok(());
        }
        Err(StoreError::Overloaded)
    }

    /// Writes one document, if it is needed; what is known then. `None` if somebody was faster.
    async fn write(
        mut self,
        db: &Db,
        wanted: &BTreeMap<&ConversationId, Seq>,
    ) -> Result<Option<Self>, StoreError> {
        if self.next == 0 {
            self.next = newest(db).await? + 1;
        }
        self.look_up(db, wanted).await?;
        let (mut parts, mut end) = (Vec::new(), self.next);
        for (&id, &last) in wanted {
            let reached = self.reached.entry(id.clone()).or_default();
            if *reached < last {
                let first = reached.next();
                parts
                    .push(doc! { "conv": id.as_str(), "first": int(first.0), "last": int(last.0) });
                end += last.0 - reached.0;
                *reached = last;
            }
        }
        if parts.is_empty() {
            return Ok(Some(self));
        }
        let document = doc! { "_id": int(self.next), "end": int(end - 1), "parts": parts };
        let stream = db.collection(STREAM);
        let insert = stream.insert_one(document).into_future();
        let is_taken = !db.insert_new(insert).await?;
        self.next = end;
        Ok((!is_taken).then_some(self))
    }

    /// Learns where conversations end that are not known.
    async fn look_up(
        &mut self,
        db: &Db,
        wanted: &BTreeMap<&ConversationId, Seq>,
    ) -> Result<(), StoreError> {
        if self.reached.len() + wanted.len() > REMEMBERED {
            self.reached.clear();
        }
        let unknown: Vec<&ConversationId> = wanted
            .keys()
            .copied()
            .filter(|id| !self.reached.contains_key(*id))
            .collect();
        for some in unknown.chunks(LOOKS) {
            let ends = try_join_all(some.iter().map(|id| reached(db, id))).await?;
            let some = some.iter().map(|id| (*id).clone());
            self.reached.extend(some.zip(ends));
        }
        Ok(())
    }
}

/// Up to which place a conversation is in the stream.
async fn reached(db: &Db, id: &ConversationId) -> Result<Seq, StoreError> {
    let stream = db.collection(STREAM);
    let found = stream
        .find(doc! { "parts.conv": id.as_str() })
        .sort(doc! { "end": -1 })
        .limit(1);
    let found = db.all(found).await?;
    let mut reached = Seq(0);
    for part in found.iter().flat_map(|document| document.list("parts")) {
        if part.text("conv")? == id.as_str() {
            reached = reached.max(part.seq("last")?);
        }
    }
    Ok(reached)
}

/// The newest position; 0 before the first.
pub(super) async fn newest(db: &Db) -> Result<u64, StoreError> {
    let stream = db.collection(STREAM);
    let newest = stream
        .find(doc! {})
        .sort(doc! { "_id": -1 })
        .limit(1)
        .projection(doc! { "end": 1 });
    let found = db.all(newest).await?;
    found
        .first()
        .map_or(Ok(0), |document| document.count("end"))
}

/// A stretch of a conversation in the stream.
struct Stretch {
    id: ConversationId,
    /// The position of its first entry.
    pos: u64,
    first: u64,
    last: u64,
}

fn stretches(document: &Document) -> Result<Vec<Stretch>, StoreError> {
    let mut pos = document.count("_id")?;
    let mut all = Vec::new();
    for part in document.list("parts") {
        let stretch = Stretch {
            id: part.conversation("conv")?,
            pos,
            first: part.count("first")?,
            last: part.count("last")?,
        };
        pos += stretch.last + 1 - stretch.first;
        all.push(stretch);
    }
    Ok(all)
}

/// What a person missed, as stretches, of which only some places may be visible.
struct Walk {
    visible: BTreeMap<ConversationId, Vec<Span>>,
    found: Vec<Stretch>,
    count: u64,
}

impl Walk {
    /// Takes what is visible of a stretch behind a position.
    fn meet(&mut self, stretch: &Stretch, after: u64) {
        let Some(visible) = self.visible.get(&stretch.id) else {
            return;
        };
        let from = stretch.first + (after + 1).saturating_sub(stretch.pos);
        for span in spans::clip(visible, from, stretch.last) {
            self.count += span.to - span.from + 1;
            self.found.push(Stretch {
                id: stretch.id.clone(),
                pos: stretch.pos + span.from - stretch.first,
                first: span.from,
                last: span.to,
            });
        }
    }
}

impl MongoLog {
    /// The position of an entry, or of the last one before it.
    pub(super) async fn position(&self, id: &ConversationId, seq: Seq) -> Result<u64, StoreError> {
        let seq = seq.min(reached(&self.db, id).await?);
        if seq == Seq(0) {
            return Ok(0);
        }
        let covering = doc! {
            "parts": { "$elemMatch": { "conv": id.as_str(), "last": { "$gte": int(seq.0) } } },
        };
        let stream = self.db.collection(STREAM);
        let found = stream.find(covering).sort(doc! { "_id": 1 }).limit(1);
        let found = self.db.all(found).await?;
        for document in &found {
            let mut stretches = stretches(document)?.into_iter();
            if let Some(here) = stretches.find(|one| one.id == *id && one.last >= seq.0) {
                return Ok(here.pos + seq.0.saturating_sub(here.first));
            }
        }
        Ok(0)
    }

    /// A page of what a person missed.
    pub(super) async fn page(
        &self,
        person: &Person,
        after: u64,
        newest: u64,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        let limit = limit.max(1);
        let walk = self.walk(person, after, newest, limit as u64 + 1).await?;
        let mut places: Vec<(u64, &ConversationId, u64)> = Vec::new();
        for one in &walk.found {
            let each = (one.first..=one.last).map(|seq| (one.pos + seq - one.first, &one.id, seq));
            places.extend(each.take(limit + 1 - places.len().min(limit + 1)));
        }
        let more = places.len() > limit;
        places.truncate(limit);
        let next = match places.last() {
            Some((pos, _, _)) if more => *pos,
            _ => newest.max(after),
        };
        Ok(Missed {
            entries: self.entries_at(&places).await?,
            next: position::format(self.store_id, next),
            more,
        })
    }

    /// How much a person missed, until that is enough, and since when.
    pub(super) async fn missed_since(
        &self,
        person: &Person,
        after: u64,
        newest: u64,
        enough: u64,
    ) -> Result<Backlog, StoreError> {
        let walk = self.walk(person, after, newest, enough).await?;
        let mut firsts: BTreeMap<&ConversationId, u64> = BTreeMap::new();
        for one in &walk.found {
            firsts.entry(&one.id).or_insert(one.first);
        }
        let places: Vec<_> = firsts.into_iter().map(|(id, seq)| (0, id, seq)).collect();
        let oldest = self.entries_at(&places).await?;
        let oldest = oldest.iter().map(|(_, entry)| entry.at).min();
        Ok(Backlog {
            count: walk.count.min(enough),
            oldest,
        })
    }

    /// Goes through the stream behind a position, until so many visible entries are found. A
    /// document mostly holds at least one, so not more are asked for at first than are wanted.
    async fn walk(
        &self,
        person: &Person,
        after: u64,
        newest: u64,
        enough: u64,
    ) -> Result<Walk, StoreError> {
        let mut walk = Walk {
            visible: self.visible(person).await?,
            found: Vec::new(),
            count: 0,
        };
        let ids: Vec<&str> = walk.visible.keys().map(ConversationId::as_str).collect();
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        let mut from = after;
        let mut limit = i64::try_from(enough).unwrap_or(PAGE).min(PAGE);
        while from < newest && walk.count < enough {
            let stream = self.db.collection(STREAM);
            let behind = stream
                .find(doc! {
                    "parts.conv": { "$in": &ids },
                    "end": { "$gt": int(from) },
                    "_id": { "$lte": int(newest) },
                })
                .sort(doc! { "end": 1 })
                .limit(limit);
            let page = self.db.all(behind).await?;
            let Some(last) = page.last() else { break };
            for document in &page {
                for stretch in stretches(document)? {
                    walk.meet(&stretch, after);
                }
            }
            from = last.count("end")?;
            limit = (limit * 2).min(PAGE);
        }
        Ok(walk)
    }

    /// What a person may see: the intervals of their memberships, and all of their own.
    async fn visible(
        &self,
        person: &Person,
    ) -> Result<BTreeMap<ConversationId, Vec<Span>>, StoreError> {
        let members = self.db.collection(MEMBERS);
        let of = doc! { "workspace": person.workspace.as_str(), "user": person.user.as_str() };
        let mut visible: BTreeMap<ConversationId, Vec<Span>> = BTreeMap::new();
        for interval in self.db.all(members.find(of)).await? {
            let id = interval.conversation("conv")?;
            visible.entry(id).or_default().push(Span {
                from: interval.count("from")?,
                to: interval.maybe_seq("to").map_or(u64::MAX, |seq| seq.0),
            });
        }
        let own = Span {
            from: 1,
            to: u64::MAX,
        };
        visible.insert(person.own_conversation(), vec![own]);
        for spans in visible.values_mut() {
            *spans = spans::merged(std::mem::take(spans));
        }
        Ok(visible)
    }

    /// Entries at places, in that order.
    async fn entries_at(
        &self,
        places: &[(u64, &ConversationId, u64)],
    ) -> Result<Vec<(ConversationId, Entry)>, StoreError> {
        let mut wanted: BTreeMap<&ConversationId, Vec<i64>> = BTreeMap::new();
        for (_, id, seq) in places {
            wanted.entry(id).or_default().push(int(*seq));
        }
        let mut found: HashMap<(&ConversationId, u64), Entry> = HashMap::new();
        for (id, seqs) in wanted {
            let entries = self.db.collection(ENTRIES);
            let there = doc! { "conv": id.as_str(), "seq": { "$in": seqs } };
            for document in self.db.all(entries.find(there)).await? {
                let entry = doc::entry(&document)?;
                found.insert((id, entry.seq.0), entry);
            }
        }
        let mut all = Vec::with_capacity(places.len());
        for (_, id, seq) in places {
            let entry = found.remove(&(*id, *seq));
            let entry =
                entry.ok_or_else(|| StoreError::Corrupt(format!("{id} has a hole at {seq}")))?;
            all.push(((*id).clone(), entry));
        }
        Ok(all)
    }
}
