//! The core by script, and the handle over a store in memory.
#![allow(clippy::unwrap_used)]

mod handle;
mod script;

use std::sync::Arc;

use quikapp_storage::{DeviceId, Person, Profile, Timestamp, UserId, WorkspaceId};

use super::CustomStatus;
use crate::{
    fanout::{ConnectionId, SlotKey},
    presence::Tracker,
};

fn person(user: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: UserId::new(user).unwrap(),
    }
}

fn tracker(connection: u64, slot: u32) -> Tracker {
    Tracker {
        connection: ConnectionId(connection),
        slot: SlotKey(slot),
    }
}

fn device(id: &str) -> Option<DeviceId> {
    DeviceId::new(id).ok()
}

fn profile(user: &str, presence: &str) -> Profile {
    Profile {
        person: person(user),
        name: None,
        last_seen: Some(Timestamp(5)),
        presence: Some(presence.into()),
        last_seen_public: true,
    }
}

fn busy_with(text: &str, expires_at: Option<Timestamp>) -> CustomStatus {
    CustomStatus {
        text: text.into(),
        emoji: None,
        expires_at,
    }
}

fn topic(name: &str) -> Arc<str> {
    name.into()
}
