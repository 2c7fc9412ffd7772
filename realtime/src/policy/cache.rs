//! What the policy remembers of the store, for less than a second where it may change.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_storage::{ConversationId, Person, Role, UserId, WorkspaceId};
use tokio::time::Instant;

/// How long an answer may be reused; half of the second within which a removal must act.
pub(super) const STALENESS: Duration = Duration::from_millis(500);
/// How many answers of each sort are kept; when full, all are forgotten and asked again.
const CAPACITY: usize = 32 * 1024;

/// How a person stands to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none of that id in the workspace.
    Unknown,
    /// Never a member.
    Outsider,
    /// Not a member any more.
    Former,
    /// A member.
    Member(Role),
}

/// Short-lived answers, which stay behind as the last that is known. Whoever changes a membership
/// or a block invalidates; a lookup that was under way at that moment is recognised by its
/// generation and not kept.
#[derive(Default)]
pub(super) struct Cache {
    generation: AtomicU64,
    standings: Short<(ConversationId, Person), Standing>,
    blocks: Short<Person, Arc<[UserId]>>,
    /// Of conversations that people share. Kept until there are too many: it is settled for good
    /// when a conversation is made.
    workspaces: Mutex<HashMap<ConversationId, WorkspaceId>>,
}

/// Taken before the store is asked: what it answers is as old as this.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    generation: u64,
    at: Instant,
}

impl Cache {
    pub(super) fn asking(&self) -> Asked {
        Asked {
            generation: self.generation.load(Ordering::Acquire),
            at: Instant::now(),
        }
    }

    pub(super) fn standing(&self, person: &Person, id: &ConversationId) -> Option<Standing> {
        self.standings.get(&(id.clone(), person.clone()))
    }

    /// What was last seen, however long ago.
    pub(super) fn last_standing(&self, person: &Person, id: &ConversationId) -> Option<Standing> {
        self.standings.last(&(id.clone(), person.clone()))
    }

    pub(super) fn put_standing(
        &self,
        asked: Asked,
        person: &Person,
        id: &ConversationId,
        standing: Standing,
    ) {
        let key = (id.clone(), person.clone());
        self.standings.put(key, standing, asked, &self.generation);
    }

    pub(super) fn workspace(&self, id: &ConversationId) -> Option<WorkspaceId> {
        self.workspaces.lock().get(id).cloned()
    }

    pub(super) fn put_workspace(&self, id: &ConversationId, workspace: &WorkspaceId) {
        let mut workspaces = self.workspaces.lock();
        if workspaces.len() >= CAPACITY {
            workspaces.clear();
        }
        workspaces.insert(id.clone(), workspace.clone());
    }

    pub(super) fn blocks(&self, person: &Person) -> Option<Arc<[UserId]>> {
        self.blocks.get(person)
    }

    pub(super) fn put_blocks(&self, asked: Asked, person: &Person, blocks: Arc<[UserId]>) {
        self.blocks
            .put(person.clone(), blocks, asked, &self.generation);
    }

    pub(super) fn forget_conversation(&self, id: &ConversationId) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.standings.forget(|(known, _)| known == id);
    }

    pub(super) fn forget_blocks(&self, person: &Person, other: &UserId) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.blocks.forget(|known| {
            known.workspace == person.workspace
                && (known.user == person.user || known.user == *other)
        });
    }
}

struct Short<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K, V> Default for Short<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone> Short<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let entries = self.0.lock();
        let (value, until) = entries.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    fn last(&self, key: &K) -> Option<V> {
        self.0.lock().get(key).map(|(value, _)| value.clone())
    }

    /// The generation is compared under the lock: an invalidation that comes later finds the entry.
    fn put(&self, key: K, value: V, asked: Asked, generation: &AtomicU64) {
        let mut entries = self.0.lock();
        if generation.load(Ordering::Acquire) != asked.generation {
            return;
        }
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, (value, asked.at + STALENESS));
    }

    fn forget(&self, fits: impl Fn(&K) -> bool) {
        self.0.lock().retain(|key, _| !fits(key));
    }
}
