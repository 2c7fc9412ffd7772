//! What changed on a topic, and how it looks on the wire.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use quikapp_protocol::{Json, Payload};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{Entry, PhxRef};

/// Entries by key, ordered by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metas(Vec<(Arc<str>, Entry)>);

impl Metas {
    pub(super) fn push(&mut self, key: Arc<str>, entry: Entry) {
        self.0.push((key, entry));
    }

    /// Keys with their entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_ref(), entry))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{key: {"metas": [..]}}`, the payload of `presence_state`. The metas of a key stand in the
    /// order in which they came.
    pub fn to_payload(&self) -> Payload {
        let mut out = String::with_capacity(16 + self.0.len() * 96);
        self.write(&mut out);
        payload(out)
    }

    fn write(&self, out: &mut String) {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        out.push('{');
        for (nth, of_key) in sorted.chunk_by(|a, b| a.0 == b.0).enumerate() {
            if nth > 0 {
                out.push(',');
            }
            write_key(of_key, out);
        }
        out.push('}');
    }
}

fn write_key(of_key: &[&(Arc<str>, Entry)], out: &mut String) {
    out.push_str(&serde_json::Value::from(of_key[0].0.as_ref()).to_string());
    out.push_str(":{\"metas\":[");
    for (nth, (_, entry)) in of_key.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        entry.write(out);
    }
    out.push_str("]}");
}

/// What joined and left one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The topic.
    pub topic: Arc<str>,
    /// What joined.
    pub joins: Metas,
    /// What left.
    pub leaves: Metas,
}

impl Diff {
    /// The payload of `presence_diff`.
    pub fn to_payload(&self) -> Payload {
        let mut out = String::with_capacity(128);
        out.push_str("{\"joins\":");
        self.joins.write(&mut out);
        out.push_str(",\"leaves\":");
        self.leaves.write(&mut out);
        out.push('}');
        payload(out)
    }
}

/// The text is put together from parts that are JSON already.
fn payload(text: String) -> Payload {
    Json::parse(text).map_or_else(|_| Payload::empty_object(), Payload::Json)
}

/// How many are on a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys: people.
    pub keys: usize,
    /// Metas: their channels.
    pub metas: usize,
}

/// `presence_count`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PresenceCount {
    /// People.
    #[ts(type = "number")]
    pub users: usize,
    /// Their channels on this topic.
    #[ts(type = "number")]
    pub connections: usize,
}

impl Counts {
    /// The payload of `presence_count`.
    pub fn to_payload(self) -> Payload {
        let counts = PresenceCount {
            users: self.keys,
            connections: self.metas,
        };
        Payload::from_serialize(&counts).unwrap_or_else(|_| Payload::empty_object())
    }
}

/// Gathers the changes of one batch into one diff per topic. What joins and leaves within the
/// batch is in neither list.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<Arc<str>, OfTopic>);

#[derive(Debug, Default)]
struct OfTopic {
    joins: BTreeMap<PhxRef, (Arc<str>, Entry)>,
    leaves: Metas,
}

impl Changes {
    pub(super) fn joined(&mut self, topic: &Arc<str>, key: &Arc<str>, entry: Entry) {
        let joins = &mut self.0.entry(topic.clone()).or_default().joins;
        joins.insert(entry.phx_ref, (key.clone(), entry));
    }

    pub(super) fn left(&mut self, topic: &Arc<str>, key: &Arc<str>, entry: Entry) {
        let of_topic = self.0.entry(topic.clone()).or_default();
        if of_topic.joins.remove(&entry.phx_ref).is_none() {
            of_topic.leaves.push(key.clone(), entry);
        }
    }

    /// The diffs, ordered by topic.
    pub(super) fn into_diffs(self) -> Vec<Diff> {
        let mut diffs: Vec<_> = self.0.into_iter().map(OfTopic::into_diff).collect();
        diffs.retain(|diff| !diff.joins.is_empty() || !diff.leaves.is_empty());
        diffs.sort_by(|a, b| a.topic.cmp(&b.topic));
        diffs
    }
}

impl OfTopic {
    fn into_diff((topic, changed): (Arc<str>, Self)) -> Diff {
        Diff {
            topic,
            joins: Metas(changed.joins.into_values().collect()),
            leaves: changed.leaves,
        }
    }
}
