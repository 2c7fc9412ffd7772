//! The order over all conversations: a log of confirmations.
//!
//! Each of its documents says which stretches of which conversations were confirmed, and covers as
//! many positions as those have entries. A document's `_id` is its first position, and it is
//! inserted right behind the newest one: of two who want the same place one is refused, and goes
//! behind. So positions are dense, and what lies before a position never changes: a reader's
//! cursor is a number, and nothing can appear behind it later. A process has one insert under way
//! at a time; what comes meanwhile shares the next one.
//!
//! A stretch may stand here twice, after a crash between a confirmation and this, when two settle
//! it. Readers go by places, so it counts once.

use std::collections::{BTreeMap, HashMap};

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
/// Documents read at a time.
const PAGE: i64 = 200;

/// Writes the stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    waiting: parking_lot::Mutex<Vec<Waiting>>,
    /// Who holds it inserts; the first free position, as far as is known.
    turn: Mutex<u64>,
}

#[derive(Debug)]
struct Waiting {
    stretch: Document,
    length: u64,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Stream {
    /// Puts a stretch of a conversation into the stream. (The number of those that wait is bounded
    /// by the number of appends that are under way.)
    pub(super) async fn publish(
        &self,
        db: &Db,
        id: &ConversationId,
        first: Seq,
        last: Seq,
    ) -> Result<(), StoreError> {
        let (done, mut answer) = oneshot::channel();
        self.waiting.lock().push(Waiting {
            stretch: doc! { "conv": id.as_str(), "first": int(first.0), "last": int(last.0) },
            length: last.0 - first.0 + 1,
            done,
        });
        loop {
            let mut next = self.turn.lock().await;
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
            let outcome = insert(db, &mut next, &batch).await;
            for one in batch {
                // Nobody waits any more: the append was cancelled.
                let _ = one.done.send(outcome.clone());
            }
        }
    }

    /// Up to which place a conversation is in the stream.
    pub(super) async fn reached(&self, db: &Db, id: &ConversationId) -> Result<Seq, StoreError> {
        let newest = doc! { "parts.conv": id.as_str() };
        let stream = db.collection(STREAM);
        let found = stream.find(newest).sort(doc! { "end": -1 }).limit(1);
        let found = db.all(found).await?;
        let mut reached = Seq(0);
        for part in found.iter().flat_map(|document| document.list("parts")) {
            if part.text("conv")? == id.as_str() {
                reached = reached.max(part.seq("last")?);
            }
        }
        Ok(reached)
    }
}

async fn insert(db: &Db, next: &mut u64, batch: &[Waiting]) -> Result<(), StoreError> {
    let count: u64 = batch.iter().map(|one| one.length).sum();
    let parts: Vec<&Document> = batch.iter().map(|one| &one.stretch).collect();
    let stream = db.collection(STREAM);
    for _ in 0..ATTEMPTS {
        if *next == 0 {
            *next = newest(db).await? + 1;
        }
        let document = doc! {
            "_id": int(*next),
            "end": int(*next + count - 1),
            "parts": parts.iter().map(|&part| part.clone()).collect::<Vec<Document>>(),
        };
        match db
            .insert_new(stream.insert_one(document).into_future())
            .await
        {
            Ok(true) => {
                *next += count;
                return Ok(());
            }
            Ok(false) => *next = 0,
            Err(error) => {
                *next = 0;
                return Err(error);
            }
        }
    }
    Err(StoreError::Overloaded)
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
    /// Up to where each conversation was seen.
    seen: HashMap<ConversationId, u64>,
    found: Vec<Stretch>,
    count: u64,
}

impl MongoLog {
    /// The position of an entry, or of the last one before it.
    pub(super) async fn position(&self, id: &ConversationId, seq: Seq) -> Result<u64, StoreError> {
        let seq = seq.min(self.stream.reached(&self.db, id).await?);
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

    /// How much a person missed, and since when.
    pub(super) async fn missed_since(
        &self,
        person: &Person,
        after: u64,
        newest: u64,
    ) -> Result<Backlog, StoreError> {
        let walk = self.walk(person, after, newest, u64::MAX).await?;
        let mut firsts: BTreeMap<&ConversationId, u64> = BTreeMap::new();
        for one in &walk.found {
            firsts.entry(&one.id).or_insert(one.first);
        }
        let places: Vec<_> = firsts.into_iter().map(|(id, seq)| (0, id, seq)).collect();
        let oldest = self.entries_at(&places).await?;
        let oldest = oldest.iter().map(|(_, entry)| entry.at).min();
        Ok(Backlog {
            count: walk.count,
            oldest,
        })
    }

    /// Goes through the stream behind a position, until so many visible entries are found.
    async fn walk(
        &self,
        person: &Person,
        after: u64,
        newest: u64,
        enough: u64,
    ) -> Result<Walk, StoreError> {
        let mut walk = Walk {
            visible: self.visible(person).await?,
            seen: HashMap::new(),
            found: Vec::new(),
            count: 0,
        };
        let ids: Vec<&str> = walk.visible.keys().map(ConversationId::as_str).collect();
        let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
        let mut from = after;
        while from < newest && walk.count < enough {
            let stream = self.db.collection(STREAM);
            let behind = stream
                .find(doc! {
                    "parts.conv": { "$in": &ids },
                    "end": { "$gt": int(from) },
                    "_id": { "$lte": int(newest) },
                })
                .sort(doc! { "end": 1 })
                .limit(PAGE);
            let page = self.db.all(behind).await?;
            let Some(last) = page.last() else { break };
            for document in &page {
                for stretch in stretches(document)? {
                    self.meet(&mut walk, stretch, after).await?;
                }
            }
            from = last.count("end")?;
        }
        Ok(walk)
    }

    /// Takes what is new and visible of a stretch.
    async fn meet(&self, walk: &mut Walk, stretch: Stretch, after: u64) -> Result<(), StoreError> {
        if !walk.visible.contains_key(&stretch.id) {
            return Ok(());
        }
        if !walk.seen.contains_key(&stretch.id) {
            let seen = self.place(&stretch.id, after).await?;
            walk.seen.insert(stretch.id.clone(), seen);
        }
        let seen = walk.seen.entry(stretch.id.clone()).or_default();
        let behind_cursor = (after + 1).saturating_sub(stretch.pos);
        let from = (stretch.first + behind_cursor).max(*seen + 1);
        *seen = (*seen).max(stretch.last);
        let Some(visible) = walk.visible.get(&stretch.id) else {
            return Ok(());
        };
        for span in spans::clip(visible, from, stretch.last) {
            walk.count += span.to - span.from + 1;
            walk.found.push(Stretch {
                id: stretch.id.clone(),
                pos: stretch.pos + span.from - stretch.first,
                first: span.from,
                last: span.to,
            });
        }
        Ok(())
    }

    /// Up to where a conversation lies at or before a position.
    async fn place(&self, id: &ConversationId, pos: u64) -> Result<u64, StoreError> {
        let before = doc! { "parts.conv": id.as_str(), "_id": { "$lte": int(pos) } };
        let stream = self.db.collection(STREAM);
        let found = stream.find(before).sort(doc! { "end": -1 }).limit(1);
        let mut place = 0;
        for document in &self.db.all(found).await? {
            for one in stretches(document)?.into_iter().filter(|one| one.id == *id) {
                let reached = (pos + 1).saturating_sub(one.pos);
                let reached = (one.first + reached - 1).min(one.last);
                place = place.max(reached);
            }
        }
        Ok(place)
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
