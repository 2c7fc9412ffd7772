//! What follows from a change.

use std::sync::Arc;

use quikapp_storage::{Person, Timestamp, UserId};

use super::{CustomStatus, DeviceSeen, Status};
use crate::presence::{Meta, Tracker};

/// Who learns of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publicly {
    /// The workspace, and the presence topics that the person is on.
    Everyone {
        /// Those topics, each once.
        topics: Vec<Arc<str>>,
    },
    /// Only the person.
    Nobody,
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The person has come, for all to see.
    Online {
        /// Who.
        person: Person,
        /// What they show.
        status: Status,
    },
    /// The person has gone, for all to see.
    Offline {
        /// Who.
        person: Person,
        /// When, if everyone may know.
        last_seen: Option<Timestamp>,
        /// The presence topics they are or were on.
        topics: Vec<Arc<str>>,
    },
    /// The person chose another status. They are told in any case.
    StatusChanged {
        /// Who.
        person: Person,
        /// What they chose.
        status: Status,
        /// Who else is told.
        publicly: Publicly,
    },
    /// The person's words changed. They are told in any case.
    CustomChanged {
        /// Who.
        person: Person,
        /// The words.
        custom: Option<CustomStatus>,
        /// Who else is told.
        publicly: Publicly,
    },
    /// The person is connected with other devices than before. Only they are told.
    DevicesChanged {
        /// Who.
        person: Person,
        /// The devices.
        devices: Vec<DeviceSeen>,
    },
    /// Show a channel on a presence topic.
    Track {
        /// Which.
        tracker: Tracker,
        /// Where.
        topic: Arc<str>,
        /// Under which key.
        user: UserId,
        /// With what.
        meta: Meta,
    },
    /// Show something else for it.
    Update {
        /// Which.
        tracker: Tracker,
        /// Where.
        topic: Arc<str>,
        /// Under which key.
        user: UserId,
        /// With what.
        meta: Meta,
    },
    /// Show it no longer.
    Untrack {
        /// Which.
        tracker: Tracker,
        /// Where.
        topic: Arc<str>,
        /// Under which key.
        user: UserId,
    },
    /// Write down when the person was last here.
    KeepLastSeen {
        /// Who.
        person: Person,
        /// When.
        at: Timestamp,
    },
}
