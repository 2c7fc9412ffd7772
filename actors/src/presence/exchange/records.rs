//! Entries as what is kept of a shard: one record each, named by the operation that made it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use quikapp_storage::{Advance, Kept};

use super::{Frame, ReplicaId};
use crate::presence::{Delta, Entry, Op, PhxRef, Snapshot};

type Record = (Arc<str>, Arc<str>, Entry);

/// The step from where a delta begins to where it ends.
pub(super) fn advance(delta: Delta) -> serde_json::Result<Advance> {
    let removes = delta.ops.iter().map(|op| op.removes);
    let removed: HashSet<u64> = removes.filter(|clock| *clock != 0).collect();
    let mut added = Vec::new();
    for op in &delta.ops {
        // What comes and goes within the step is not written at all.
        if let Some(entry) = entry_of(delta.replica, op).filter(|_| !removed.contains(&op.clock)) {
            added.push((op.clock, write(&(&op.topic, &op.key, entry))?));
        }
    }
    let mut removed: Vec<u64> = removed.into_iter().filter(|at| *at <= delta.from).collect();
    removed.sort_unstable();
    Ok(Advance {
        replica: delta.replica.0,
        from: delta.from,
        to: delta.to,
        removed,
        added,
        frame: write(&Frame::News(delta))?,
    })
}

/// Everything of a replica, to be kept.
pub(super) fn keep(snapshot: &Snapshot) -> serde_json::Result<Kept> {
    let entries = snapshot.entries.iter();
    let records = entries.map(|record| Ok((record.2.phx_ref.clock, write(record)?)));
    Ok(Kept {
        clock: snapshot.clock,
        records: records.collect::<serde_json::Result<_>>()?,
    })
}

/// What is kept of a replica, as a snapshot.
pub(super) fn snapshot(replica: ReplicaId, kept: &Kept) -> serde_json::Result<Snapshot> {
    let records = kept.records.iter();
    let entries = records.map(|(_, record)| serde_json::from_slice::<Record>(record));
    Ok(Snapshot {
        replica,
        clock: kept.clock,
        entries: entries.collect::<serde_json::Result<_>>()?,
    })
}

pub(super) fn write<T: serde::Serialize>(value: &T) -> serde_json::Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from)
}

fn entry_of(replica: ReplicaId, op: &Op) -> Option<Entry> {
    let clock = op.clock;
    Some(Entry {
        phx_ref: PhxRef { replica, clock },
        prev: op.removes,
        meta: op.adds.clone()?,
    })
}
