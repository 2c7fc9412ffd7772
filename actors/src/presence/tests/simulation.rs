//! Random histories of joins, updates, leaves, crashes, splits and heals over a network that
//! loses, repeats and reorders. What must hold: when everyone has heard of everyone, all views are
//! the union of what is really tracked; and at every moment the diffs that a replica published add
//! up to what it lists, each join and each leave exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;
use crate::presence::{Diff, Message, Op, PhxRef};

/// Topic and name of an entry, with its key and meta.
type Shown = BTreeMap<(String, PhxRef), (String, String)>;

/// A replica with its clients' eyes.
struct Node {
    replica: Replica,
    /// What the diffs published here add up to.
    published: Shown,
    /// What is really tracked here.
    tracked: BTreeSet<(u64, u32, usize, usize)>,
    peers: BTreeSet<ReplicaId>,
}

impl Node {
    fn new(id: u64, log_limit: usize) -> Self {
        Self {
            replica: Replica::new(ReplicaId(id), log_limit),
            published: Shown::new(),
            tracked: BTreeSet::new(),
            peers: BTreeSet::new(),
        }
    }

    fn publish(&mut self, diffs: impl IntoIterator<Item = Diff>) {
        for diff in diffs {
            let topic = diff.topic.to_string();
            for (key, entry) in diff.leaves.iter() {
                let gone = self.published.remove(&(topic.clone(), entry.phx_ref));
                assert!(gone.is_some(), "{key} left {topic} without having joined");
            }
            for (key, entry) in diff.joins.iter() {
                let shown = (key.to_owned(), entry.meta.members().to_owned());
                let twice = self.published.insert((topic.clone(), entry.phx_ref), shown);
                assert!(twice.is_none(), "{key} joined {topic} twice");
            }
        }
    }

    fn listed(&self) -> Shown {
        let mut listed = Shown::new();
        for topic in TOPICS {
            let metas = self.replica.list(topic);
            assert_eq!(self.replica.counts(topic).metas, metas.iter().count());
            for (key, entry) in metas.iter() {
                let shown = (key.to_owned(), entry.meta.members().to_owned());
                listed.insert((topic.to_owned(), entry.phx_ref), shown);
            }
        }
        listed
    }
}

const TOPICS: [&str; 3] = ["a", "b", "__proto__"];
const KEYS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const LOG: usize = 24;

struct World {
    rng: StdRng,
    nodes: Vec<Node>,
    next_id: u64,
    flying: Vec<(ReplicaId, ReplicaId, Message)>,
    /// Pairs that do not hear each other.
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
    /// Whether messages are lost and repeated.
    is_calm: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64, nodes: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            next_id: 0,
            flying: Vec::new(),
            cut: BTreeSet::new(),
            is_calm: false,
            trace: Vec::new(),
        };
        for _ in 0..nodes {
            world.boot();
        }
        world
    }

    fn boot(&mut self) {
        self.next_id += 1;
        self.nodes.push(Node::new(self.next_id, LOG));
    }

    fn ids(&self) -> Vec<ReplicaId> {
        self.nodes.iter().map(|node| node.replica.id()).collect()
    }

    fn node(&mut self, id: ReplicaId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.replica.id() == id)
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.track_or_untrack(),
            40..50 => self.update(),
            50..55 => self.drop_connection(),
            55..75 => self.deliver_one(),
            75..83 => self.send_deltas(),
            83..91 => self.send_digests(),
            91..94 => self.split(),
            94..97 => self.heal(),
            97..98 => self.crash(),
            _ => self.detect(),
        }
    }

    fn someone(&mut self) -> usize {
        self.rng.random_range(0..self.nodes.len())
    }

    fn track_or_untrack(&mut self) {
        let at = self.someone();
        let what = (
            self.rng.random_range(0..40),
            self.rng.random_range(0..3),
            self.rng.random_range(0..TOPICS.len()),
            self.rng.random_range(0..KEYS.len()),
        );
        let value = self.rng.random_range(0..1000);
        let (connection, slot, topic, key) = what;
        let (who, topic, key) = (
            tracker(connection, slot),
            text(TOPICS[topic]),
            text(KEYS[key]),
        );
        let node = &mut self.nodes[at];
        let diff = if node.tracked.insert(what) {
            node.replica
                .track(who, &topic, &key, meta(json!({"v": value})))
                .unwrap()
        } else {
            node.tracked.remove(&what);
            node.replica.untrack(who, &topic, &key).unwrap()
        };
        node.publish([diff]);
    }

    fn update(&mut self) {
        let at = self.someone();
        let tracked: Vec<_> = self.nodes[at].tracked.iter().copied().collect();
        let Some(&(connection, slot, topic, key)) = tracked.choose(&mut self.rng) else {
            return;
        };
        let value = self.rng.random_range(0..1000);
        let (who, topic, key) = (
            tracker(connection, slot),
            text(TOPICS[topic]),
            text(KEYS[key]),
        );
        let node = &mut self.nodes[at];
        let change = |_: &Meta| meta(json!({"u": value}));
        let diff = node.replica.update(who, &topic, &key, change).unwrap();
        node.publish([diff]);
    }

    fn drop_connection(&mut self) {
        let at = self.someone();
        let connection = self.rng.random_range(0..40);
        let node = &mut self.nodes[at];
        node.tracked.retain(|what| what.0 != connection);
        let diffs = node.replica.untrack_connection(ConnectionId(connection));
        node.publish(diffs);
    }

    fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message) {
        if self.cut.contains(&pair(from, to)) {
            return;
        }
        if !self.is_calm && self.rng.random_bool(0.2) {
            return;
        }
        if !self.is_calm && self.rng.random_bool(0.1) {
            self.flying.push((from, to, message.clone()));
        }
        self.flying.push((from, to, message));
    }

    fn send_deltas(&mut self) {
        let at = self.someone();
        let from = self.nodes[at].replica.id();
        if let Some(delta) = self.nodes[at].replica.take_delta() {
            for to in self.ids() {
                self.send(from, to, Message::Delta(delta.clone()));
            }
        }
    }

    fn send_digests(&mut self) {
        let at = self.someone();
        let (from, digest) = (self.nodes[at].replica.id(), self.nodes[at].replica.digest());
        for to in self.ids() {
            self.send(from, to, digest.clone());
        }
    }

    fn deliver_one(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.flying.len());
        let (from, to, message) = self.flying.swap_remove(at);
        self.trace.push(format!("{from:?}->{to:?} {message:?}"));
        let Some(node) = self.node(to) else { return };
        let reaction = node.replica.receive(message);
        node.publish(reaction.diffs);
        for reply in reaction.replies {
            self.send(to, from, reply);
        }
    }

    fn split(&mut self) {
        let ids = self.ids();
        let (a, b) = (
            *ids.choose(&mut self.rng).unwrap(),
            *ids.choose(&mut self.rng).unwrap(),
        );
        self.cut.insert(pair(a, b));
    }

    fn heal(&mut self) {
        self.cut.clear();
    }

    /// A node dies and another is born; nobody has noticed yet.
    fn crash(&mut self) {
        let at = self.someone();
        self.nodes.swap_remove(at);
        self.boot();
    }

    /// One node's failure detector looks at one other; a cut looks like a death.
    fn detect(&mut self) {
        let at = self.someone();
        self.detect_from(at);
    }

    fn detect_from(&mut self, at: usize) {
        let (me, alive) = (self.nodes[at].replica.id(), self.ids());
        let reachable: BTreeSet<_> = alive
            .into_iter()
            .filter(|id| *id != me && !self.cut.contains(&pair(me, *id)))
            .collect();
        let node = &mut self.nodes[at];
        for gone in node
            .peers
            .difference(&reachable)
            .copied()
            .collect::<Vec<_>>()
        {
            let diffs = node.replica.replica_down(gone);
            node.publish(diffs);
        }
        for &up in &reachable {
            node.replica.replica_up(up);
        }
        node.peers = reachable;
    }

    /// Everything heals, everyone hears everyone, and the news goes round.
    fn settle(&mut self) {
        self.is_calm = true;
        self.heal();
        for at in 0..self.nodes.len() {
            self.detect_from(at);
        }
        for _ in 0..4 {
            for at in 0..self.nodes.len() {
                let (from, digest) = (self.nodes[at].replica.id(), self.nodes[at].replica.digest());
                for to in self.ids() {
                    self.send(from, to, digest.clone());
                }
            }
            while !self.flying.is_empty() {
                self.deliver_one();
            }
        }
    }

    fn check_agreement(&self) {
        let mut expected: HashMap<(&str, &str), usize> = HashMap::new();
        for what in self.nodes.iter().flat_map(|node| &node.tracked) {
            *expected.entry((TOPICS[what.2], KEYS[what.3])).or_default() += 1;
        }
        let first = self.nodes[0].listed();
        for node in &self.nodes {
            assert_eq!(node.listed(), first, "all views are one");
        }
        let mut found: HashMap<(&str, &str), usize> = HashMap::new();
        for ((topic, _), (key, _)) in &first {
            *found.entry((topic, key)).or_default() += 1;
        }
        assert_eq!(found, expected, "the view is what is tracked");
    }

    fn check_publications(&self) {
        for node in &self.nodes {
            assert_eq!(node.published, node.listed(), "diffs add up to the list");
        }
    }
}

fn pair(a: ReplicaId, b: ReplicaId) -> (ReplicaId, ReplicaId) {
    (a.min(b), a.max(b))
}

fn run(seed: u64, nodes: u64, steps: usize) -> World {
    let mut world = World::new(seed, nodes);
    for step in 0..steps {
        world.step();
        if step % 16 == 0 {
            world.check_publications();
        }
    }
    world.settle();
    world.check_publications();
    world
}

#[test]
fn replicas_agree_after_any_history() {
    let mut largest = 0;
    for seed in 0..300 {
        let world = run(seed, 2 + seed % 4, 700);
        world.check_agreement();
        largest = largest.max(
            world
                .nodes
                .iter()
                .map(|node| node.tracked.len())
                .min()
                .unwrap(),
        );
    }
    assert!(
        largest > 50,
        "histories are long enough: {largest} entries a side"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert!(run(7, 4, 600).trace == run(7, 4, 600).trace);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn replicas_agree_for_any_seed(seed: u64, nodes in 2..6u64, steps in 1..1500usize) {
        run(seed, nodes, steps).check_agreement();
    }
}

#[test]
fn a_hole_is_repaired_by_delta_while_the_log_reaches_back_and_by_snapshot_beyond() {
    for (missed, by_snapshot) in [(10, false), (60, true)] {
        let (mut a, mut b) = (Replica::new(ReplicaId(1), LOG), replica(2));
        a.replica_up(b.id());
        b.replica_up(a.id());
        for connection in 0..missed {
            a.track(
                tracker(connection, 0),
                &text("a"),
                &text("k"),
                Meta::default(),
            )
            .unwrap();
        }
        // This delta is lost.
        a.take_delta();
        a.track(tracker(missed, 0), &text("a"), &text("k"), Meta::default())
            .unwrap();
        let news = Message::Delta(a.take_delta().unwrap());
        let asked = b.receive(news);
        assert!(asked.diffs.is_empty());
        let answer = a.receive(asked.replies[0].clone()).replies.remove(0);
        assert_eq!(matches!(answer, Message::Snapshot(_)), by_snapshot);
        b.receive(answer);
        assert_eq!(b.counts("a"), a.counts("a"));
    }
}

#[test]
fn a_repeated_or_late_message_changes_nothing() {
    let (mut a, mut b) = (replica(1), replica(2));
    a.replica_up(b.id());
    b.replica_up(a.id());
    a.track(tracker(1, 0), &text("a"), &text("k"), Meta::default())
        .unwrap();
    let old = Message::Delta(a.take_delta().unwrap());
    a.untrack(tracker(1, 0), &text("a"), &text("k")).unwrap();
    let new = Message::Delta(a.take_delta().unwrap());
    for message in [&old, &new] {
        b.receive(message.clone());
    }
    for message in [old, new] {
        assert_eq!(b.receive(message), crate::presence::Reaction::default());
    }
    assert_eq!(b.counts("a").metas, 0);
}

#[test]
fn an_old_snapshot_does_not_turn_back_time() {
    let (mut a, mut b) = (replica(1), replica(2));
    b.replica_up(a.id());
    let (room, key) = (text("a"), text("k"));
    let ask = |since| Message::Want {
        replica: ReplicaId(1),
        since,
    };
    a.track(tracker(1, 0), &room, &key, Meta::default())
        .unwrap();
    let old = a.receive(ask(0)).replies.remove(0);
    a.untrack(tracker(1, 0), &room, &key).unwrap();
    let new = a.receive(ask(0)).replies.remove(0);
    b.receive(new);
    assert_eq!(b.receive(old), crate::presence::Reaction::default());
    assert_eq!(b.counts("a").metas, 0);
}

#[test]
fn a_replica_that_is_down_leaves_and_is_not_believed_through_others() {
    let (mut a, mut b, mut c) = (replica(1), replica(2), replica(3));
    for (one, others) in [(&mut a, [2, 3]), (&mut b, [1, 3]), (&mut c, [1, 2])] {
        for id in others {
            one.replica_up(ReplicaId(id));
        }
    }
    for connection in 0..60 {
        a.track(
            tracker(connection, 0),
            &text("a"),
            &text("k"),
            Meta::default(),
        )
        .unwrap();
    }
    let news = Message::Delta(a.take_delta().unwrap());
    b.receive(news.clone());
    c.receive(news);
    let left = b.replica_down(a.id());
    assert_eq!((left.len(), left[0].leaves.iter().count()), (1, 60));

    let gossip = b.receive(c.digest());
    assert!(gossip.replies.is_empty(), "b does not ask c about a");
    assert_eq!(b.counts("a").metas, 0);

    b.replica_up(a.id());
    let want = b.receive(c.digest()).replies.remove(0);
    let snapshot = c.receive(want).replies.remove(0);
    let back = b.receive(snapshot);
    assert_eq!(back.diffs[0].joins.iter().count(), 60);
}

#[test]
fn a_batch_nets_what_comes_and_goes_within_it() {
    let (mut a, mut b) = (replica(1), replica(2));
    a.replica_up(b.id());
    b.replica_up(a.id());
    let (room, key) = (text("a"), text("k"));
    a.track(tracker(1, 0), &room, &key, meta(json!({"n": 1})))
        .unwrap();
    b.receive(Message::Delta(a.take_delta().unwrap()));

    a.update(tracker(1, 0), &room, &key, |_| meta(json!({"n": 2})))
        .unwrap();
    a.update(tracker(1, 0), &room, &key, |_| meta(json!({"n": 3})))
        .unwrap();
    a.track(tracker(2, 0), &room, &key, meta(json!({"n": 9})))
        .unwrap();
    a.untrack(tracker(2, 0), &room, &key).unwrap();
    let diffs = b.receive(Message::Delta(a.take_delta().unwrap())).diffs;
    assert_eq!(diffs.len(), 1);
    assert_eq!(plain(&diffs[0].leaves), json!({"k": [{"n": 1}]}));
    assert_eq!(plain(&diffs[0].joins), json!({"k": [{"n": 3}]}));
}

#[test]
fn nothing_is_remembered_for_peers_that_are_not_there() {
    let mut alone = replica(1);
    for connection in 0..100 {
        alone
            .track(
                tracker(connection, 0),
                &text("a"),
                &text("k"),
                Meta::default(),
            )
            .unwrap();
    }
    assert_eq!(alone.take_delta(), None);
}

#[test]
fn messages_survive_their_encoding() {
    let (mut a, b) = (replica(1), replica(2));
    a.replica_up(b.id());
    let strange = meta(json!({"text": "\"\\\u{1f600}", "nested": {"a": [1, null]}}));
    a.track(tracker(1, 0), &text("a"), &text("k"), strange)
        .unwrap();
    let delta = Message::Delta(a.take_delta().unwrap());
    let bytes = serde_json::to_vec(&delta).unwrap();
    assert_eq!(serde_json::from_slice::<Message>(&bytes).unwrap(), delta);
    if let Message::Delta(delta) = delta {
        let is_dense = |pair: &[Op]| pair[1].clock == pair[0].clock + 1;
        assert!(delta.ops.windows(2).all(is_dense));
    }
}
