//! Counts of changes, for those who remember what they read.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use quikapp_storage::{ConversationId, Person};

const SHARDS: usize = 16;

/// How often conversations and people have changed, as far as anybody watches them. Cheap to
/// clone.
///
/// A writer raises the count after the store has the change and before anybody hears of it; a
/// reader looks at the count before it reads. A count that stands where it stood then says that
/// what was read still holds. Raising a count that nobody watches is a look into a map, or into
/// nothing while nobody watches anything.
#[derive(Clone, Default)]
pub struct Changes(Arc<Tables>);

#[derive(Default)]
struct Tables {
    conversations: Arc<Table<ConversationId>>,
    people: Arc<Table<Person>>,
}

impl Changes {
    /// Something about a conversation, or of one of its members in it, is not as it was.
    pub fn in_conversation(&self, id: &ConversationId) {
        self.0.conversations.raise(id);
    }

    /// A person is in other conversations than before, or their devices have come further.
    pub fn of_person(&self, person: &Person) {
        self.0.people.raise(person);
    }

    /// Counts the changes of a conversation for as long as the watch is kept.
    pub fn watch_conversation(&self, id: &ConversationId) -> Watch<ConversationId> {
        Watch::new(&self.0.conversations, id)
    }

    /// An id as those who watch the conversation hold it already: whoever keeps many ids that
    /// others keep, too, keeps pointers to them.
    pub fn shared(&self, id: ConversationId) -> ConversationId {
        self.0.conversations.key(&id).unwrap_or(id)
    }

    /// Counts the changes of a person likewise.
    pub fn watch_person(&self, person: &Person) -> Watch<Person> {
        Watch::new(&self.0.people, person)
    }

    /// How many conversations and people are watched.
    pub fn watched(&self) -> (usize, usize) {
        let tables = &self.0;
        (tables.conversations.len(), tables.people.len())
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (conversations, people) = self.watched();
        f.debug_struct("Changes")
            .field("conversations", &conversations)
            .field("people", &people)
            .finish()
    }
}

/// A count that is kept while this is: two pointers, whatever the key.
pub struct Watch<K: Clone + Eq + Hash> {
    table: Arc<Table<K>>,
    watched: Arc<Watched<K>>,
}

impl<K: Clone + Eq + Hash> Watch<K> {
    fn new(table: &Arc<Table<K>>, key: &K) -> Self {
        Self {
            watched: table.watch(key),
            table: Arc::clone(table),
        }
    }

    /// What is watched.
    pub fn key(&self) -> &K {
        &self.watched.key
    }

    /// The count as it stands. Counts of different watches say nothing about each other.
    pub fn count(&self) -> u64 {
        self.watched.count.load(Ordering::SeqCst)
    }
}

impl<K: Clone + Eq + Hash> Drop for Watch<K> {
    fn drop(&mut self) {
        self.table.unwatch(&self.watched);
    }
}

impl<K: Clone + Eq + Hash + fmt::Debug> fmt::Debug for Watch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?}: {})", self.key(), self.count())
    }
}

struct Table<K> {
    shards: [Mutex<HashMap<K, Arc<Watched<K>>>>; SHARDS],
    hasher: RandomState,
    /// How many keys there are: writers look at nothing else while there is none.
    len: AtomicUsize,
}

/// What all watches of a key share.
struct Watched<K> {
    key: K,
    count: AtomicU64,
    /// Changed under the shard's lock, so that nobody watches what is being forgotten.
    watches: AtomicUsize,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
        }
    }
}

impl<K: Clone + Eq + Hash> Table<K> {
    /// The order is that of one sequence for all: a reader that watches before it reads and a
    /// writer that raises after it wrote cannot miss each other.
    fn raise(&self, key: &K) {
        if self.len() == 0 {
            return;
        }
        if let Some(watched) = self.shard(key).lock().get(key) {
            watched.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn watch(&self, key: &K) -> Arc<Watched<K>> {
        let mut shard = self.shard(key).lock();
        let watched = shard.entry(key.clone()).or_insert_with(|| {
            self.len.fetch_add(1, Ordering::SeqCst);
            Arc::new(Watched {
                key: key.clone(),
                count: AtomicU64::new(0),
                watches: AtomicUsize::new(0),
            })
        });
        watched.watches.fetch_add(1, Ordering::SeqCst);
        Arc::clone(watched)
    }

    fn unwatch(&self, watched: &Watched<K>) {
        let mut shard = self.shard(&watched.key).lock();
        if watched.watches.fetch_sub(1, Ordering::SeqCst) == 1 {
            shard.remove(&watched.key);
            self.len.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The key as it is held here.
    fn key(&self, key: &K) -> Option<K> {
        let shard = self.shard(key).lock();
        shard.get(key).map(|watched| watched.key.clone())
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, Arc<Watched<K>>>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ConversationId {
        ConversationId::from_stored(name)
    }

    #[test]
    fn what_is_watched_is_counted_and_nothing_else_is_kept() {
        let changes = Changes::default();
        changes.in_conversation(&id("a"));
        assert_eq!(changes.watched(), (0, 0));
        let (first, second) = (
            changes.watch_conversation(&id("a")),
            changes.watch_conversation(&id("a")),
        );
        let before = first.count();
        changes.in_conversation(&id("a"));
        changes.in_conversation(&id("b"));
        assert_eq!((first.count(), second.count()), (before + 1, before + 1));
        drop(first);
        changes.in_conversation(&id("a"));
        assert_eq!(second.count(), before + 2, "the other watch stays");
        drop(second);
        assert_eq!(changes.watched(), (0, 0));
    }

    #[test]
    fn a_watch_is_small_and_its_key_is_shared() {
        let changes = Changes::default();
        let first = changes.watch_conversation(&id("a"));
        let second = changes.watch_conversation(&id("a"));
        assert!(size_of_val(&second) <= 16);
        let same = |a: &ConversationId, b: &ConversationId| std::ptr::eq(a.as_str(), b.as_str());
        assert!(same(first.key(), second.key()));
        assert!(same(&changes.shared(id("a")), first.key()));
        assert_eq!(changes.shared(id("b")), id("b"), "nobody watches it");
    }

    #[test]
    fn any_number_of_watchers_costs_a_writer_one_count() {
        let changes = Changes::default();
        let watches: Vec<_> = (0..10_000)
            .map(|_| changes.watch_conversation(&id("a")))
            .collect();
        assert_eq!(changes.watched(), (1, 0));
        changes.in_conversation(&id("a"));
        assert!(watches.iter().all(|watch| watch.count() == 1));
    }
}
