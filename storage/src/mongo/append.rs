//! Taking a conversation and appending to its log.
//!
//! Without transactions the order of writes is what holds: entries are inserted in order at the
//! places behind the tail, which unique keys give to one writer only; what follows from them is
//! done; then the tail is moved, if the epoch is still ours, and only then is anything
//! acknowledged. Readers stop at the tail, so until then nobody has seen anything. An entry that
//! was inserted and not confirmed is not lost: whoever takes the conversation next, or meets it at
//! the place that it wanted itself, settles it.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use futures_util::future::try_join;
use mongodb::{
    bson::{Bson, Document, doc},
    options::ReturnDocument,
};
use tokio::sync::MutexGuard;

use super::{
    MongoLog,
    doc::{self, Fields, bytes, int},
    effects,
    schema::{CONVERSATIONS, ENTRIES},
};
use crate::{
    AcquireError, Append, AppendError, Appended, Claim, ConversationId, EntryEffect, Epoch,
    NewEntry, Seq, StoreError,
};

#[cfg(feature = "conformance")]
use super::testing::Mutant;

/// Entries that are settled at a time.
const PAGE: i64 = 500;

/// Where a log stands.
#[derive(Debug, Clone)]
struct Head {
    epoch: Epoch,
    tail: Seq,
    n: u64,
    workspace: String,
}

impl MongoLog {
    /// Takes a conversation, and settles what its last owner left.
    pub(super) async fn take(
        &self,
        id: &ConversationId,
        claim: Claim,
    ) -> Result<Epoch, AcquireError> {
        let tenure = i64::try_from(claim.min_tenure_ms).unwrap_or(i64::MAX);
        let owner = bytes(claim.owner.0.as_bytes());
        let free = doc! {
            "_id": id.as_str(),
            "$or": [
                { "hot": { "$ne": true } },
                { "owner": owner.clone() },
                // A clock that went back must not make a tenure last for ever.
                { "taken_at": { "$lte": claim.now.0.saturating_sub(tenure) } },
                { "taken_at": { "$gte": claim.now.0.saturating_add(tenure) } },
            ],
        };
        let taken = doc! {
            "$inc": { "epoch": 1_i64 },
            "$set": { "owner": owner, "taken_at": claim.now.0, "hot": true },
        };
        let conversations = self.db.collection(CONVERSATIONS);
        let update = conversations
            .find_one_and_update(free, taken)
            .return_document(ReturnDocument::After);
        let Some(found) = self.db.write(update.into_future()).await? else {
            return Err(self.refusal(id, claim).await?);
        };
        let epoch = Epoch(found.count("epoch")?);
        self.complete(&found).await?;
        match self.settle(id, epoch).await {
            // Somebody has taken it since: our epoch is void, as the next append will learn.
            Ok(_) | Err(AppendError::Fenced) => Ok(epoch),
            Err(AppendError::Store(error)) => Err(error.into()),
            Err(error) => Err(StoreError::Unavailable(error.to_string()).into()),
        }
    }

    async fn refusal(&self, id: &ConversationId, claim: Claim) -> Result<AcquireError, StoreError> {
        let Some(held) = self.find_conversation(id).await? else {
            return Ok(AcquireError::NotFound);
        };
        let held_for_ms = claim.now.0.abs_diff(held.integer("taken_at")?);
        Ok(AcquireError::Held { held_for_ms })
    }

    /// Appends one part.
    pub(super) async fn append_one(&self, part: &Append) -> Result<Appended, AppendError> {
        if part.entries.is_empty() {
            return Err(invalid("an empty batch"));
        }
        let id = &part.conversation;
        let _turn = self.turn(id).await;
        let taken = async { Ok(self.taken(part).await?) };
        let (head, taken) = try_join(self.head(id, part.epoch), taken).await?;
        if let Some(index) = taken.first_key(&part.entries) {
            if taken.newest > head.tail {
                self.settle(id, part.epoch).await?;
            }
            return Err(AppendError::DuplicateKey { index });
        }
        if head.tail != part.tail {
            return Err(AppendError::TailMoved { tail: head.tail });
        }
        taken.check_ids(&part.entries)?;
        self.check_views(part).await?;
        let (documents, n) = documents(part, &head);
        #[cfg(feature = "conformance")]
        self.count_first(part, n).await?;
        step!(self, Checked);
        self.insert(part, &documents).await?;
        step!(self, Inserted);
        for document in &documents {
            self.apply(id, &head.workspace, document)
                .await
                .map_err(unknown)?;
        }
        step!(self, Applied);
        let tail = Seq(part.tail.0 + part.entries.len() as u64);
        let at = part.entries.last().map_or(0, |entry| entry.at.0);
        let confirmed = self.confirm(id, part.epoch, (tail, n), at).await;
        if !confirmed.map_err(unknown)? {
            // Inserted, but not ours to acknowledge: the next owner decides.
            let problem = "another owner took the conversation while this was written";
            return Err(StoreError::Unknown(problem.to_owned()).into());
        }
        step!(self, Confirmed);
        self.stream
            .publish(&self.db, id, tail)
            .await
            .map_err(unknown)?;
        let first = part.tail.next();
        Ok(Appended { first, tail, n })
    }

    /// One batch at a time: of two that this process appends to a conversation the second would
    /// only find its place taken. Conversations that share a turn wait for each other needlessly.
    async fn turn(&self, id: &ConversationId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let turn = hasher.finish() % self.turns.len() as u64;
        self.turns[usize::try_from(turn).unwrap_or(0)].lock().await
    }

    async fn head(&self, id: &ConversationId, epoch: Epoch) -> Result<Head, AppendError> {
        let found = self.find_conversation(id).await?;
        let found = found.ok_or(AppendError::Fenced)?;
        let head = Head {
            epoch: Epoch(found.count("epoch")?),
            tail: found.seq("tail")?,
            n: found.count("n")?,
            workspace: found.text("workspace")?.to_owned(),
        };
        if head.epoch == epoch {
            Ok(head)
        } else {
            Err(AppendError::Fenced)
        }
    }

    /// What of a part's keys and ids the log has, confirmed or not.
    async fn taken(&self, part: &Append) -> Result<Taken, StoreError> {
        let keys = part.entries.iter().flat_map(|entry| entry.keys.iter());
        let keys: Vec<Bson> = keys.map(|key| bytes(&key.0)).collect();
        let ids = part
            .entries
            .iter()
            .map(|entry| bytes(entry.id.0.as_bytes()));
        let ids: Vec<Bson> = ids.collect();
        let conv = part.conversation.as_str();
        let mut taken = Taken::default();
        for (field, values) in [("key", keys), ("id", ids)] {
            let entries = self.db.collection(ENTRIES);
            let found = entries
                .find(doc! { "conv": conv, field: { "$in": values } })
                .projection(doc! { "seq": 1, "id": 1, "key": 1 });
            for document in self.db.all(found).await? {
                taken.newest = taken.newest.max(document.seq("seq")?);
                match field {
                    "key" => drop(taken.keys.insert(document.array("key")?)),
                    _ => drop(taken.ids.insert(document.array("id")?)),
                }
            }
        }
        Ok(taken)
    }

    /// A view that is put belongs to an entry of the log, or to one before it in the part.
    async fn check_views(&self, part: &Append) -> Result<(), AppendError> {
        let mut wanted: HashMap<Seq, uuid::Uuid> = HashMap::new();
        for (index, entry) in (1..).zip(&part.entries) {
            let own = Seq(part.tail.0 + index);
            for effect in &entry.effects {
                let EntryEffect::PutMessage(message) = effect else {
                    continue;
                };
                let seq = if message.seq == Seq(0) {
                    own
                } else {
                    message.seq
                };
                let here = seq.0.checked_sub(part.tail.0 + 1);
                let before = here.and_then(|at| part.entries.get(usize::try_from(at).ok()?));
                match before {
                    _ if seq > own => return Err(no_entry(message.id, seq)),
                    Some(there) if there.id == message.id => {}
                    Some(_) => return Err(no_entry(message.id, seq)),
                    None => drop(wanted.insert(seq, message.id.0)),
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = wanted.keys().map(|seq| int(seq.0)).collect();
        let entries = self.db.collection(ENTRIES);
        let found = entries
            .find(doc! { "conv": part.conversation.as_str(), "seq": { "$in": seqs } })
            .projection(doc! { "seq": 1, "id": 1 });
        for document in self.db.all(found).await? {
            let seq = document.seq("seq")?;
            let id = doc::entry_id(&document, "id")?;
            if wanted.get(&seq) == Some(&id.0) {
                wanted.remove(&seq);
            }
        }
        match wanted.into_iter().next() {
            Some((seq, id)) => Err(no_entry(crate::EntryId(id), seq)),
            None => Ok(()),
        }
    }

    /// Inserts in order. When a place is taken by a late entry of a predecessor, what was inserted
    /// before it stands: it is settled together with that entry, and the rest is decided again.
    async fn insert(&self, part: &Append, documents: &[Document]) -> Result<(), AppendError> {
        let entries = self.db.collection(ENTRIES);
        let inserted = self
            .db
            .insert_new(entries.insert_many(documents).ordered(true).into_future())
            .await;
        if inserted.map_err(unknown)? {
            return Ok(());
        }
        match self.settle(&part.conversation, part.epoch).await {
            Ok(head) => Err(AppendError::TailMoved { tail: head.tail }),
            Err(AppendError::Store(error)) => Err(unknown(error).into()),
            Err(error) if documents.len() == 1 => Err(error),
            // A prefix may stand, which another owner will confirm.
            Err(error) => Err(StoreError::Unknown(error.to_string()).into()),
        }
    }

    /// Makes everything that was inserted part of the log: does what follows from it, confirms it
    /// and puts it into the stream. Where the log stands then.
    async fn settle(&self, id: &ConversationId, epoch: Epoch) -> Result<Head, AppendError> {
        let mut head = self.head(id, epoch).await?;
        loop {
            let entries = self.db.collection(ENTRIES);
            let found = entries
                .find(doc! { "conv": id.as_str(), "seq": { "$gt": int(head.tail.0) } })
                .sort(doc! { "seq": 1 })
                .limit(PAGE);
            let found = self.db.all(found).await?;
            let Some(last) = found.last() else { break };
            for document in &found {
                self.apply(id, &head.workspace, document).await?;
            }
            let (tail, n) = (last.seq("seq")?, last.count("n")?);
            if !self
                .confirm(id, epoch, (tail, n), last.integer("at")?)
                .await?
            {
                return Err(AppendError::Fenced);
            }
            (head.tail, head.n) = (tail, n);
        }
        self.stream.publish(&self.db, id, head.tail).await?;
        Ok(head)
    }

    /// What a mutant does too early.
    #[cfg(feature = "conformance")]
    async fn count_first(&self, part: &Append, n: u64) -> Result<(), AppendError> {
        if self.testing.mutant == Some(Mutant::CountThenInsert) {
            let tail = Seq(part.tail.0 + part.entries.len() as u64);
            self.confirm(&part.conversation, part.epoch, (tail, n), 0)
                .await?;
        }
        Ok(())
    }

    /// Moves the tail, if the epoch is still ours. Without this an entry could be acknowledged
    /// that the next owner, who had looked before it came, would not find.
    async fn confirm(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        (tail, n): (Seq, u64),
        at: i64,
    ) -> Result<bool, StoreError> {
        #[cfg(feature = "conformance")]
        if self.testing.mutant == Some(Mutant::SkipConfirm) {
            return Ok(true);
        }
        let owned = doc! { "_id": id.as_str(), "epoch": int(epoch.0) };
        let moved = doc! { "$max": { "tail": int(tail.0), "n": int(n), "active_at": at } };
        self.update(CONVERSATIONS, owned, moved).await
    }
}

fn documents(part: &Append, head: &Head) -> (Vec<Document>, u64) {
    let mut n = head.n;
    let mut documents = Vec::with_capacity(part.entries.len());
    for (index, entry) in (1..).zip(&part.entries) {
        let seq = Seq(part.tail.0 + index);
        n += u64::from(entry.counts);
        let mut document = doc::entry_document(&part.conversation, part.epoch, (seq, n), entry);
        effects::attach(&mut document, entry, seq);
        documents.push(document);
    }
    (documents, n)
}

/// What the log has of a part.
#[derive(Default)]
struct Taken {
    keys: HashSet<[u8; 16]>,
    ids: HashSet<[u8; 16]>,
    newest: Seq,
}

impl Taken {
    /// The first entry whose key the log, or an entry before it, has.
    fn first_key(&self, entries: &[NewEntry]) -> Option<usize> {
        let mut seen = HashSet::new();
        let taken = |entry: &NewEntry| {
            entry.keys.iter().any(|key| self.keys.contains(&key.0)) || !seen.insert(entry.keys.key)
        };
        entries.iter().position(taken)
    }

    fn check_ids(&self, entries: &[NewEntry]) -> Result<(), AppendError> {
        let mut seen = HashSet::new();
        for entry in entries {
            if self.ids.contains(entry.id.0.as_bytes()) || !seen.insert(entry.id) {
                return Err(invalid(&format!("the entry {} exists", entry.id)));
            }
        }
        Ok(())
    }
}

fn invalid(problem: &str) -> AppendError {
    StoreError::Invalid(problem.to_owned()).into()
}

fn no_entry(id: crate::EntryId, seq: Seq) -> AppendError {
    invalid(&format!("no entry {id} at {seq}"))
}

/// Once something may have been inserted, no failure says that nothing was.
fn unknown(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(problem) => StoreError::Unknown(problem),
        StoreError::Overloaded => StoreError::Unknown(error.to_string()),
        other => other,
    }
}
