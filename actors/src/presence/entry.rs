//! One presence: who wrote it, and what it says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fanout::{ConnectionId, SlotKey};

/// A process that tracks presences. Fresh at every start, so that a restarted node is another
/// replica and can never be confused with what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub u64);

/// Who tracks: one channel of one connection of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tracker {
    /// The connection.
    pub connection: ConnectionId,
    /// The channel on it.
    pub slot: SlotKey,
}

/// Names one entry: which replica made it, with which of its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PhxRef {
    /// The replica.
    pub replica: ReplicaId,
    /// The operation, counted from 1.
    pub clock: u64,
}

impl std::fmt::Display for PhxRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:x}", self.replica.0, self.clock)
    }
}

/// What a presence says: the members of a JSON object, kept as text. `phx_ref` and `phx_ref_prev`
/// belong to the server and are dropped from what a caller hands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meta(Arc<str>);

impl Meta {
    /// Takes the members of an object.
    pub fn new(mut members: Map<String, Value>) -> Self {
        members.remove("phx_ref");
        members.remove("phx_ref_prev");
        let text = Value::Object(members).to_string();
        Self(text[1..text.len() - 1].into())
    }

    /// Text that is of no object: no client is shown it.
    pub(super) fn of_text(text: &str) -> Self {
        Self(text.into())
    }

    /// Members of the object without its braces; empty for `{}`.
    pub fn members(&self) -> &str {
        &self.0
    }

    /// The meta as an object again.
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_str(&format!("{{{}}}", self.0)).unwrap_or_default()
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self("".into())
    }
}

/// One meta of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub phx_ref: PhxRef,
    /// The operation of the same replica that made the entry which this one replaced; 0 for none.
    pub prev: u64,
    /// What it says.
    pub meta: Meta,
}

impl Entry {
    /// Writes the entry as the object that clients see.
    pub(super) fn write(&self, out: &mut String) {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"phx_ref\":\"{}\"", self.phx_ref);
        if self.prev != 0 {
            let prev = PhxRef {
                clock: self.prev,
                ..self.phx_ref
            };
            let _ = write!(out, ",\"phx_ref_prev\":\"{prev}\"");
        }
        if !self.meta.members().is_empty() {
            out.push(',');
            out.push_str(self.meta.members());
        }
        out.push('}');
    }
}
