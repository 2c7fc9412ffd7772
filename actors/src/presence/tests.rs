//! The core by script, and several replicas under a transport that loses, repeats and reorders.
#![allow(clippy::unwrap_used)]

mod exchange;
mod roll;
mod script;
mod simulation;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Meta, Metas, Presence, Replica, ReplicaId, Tracker};
use crate::{
    fanout::{ConnectionId, Fanout, SlotKey},
    gossip_kit::{End, Wire},
    supervision::{Supervisor, SupervisorSpec},
};

/// Within it nodes that hear each other say what is new; what was lost; that one is gone.
const PERIOD: Duration = Duration::from_millis(600);
const BEAT: Duration = Duration::from_millis(2600);
const BOUND: Duration = Duration::from_secs(10);

/// A node that shares presence.
struct Node {
    presence: Presence,
    tree: Supervisor,
    end: End,
}

impl Node {
    fn on(wire: &Wire, id: u64) -> Self {
        let presence = Presence::new(Fanout::new(), ReplicaId(id << 8));
        let tree = Supervisor::start(SupervisorSpec::new("node"));
        let end = wire.end();
        presence.share_under(&tree, &end.shared());
        Self {
            presence,
            tree,
            end,
        }
    }
}

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
