//! Who is connected to which node, whatever topics they are shown on: what nodes tell each other of
//! people, and no client.
//!
//! Presence on topics does not answer it: invisible people are on none, and most are on some only.
//! So each node keeps a short text per person who is connected to it, and tells the others, by the
//! same exchange as presence, as shards of its own beside those of the topics. A person's name is
//! sixteen bytes of a hash, which keeps records small and of one size; it hides nobody from somebody
//! who can read Redis and knows whom to look for.

mod part;

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use parking_lot::Mutex;
use quikapp_storage::Person;
use tokio::sync::Notify;

use self::part::Part;
use super::{Message, ReplicaId};

/// A power of two: the lowest bits of a key say which shard it belongs to, on every node.
const SHARDS: u64 = 16;

/// Between the parts of what is said of a person: no id holds it.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// Whether two nodes say the same of a person, whichever devices are connected to them: the parts
/// before the first [`SEPARATOR`].
pub(crate) fn says_alike(one: &str, other: &str) -> bool {
    one.split(SEPARATOR).next() == other.split(SEPARATOR).next()
}

/// A person by name: 128 bits of SHA-256(len(workspace) as big-endian u32, workspace, user).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RollKey(u128);

impl RollKey {
    /// The key of a person, the same on every node.
    fn of(person: &Person) -> Self {
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        let length = u32::try_from(workspace.len()).unwrap_or(u32::MAX);
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&length.to_be_bytes());
        hash.update(workspace.as_bytes());
        hash.update(user.as_bytes());
        let first = hash.finish().as_ref().first_chunk().copied();
        Self(u128::from_be_bytes(first.unwrap_or_default()))
    }

    fn to_text(self) -> String {
        format!("{:032x}", self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    fn shard(self) -> usize {
        // Always fits: it is below the number of shards.
        usize::try_from(self.0 % u128::from(SHARDS)).unwrap_or_default()
    }
}

/// The people connected to this node, and those of the others. Keeps nothing before it is shared:
/// a node alone knows its own people anyway.
#[derive(Debug)]
pub(super) struct Roll {
    parts: Box<[Mutex<Part>]>,
    is_shared: AtomicBool,
    /// Others may know better of people who are connected here.
    doubts: Notify,
}

impl Roll {
    /// Nobody is connected. `id` names the replica of a shard.
    pub(super) fn new(id: impl Fn(u64) -> ReplicaId) -> Self {
        let part = |number| Mutex::new(Part::new(id(number)));
        Self {
            parts: (0..SHARDS).map(part).collect(),
            is_shared: AtomicBool::new(false),
            doubts: Notify::new(),
        }
    }

    pub(super) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// What this node says of a person from now on; `None` once they are not connected to it.
    pub(super) fn put(&self, person: &Person, record: Option<&str>) {
        if self.is_shared() {
            let key = RollKey::of(person);
            self.change(key.shard(), |part| part.put(key, person, record));
        }
    }

    /// What the other nodes say of a person, one text for each that they are connected to.
    pub(super) fn elsewhere(&self, person: &Person) -> Vec<Box<str>> {
        if !self.is_shared() {
            return Vec::new();
        }
        let key = RollKey::of(person);
        self.parts[key.shard()].lock().elsewhere(key)
    }

    /// Whoever is connected to any node is doubtful there, and here: what is kept of them has
    /// changed beside what is said.
    pub(super) fn unsettle(&self, person: &Person) {
        if self.is_shared() {
            let key = RollKey::of(person);
            self.change(key.shard(), |part| part.unsettle(key, person));
        }
    }

    /// Another node is gone, or cut off.
    pub(super) fn down(&self, shard: usize, peer: ReplicaId) {
        self.change(shard, |part| part.down(peer));
    }

    /// Those who are connected here and of whom others may know better since this last returned.
    /// Waits until there are some; cancelling it loses nothing.
    pub(super) async fn doubtful(&self) -> Vec<Person> {
        loop {
            let parts = self.parts.iter();
            let doubtful: Vec<_> = parts.flat_map(|part| part.lock().take_doubtful()).collect();
            if !doubtful.is_empty() {
                return doubtful;
            }
            self.doubts.notified().await;
        }
    }

    /// The shards, in the order of their numbers.
    pub(super) fn parts(&self) -> &[Mutex<Part>] {
        &self.parts
    }

    /// Takes in a message about a shard; what to ask for then.
    pub(super) fn receive(&self, shard: usize, message: Message) -> Option<Message> {
        self.change(shard, |part| part.receive(message))
    }

    fn change<T: Default>(&self, shard: usize, change: impl FnOnce(&mut Part) -> T) -> T {
        let Some(part) = self.parts.get(shard) else {
            return T::default();
        };
        let mut part = part.lock();
        let changed = change(&mut part);
        if part.has_doubts() {
            self.doubts.notify_one();
        }
        changed
    }
}
