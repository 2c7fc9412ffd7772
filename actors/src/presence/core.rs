//! One replica's state: its own entries by tracker, everybody's by topic, and the clocks.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::fanout::{ConnectionId, SlotKey};

use super::{
    Counts, Delta, Diff, Entry, Message, Meta, Metas, Op, PhxRef, ReplicaId, Snapshot, Tracker,
    diff::Changes, view::View,
};

/// The tracker already tracks this key on this topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("already tracked")]
pub struct AlreadyTracked;

/// The tracker does not track this key on this topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not tracked")]
pub struct NotTracked;

/// What follows from a message of another replica.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// What to publish here, one diff per topic.
    pub diffs: Vec<Diff>,
    /// What to send back.
    pub replies: Vec<Message>,
}

/// What a tracker tracks, and with which operation it last said so.
#[derive(Debug)]
struct Track {
    slot: SlotKey,
    topic: Arc<str>,
    key: Arc<str>,
    clock: u64,
}

/// The presences that this process tracks and those it has heard of. Pure: the shell publishes
/// the diffs and carries the messages.
#[derive(Debug)]
pub struct Replica {
    id: ReplicaId,
    clock: u64,
    view: View,
    /// Own entries by connection.
    own: HashMap<ConnectionId, Vec<Track>>,
    /// Live other replicas, and up to where each is known.
    peers: HashMap<ReplicaId, u64>,
    /// Own operations that others may still lack, without holes up to `clock`. Empty without peers.
    log: VecDeque<Op>,
    /// Older operations are forgotten above this many; who lacks them gets a snapshot.
    log_limit: usize,
    /// Up to where own operations have been handed out by [`Replica::take_delta`].
    sent: u64,
}

impl Replica {
    /// A replica without entries or peers.
    pub fn new(id: ReplicaId, log_limit: usize) -> Self {
        Self {
            id,
            clock: 0,
            view: View::default(),
            own: HashMap::new(),
            peers: HashMap::new(),
            log: VecDeque::new(),
            log_limit,
            sent: 0,
        }
    }

    /// Its id.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// Starts to show a tracker under a key.
    pub fn track(
        &mut self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
        meta: Meta,
    ) -> Result<Diff, AlreadyTracked> {
        if self.position(tracker, topic, key).is_some() {
            return Err(AlreadyTracked);
        }
        let clock = self.record(topic, key, 0, Some(meta.clone()));
        // Most connections track one thing: no spare room.
        let own = self.own.entry(tracker.connection);
        own.or_insert_with(|| Vec::with_capacity(1)).push(Track {
            slot: tracker.slot,
            topic: topic.clone(),
            key: key.clone(),
            clock,
        });
        let mut changes = Changes::default();
        self.show(topic, key, self.entry(clock, 0, meta), &mut changes);
        Ok(one(changes))
    }

    /// Replaces a tracker's meta by what `change` makes of it: one diff, old out and new in.
    pub fn update(
        &mut self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
        change: impl FnOnce(&Meta) -> Meta,
    ) -> Result<Diff, NotTracked> {
        let at = self.position(tracker, topic, key).ok_or(NotTracked)?;
        let old = self.own[&tracker.connection][at].clock;
        let shown = self.view.find(topic, key, self.name(old));
        let meta = change(&shown.ok_or(NotTracked)?.meta);
        let clock = self.record(topic, key, old, Some(meta.clone()));
        if let Some(tracks) = self.own.get_mut(&tracker.connection) {
            tracks[at].clock = clock;
        }
        let mut changes = Changes::default();
        self.hide(topic, key, self.name(old), &mut changes);
        self.show(topic, key, self.entry(clock, old, meta), &mut changes);
        Ok(one(changes))
    }

    /// Stops showing a tracker under a key.
    pub fn untrack(
        &mut self,
        tracker: Tracker,
        topic: &Arc<str>,
        key: &Arc<str>,
    ) -> Result<Diff, NotTracked> {
        let diffs = self.untrack_where(tracker.connection, |track| {
            track.slot == tracker.slot && track.topic == *topic && track.key == *key
        });
        diffs.into_iter().next().ok_or(NotTracked)
    }

    /// Stops showing everything of one channel.
    pub fn untrack_channel(&mut self, tracker: Tracker) -> Vec<Diff> {
        self.untrack_where(tracker.connection, |track| track.slot == tracker.slot)
    }

    /// Stops showing everything of a connection that is gone.
    pub fn untrack_connection(&mut self, connection: ConnectionId) -> Vec<Diff> {
        self.untrack_where(connection, |_| true)
    }

    /// Everyone on a topic.
    pub fn list(&self, topic: &str) -> Metas {
        self.view.list(topic)
    }

    /// The entries of one key, the oldest first.
    pub fn get(&self, topic: &str, key: &str) -> &[Entry] {
        self.view.get(topic, key)
    }

    /// How many are on a topic.
    pub fn counts(&self, topic: &str) -> Counts {
        self.view.counts(topic)
    }

    /// A replica has been seen alive: from now on it is listened to. What it has is learnt from
    /// its digests and deltas.
    pub fn replica_up(&mut self, peer: ReplicaId) {
        if peer != self.id {
            self.peers.entry(peer).or_insert(0);
        }
    }

    /// A replica is gone, or cut off: its entries leave. Nothing about it is believed, whoever
    /// says it, until it is up again.
    pub fn replica_down(&mut self, peer: ReplicaId) -> Vec<Diff> {
        if self.peers.remove(&peer).is_none() {
            return Vec::new();
        }
        if self.peers.is_empty() {
            self.log.clear();
        }
        let mut changes = Changes::default();
        self.replace(peer, Vec::new(), &mut changes);
        changes.into_diffs()
    }

    /// The own operations that have not been handed out yet, for all peers; `None` when there
    /// are none, or when they were forgotten already (digests will tell the peers).
    pub fn take_delta(&mut self) -> Option<Delta> {
        let since = std::mem::replace(&mut self.sent, self.clock);
        self.delta_since(since)
    }

    /// Own operations after `since`, or everything of this replica where they are not remembered;
    /// without `since`, everything. `None` when there is nothing new.
    pub fn own_since(&self, since: Option<u64>) -> Option<Message> {
        match since {
            Some(since) => self.answer(self.id, since),
            None => (self.clock > 0).then(|| self.snapshot(self.id, self.clock)),
        }
    }

    /// The heartbeat: the clocks this replica knows.
    pub fn digest(&self) -> Message {
        let mut clocks: Vec<_> = self.peers.iter().map(|(id, clock)| (*id, *clock)).collect();
        clocks.push((self.id, self.clock));
        clocks.sort_unstable();
        Message::Digest(clocks)
    }

    /// Takes in a message of another replica.
    pub fn receive(&mut self, message: Message) -> Reaction {
        match message {
            Message::Delta(delta) => self.receive_delta(delta),
            Message::Digest(clocks) => self.receive_digest(&clocks),
            Message::Want { replica, since } => self.receive_want(replica, since),
            Message::Snapshot(snapshot) => self.receive_snapshot(snapshot),
        }
    }

    fn receive_delta(&mut self, delta: Delta) -> Reaction {
        let replica = delta.replica;
        let Some(&known) = self.peers.get(&replica) else {
            return Reaction::default();
        };
        if delta.from > known {
            return Reaction::asking(replica, known);
        }
        let mut changes = Changes::default();
        for op in delta.ops.into_iter().filter(|op| op.clock > known) {
            self.apply(replica, op, &mut changes);
        }
        self.peers.insert(replica, known.max(delta.to));
        Reaction::publishing(changes)
    }

    fn apply(&mut self, replica: ReplicaId, op: Op, changes: &mut Changes) {
        if op.removes != 0 {
            let clock = op.removes;
            self.hide(&op.topic, &op.key, PhxRef { replica, clock }, changes);
        }
        if let Some(meta) = op.adds {
            let clock = op.clock;
            let entry = Entry {
                phx_ref: PhxRef { replica, clock },
                prev: op.removes,
                meta,
            };
            self.show(&op.topic, &op.key, entry, changes);
        }
    }

    fn receive_digest(&mut self, clocks: &[(ReplicaId, u64)]) -> Reaction {
        let mut reaction = Reaction::default();
        for &(replica, clock) in clocks {
            match self.peers.get(&replica) {
                Some(&since) if since < clock => {
                    reaction.replies.push(Message::Want { replica, since });
                }
                _ => {}
            }
        }
        reaction
    }

    fn receive_want(&self, replica: ReplicaId, since: u64) -> Reaction {
        let mut reaction = Reaction::default();
        reaction.replies.extend(self.answer(replica, since));
        reaction
    }

    fn answer(&self, replica: ReplicaId, since: u64) -> Option<Message> {
        let own = replica == self.id;
        let clock = if own {
            self.clock
        } else {
            *self.peers.get(&replica)?
        };
        if clock <= since {
            return None;
        }
        match self.delta_since(since).filter(|_| own) {
            Some(delta) => Some(Message::Delta(delta)),
            None => Some(self.snapshot(replica, clock)),
        }
    }

    fn snapshot(&self, replica: ReplicaId, clock: u64) -> Message {
        Message::Snapshot(Snapshot {
            replica,
            clock,
            entries: self.view.of_replica(replica),
        })
    }

    fn receive_snapshot(&mut self, snapshot: Snapshot) -> Reaction {
        match self.peers.get(&snapshot.replica) {
            Some(&known) if known < snapshot.clock => {}
            _ => return Reaction::default(),
        }
        self.peers.insert(snapshot.replica, snapshot.clock);
        let mut changes = Changes::default();
        self.replace(snapshot.replica, snapshot.entries, &mut changes);
        Reaction::publishing(changes)
    }

    /// Makes `entries` all that is shown of a replica. What stays is in no diff.
    fn replace(
        &mut self,
        replica: ReplicaId,
        entries: Vec<(Arc<str>, Arc<str>, Entry)>,
        changes: &mut Changes,
    ) {
        let mut stale: HashMap<PhxRef, (Arc<str>, Arc<str>)> = HashMap::new();
        for (topic, key, entry) in self.view.of_replica(replica) {
            stale.insert(entry.phx_ref, (topic, key));
        }
        for (topic, key, entry) in entries {
            if stale.remove(&entry.phx_ref).is_none() {
                self.show(&topic, &key, entry, changes);
            }
        }
        for (name, (topic, key)) in stale {
            self.hide(&topic, &key, name, changes);
        }
    }

    fn untrack_where(
        &mut self,
        connection: ConnectionId,
        goes: impl Fn(&Track) -> bool,
    ) -> Vec<Diff> {
        let Some(tracks) = self.own.remove(&connection) else {
            return Vec::new();
        };
        let (gone, kept): (Vec<_>, Vec<_>) = tracks.into_iter().partition(|track| goes(track));
        if !kept.is_empty() {
            self.own.insert(connection, kept);
        }
        let mut changes = Changes::default();
        for track in gone {
            self.record(&track.topic, &track.key, track.clock, None);
            let name = self.name(track.clock);
            self.hide(&track.topic, &track.key, name, &mut changes);
        }
        changes.into_diffs()
    }

    fn position(&self, tracker: Tracker, topic: &Arc<str>, key: &Arc<str>) -> Option<usize> {
        self.own.get(&tracker.connection)?.iter().position(|track| {
            track.slot == tracker.slot && track.topic == *topic && track.key == *key
        })
    }

    /// Counts an own operation, and remembers it while there is anyone to tell.
    fn record(
        &mut self,
        topic: &Arc<str>,
        key: &Arc<str>,
        removes: u64,
        adds: Option<Meta>,
    ) -> u64 {
        self.clock += 1;
        if !self.peers.is_empty() {
            self.log.push_back(Op {
                clock: self.clock,
                topic: topic.clone(),
                key: key.clone(),
                removes,
                adds,
            });
        }
        if self.log.len() > self.log_limit {
            self.log.pop_front();
        }
        self.clock
    }

    fn delta_since(&self, since: u64) -> Option<Delta> {
        let oldest = self.log.front()?.clock;
        if since >= self.clock || since + 1 < oldest {
            return None;
        }
        let skip = usize::try_from(since + 1 - oldest).ok()?;
        Some(Delta {
            replica: self.id,
            from: since,
            to: self.clock,
            ops: self.log.iter().skip(skip).cloned().collect(),
        })
    }

    fn name(&self, clock: u64) -> PhxRef {
        PhxRef {
            replica: self.id,
            clock,
        }
    }

    fn entry(&self, clock: u64, prev: u64, meta: Meta) -> Entry {
        Entry {
            phx_ref: self.name(clock),
            prev,
            meta,
        }
    }

    fn show(&mut self, topic: &Arc<str>, key: &Arc<str>, entry: Entry, changes: &mut Changes) {
        self.view.insert(topic, key, entry.clone());
        changes.joined(topic, key, entry);
    }

    fn hide(&mut self, topic: &Arc<str>, key: &Arc<str>, name: PhxRef, changes: &mut Changes) {
        if let Some(entry) = self.view.remove(topic, key, name) {
            changes.left(topic, key, entry);
        }
    }
}

/// The diff of an operation that touches exactly one topic.
fn one(changes: Changes) -> Diff {
    let mut diffs = changes.into_diffs();
    debug_assert_eq!(diffs.len(), 1, "one operation, one topic");
    diffs.remove(0)
}

impl Reaction {
    fn publishing(changes: Changes) -> Self {
        Self {
            diffs: changes.into_diffs(),
            replies: Vec::new(),
        }
    }

    fn asking(replica: ReplicaId, since: u64) -> Self {
        Self {
            diffs: Vec::new(),
            replies: vec![Message::Want { replica, since }],
        }
    }
}
