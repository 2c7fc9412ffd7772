//! The core by script, and several replicas under a transport that loses, repeats and reorders.
#![allow(clippy::unwrap_used)]

mod exchange;
mod roll;
mod script;
mod simulation;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Meta, Metas, Replica, ReplicaId, Tracker};
use crate::fanout::{ConnectionId, SlotKey};

fn replica(id: u64) -> Replica {
    Replica::new(ReplicaId(id), 1024)
}

fn tracker(connection: u64, slot: u32) -> Tracker {
    Tracker {
        connection: ConnectionId(connection),
        slot: SlotKey(slot),
    }
}

fn text(text: &str) -> Arc<str> {
    text.into()
}

fn meta(members: Value) -> Meta {
    match members {
        Value::Object(members) => Meta::new(members),
        _ => Meta::default(),
    }
}

fn wire(metas: &Metas) -> Value {
    metas.to_payload().parse().unwrap()
}

/// `{key: [metas without refs]}`
fn plain(metas: &Metas) -> Value {
    let mut plain = json!({});
    for (key, entry) in metas.iter() {
        let of_key = &mut plain[key];
        if of_key.is_null() {
            *of_key = json!([]);
        }
        let meta = Value::Object(entry.meta.to_map());
        of_key.as_array_mut().unwrap().push(meta);
    }
    plain
}
