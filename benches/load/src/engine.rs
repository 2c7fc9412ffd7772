//! Carries out a plan: worker threads that each serve thousands of sockets, and the phases that
//! they go through together.

mod connection;
mod poll;
mod shared;
mod stream;
mod worker;

use serde::{Deserialize, Serialize};

pub(crate) use shared::{Shared, Totals};
pub(crate) use worker::{Crew, PartPlan, SocketPlan, Worker};

/// What a run goes through. Later phases are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// All sockets connect and join.
    Connect,
    /// Messages flow, and do not count yet.
    Warmup,
    /// What happens now is measured.
    Measure,
    /// Nothing more is sent; what is under way arrives.
    Drain,
    /// It is over.
    Done,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Connect,
        Self::Warmup,
        Self::Measure,
        Self::Drain,
        Self::Done,
    ];

    /// Messages are sent.
    pub(crate) fn is_playing(self) -> bool {
        matches!(self, Self::Warmup | Self::Measure)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Warmup => "warm-up",
            Self::Measure => "measure",
            Self::Drain => "drain",
            Self::Done => "done",
        })
    }
}
