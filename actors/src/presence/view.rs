//! Everything present, of all replicas: topic -> key -> entries. Without history or clocks.

use std::{collections::HashMap, sync::Arc};

use super::{Counts, Entry, Metas, PhxRef, ReplicaId};

/// A topic's entries by key. A key without entries is not kept.
#[derive(Debug, Default)]
struct Topic {
    keys: HashMap<Arc<str>, Vec<Entry>>,
    metas: usize,
}

/// The set of present entries. A topic without entries is not kept.
#[derive(Debug, Default)]
pub(super) struct View {
    topics: HashMap<Arc<str>, Topic>,
}

impl View {
    pub(super) fn insert(&mut self, topic: &Arc<str>, key: &Arc<str>, entry: Entry) {
        let of_topic = self.topics.entry(topic.clone()).or_default();
        of_topic.metas += 1;
        match of_topic.keys.get_mut(key) {
            Some(entries) => entries.push(entry),
            // Most keys have one meta for ever: no spare room.
            None => drop(of_topic.keys.insert(key.clone(), vec![entry])),
        }
    }

    pub(super) fn remove(&mut self, topic: &str, key: &str, name: PhxRef) -> Option<Entry> {
        let of_topic = self.topics.get_mut(topic)?;
        let entries = of_topic.keys.get_mut(key)?;
        let at = entries.iter().position(|entry| entry.phx_ref == name)?;
        let entry = entries.remove(at);
        of_topic.metas -= 1;
        if entries.is_empty() {
            of_topic.keys.remove(key);
        }
        if of_topic.keys.is_empty() {
            self.topics.remove(topic);
        }
        Some(entry)
    }

    pub(super) fn find(&self, topic: &str, key: &str, name: PhxRef) -> Option<&Entry> {
        let entries = self.topics.get(topic)?.keys.get(key)?;
        entries.iter().find(|entry| entry.phx_ref == name)
    }

    pub(super) fn list(&self, topic: &str) -> Metas {
        let mut metas = Metas::default();
        for (key, entries) in self.topics.get(topic).iter().flat_map(|topic| &topic.keys) {
            for entry in entries {
                metas.push(key.clone(), entry.clone());
            }
        }
        metas
    }

    pub(super) fn get(&self, topic: &str, key: &str) -> &[Entry] {
        let of_topic = self.topics.get(topic);
        of_topic
            .and_then(|topic| topic.keys.get(key))
            .map_or(&[], Vec::as_slice)
    }

    pub(super) fn counts(&self, topic: &str) -> Counts {
        self.topics
            .get(topic)
            .map_or_else(Counts::default, |topic| Counts {
                keys: topic.keys.len(),
                metas: topic.metas,
            })
    }

    /// Everything that one replica wrote, in the order of its writing. Looks at every entry: for
    /// rare events.
    pub(super) fn of_replica(&self, replica: ReplicaId) -> Vec<(Arc<str>, Arc<str>, Entry)> {
        let mut found = Vec::new();
        for (topic, of_topic) in &self.topics {
            for (key, entries) in &of_topic.keys {
                let theirs = entries.iter().filter(|e| e.phx_ref.replica == replica);
                found.extend(theirs.map(|entry| (topic.clone(), key.clone(), entry.clone())));
            }
        }
        found.sort_by_key(|(_, _, entry)| entry.phx_ref.clock);
        found
    }
}
