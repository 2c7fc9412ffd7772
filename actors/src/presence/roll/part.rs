//! One shard of the roll: this node's people with the operations that last changed them, and what
//! the others have said. Pure.
//!
//! It speaks the messages of presence, so that one exchange carries both: an operation's key is a
//! person's, its meta the text that is said of them, and its topic empty.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use quikapp_storage::Person;

use super::{super::entry::PhxRef, RollKey, says_alike};
use crate::presence::{Delta, Entry, Message, Meta, Op, ReplicaId, Snapshot};

/// Operations that are remembered until they are kept elsewhere; beyond, all is written anew.
const LOG_LIMIT: usize = 4096;

#[derive(Debug)]
struct Own {
    /// The operation that wrote it.
    clock: u64,
    record: Box<str>,
    person: Person,
}

/// What another node says, up to a clock: 32 bytes a person, and the text.
#[derive(Debug, Default)]
struct Peer {
    clock: u64,
    people: HashMap<RollKey, Box<str>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Part {
    id: ReplicaId,
    clock: u64,
    own: HashMap<RollKey, Own>,
    /// Own operations up to `clock`, without holes. Empty without peers.
    log: VecDeque<Op>,
    peers: HashMap<ReplicaId, Peer>,
    /// Own people of whom others may know better, since that was last asked.
    doubtful: HashSet<RollKey>,
    nowhere: Arc<str>,
}

impl Part {
    pub(super) fn new(id: ReplicaId) -> Self {
        Self {
            id,
            clock: 0,
            own: HashMap::new(),
            log: VecDeque::new(),
            peers: HashMap::new(),
            doubtful: HashSet::new(),
            nowhere: "".into(),
        }
    }

    pub(in crate::presence) fn id(&self) -> ReplicaId {
        self.id
    }

    /// See [`Roll::put`](super::Roll::put). Saying the same again is nothing.
    pub(super) fn put(&mut self, key: RollKey, person: &Person, record: Option<&str>) {
        let was = self.own.get(&key);
        if was.map(|own| own.record.as_ref()) == record {
            return;
        }
        let removes = was.map_or(0, |own| own.clock);
        self.clock += 1;
        let clock = self.clock;
        match record {
            Some(record) => {
                let own = Own {
                    clock,
                    record: record.into(),
                    person: person.clone(),
                };
                let is_new = self.own.insert(key, own).is_none();
                // What others say may be newer than what was read of who comes.
                if is_new && self.said(key).any(|said| !says_alike(said, record)) {
                    self.doubtful.insert(key);
                }
            }
            None => {
                self.own.remove(&key);
                self.doubtful.remove(&key);
            }
        }
        if !self.peers.is_empty() {
            self.log.push_back(Op {
                clock,
                topic: Arc::clone(&self.nowhere),
                key: key.to_text().into(),
                removes,
                adds: record.map(Meta::of_text),
            });
        }
        if self.log.len() > LOG_LIMIT {
            self.log.pop_front();
        }
    }

    pub(super) fn elsewhere(&self, key: RollKey) -> Vec<Box<str>> {
        self.said(key).map(Into::into).collect()
    }

    fn said(&self, key: RollKey) -> impl Iterator<Item = &str> {
        let peers = self.peers.values();
        peers.filter_map(move |peer| peer.people.get(&key).map(AsRef::as_ref))
    }

    /// See [`Roll::unsettle`](super::Roll::unsettle): it is said, and taken back, or the other way
    /// round. Operations are told one by one, and one that takes something back is a doubt.
    pub(super) fn unsettle(&mut self, key: RollKey, person: &Person) {
        match self.own.get(&key).map(|own| own.record.clone()) {
            Some(record) => {
                self.put(key, person, None);
                self.put(key, person, Some(&record));
                self.doubtful.insert(key);
            }
            None => {
                self.put(key, person, Some(""));
                self.put(key, person, None);
            }
        }
    }

    pub(super) fn has_doubts(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Own people of whom others may know better, since this was last asked.
    pub(super) fn take_doubtful(&mut self) -> Vec<Person> {
        let doubtful = std::mem::take(&mut self.doubtful).into_iter();
        let own = doubtful.filter_map(|key| self.own.get(&key));
        own.map(|own| own.person.clone()).collect()
    }

    /// See [`Replica::own_since`](super::super::Replica::own_since). What is older than `since` is
    /// kept elsewhere, and forgotten here.
    pub(in crate::presence) fn own_since(&mut self, since: Option<u64>) -> Option<Message> {
        let Some(since) = since else {
            return (self.clock > 0).then(|| self.snapshot());
        };
        while self.log.front().is_some_and(|op| op.clock <= since) {
            self.log.pop_front();
        }
        if since >= self.clock {
            return None;
        }
        match self.log.front() {
            Some(first) if first.clock == since + 1 => Some(Message::Delta(Delta {
                replica: self.id,
                from: since,
                to: self.clock,
                ops: self.log.iter().cloned().collect(),
            })),
            _ => Some(self.snapshot()),
        }
    }

    fn snapshot(&self) -> Message {
        let entry = |(key, own): (&RollKey, &Own)| {
            let entry = Entry {
                phx_ref: PhxRef {
                    replica: self.id,
                    clock: own.clock,
                },
                prev: 0,
                meta: Meta::of_text(&own.record),
            };
            (Arc::clone(&self.nowhere), key.to_text().into(), entry)
        };
        Message::Snapshot(Snapshot {
            replica: self.id,
            clock: self.clock,
            entries: self.own.iter().map(entry).collect(),
        })
    }

    /// Another node has been seen alive.
    pub(in crate::presence) fn up(&mut self, peer: ReplicaId) {
        if peer != self.id {
            self.peers.entry(peer).or_default();
        }
    }

    /// Another node is gone, or cut off: nobody is connected to it, as far as is known here.
    pub(in crate::presence) fn down(&mut self, peer: ReplicaId) {
        // The last that its people chose there may not have come here.
        let gone = self.peers.remove(&peer).unwrap_or_default();
        let own = gone.people.into_keys();
        self.doubtful
            .extend(own.filter(|key| self.own.contains_key(key)));
        if self.peers.is_empty() {
            self.log = VecDeque::new();
        }
    }

    /// Takes in a message of another node, which counts once it is up; what to ask for then.
    pub(super) fn receive(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Delta(delta) => self.receive_delta(delta),
            Message::Digest(clocks) => {
                let mut clocks = clocks.into_iter();
                clocks.find_map(|(replica, clock)| self.lacking(replica, clock))
            }
            Message::Snapshot(snapshot) => {
                self.receive_snapshot(snapshot);
                None
            }
            // What is asked for is read where it is kept.
            Message::Want { .. } => None,
        }
    }

    fn lacking(&self, replica: ReplicaId, clock: u64) -> Option<Message> {
        let since = self.peers.get(&replica)?.clock;
        (since < clock).then_some(Message::Want { replica, since })
    }

    fn receive_delta(&mut self, delta: Delta) -> Option<Message> {
        let replica = delta.replica;
        let peer = self.peers.get_mut(&replica)?;
        let since = peer.clock;
        if delta.from > since {
            return Some(Message::Want { replica, since });
        }
        for op in delta.ops.into_iter().filter(|op| op.clock > since) {
            let Some(key) = RollKey::parse(&op.key) else {
                continue;
            };
            let own = self.own.get(&key);
            let is_doubt = own.is_some_and(|own| match &op.adds {
                Some(meta) => !says_alike(meta.members(), &own.record),
                None => true,
            });
            if is_doubt {
                self.doubtful.insert(key);
            }
            match op.adds {
                Some(meta) => drop(peer.people.insert(key, meta.members().into())),
                None => drop(peer.people.remove(&key)),
            }
        }
        peer.clock = since.max(delta.to);
        None
    }

    fn receive_snapshot(&mut self, snapshot: Snapshot) {
        let Some(peer) = self.peers.get_mut(&snapshot.replica) else {
            return;
        };
        if peer.clock >= snapshot.clock {
            return;
        }
        let entries = snapshot.entries.into_iter();
        let people = entries.filter_map(|(_, key, entry)| {
            Some((RollKey::parse(&key)?, entry.meta.members().into()))
        });
        *peer = Peer {
            clock: snapshot.clock,
            people: people.collect(),
        };
        // What was said and taken back before it is in no snapshot.
        self.doubtful.extend(self.own.keys().copied());
    }
}
