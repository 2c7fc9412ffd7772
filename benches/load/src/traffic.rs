//! What the sockets of a run do. Pure: a traffic is told what happened to its seats, and answers
//! with effects; the engine's workers carry them out. A seat is a socket of the traffic on one
//! worker, numbered from 0; it may be connected anew.

mod churn;
mod crowd;
mod inbox;
mod opening;
mod presence;
mod rooms;

use serde_json::value::RawValue;

pub(crate) use churn::Churn;
pub(crate) use crowd::{Barrier, Crowd, CrowdPlan, Waves};
pub(crate) use opening::{Opening, Pacing};
pub(crate) use presence::{Presence, PresencePlan, Stage};
pub(crate) use rooms::{Hall, Pace, RoomPlan, Rooms, RoomsPlan, SeatPlan, WARMUP_ROUNDS};

use crate::{clock::Nanos, engine::Phase, mark::Mark, protocol::Answer, record::Record};

/// The behaviour of one part of the plan on one worker.
pub(crate) trait Traffic: Send {
    /// Something happened to a seat.
    fn handle(&mut self, seat: usize, input: Input<'_>, cx: &mut Cx<'_>);

    /// Does what is due; returns when there will be more, if that is known.
    fn tick(&mut self, cx: &mut Cx<'_>) -> Option<Nanos>;

    /// How far it is.
    fn status(&self, cx: &Cx<'_>) -> Status;

    /// What it did, checked.
    fn finish(self: Box<Self>, end: End) -> Record;
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What was sent had the time to arrive.
    InTime,
    /// Before its time: whether what was under way would have come, nobody knows.
    CutShort,
}

/// The moment at which a traffic acts, and where its wishes go.
pub(crate) struct Cx<'a> {
    pub(crate) now: Nanos,
    pub(crate) phase: Phase,
    pub(crate) effects: &'a mut Vec<Effect>,
}

/// What happened to a seat.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// It is connected and has joined; it was due at `due`, and the generator itself was late by
    /// `late` when it began to connect.
    Live { due: Nanos, late: Nanos },
    /// A message came.
    Delivery { content: &'a [u8], seq: Option<u64> },
    /// A publication was answered.
    Answer {
        reference: u64,
        outcome: Result<Answer, String>,
    },
    /// Who is there: all of it.
    PresenceState(&'a RawValue),
    /// Who is there: what changed.
    PresenceDiff(&'a RawValue),
    /// The server proved that the connection lives.
    Pong,
    /// The server said something else.
    Other(String),
    /// The connection or the join was refused, perhaps with the request to come back later.
    Refused {
        why: String,
        due: Nanos,
        retry_after: Option<Nanos>,
    },
    /// The connection ended by itself.
    Gone { why: String },
}

/// What a traffic wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Connect the seat, which was due then. The generator was to do it at `at`, which is later
    /// where it had to wait: for a place, for the server, or for somebody to be there.
    Open { seat: usize, due: Nanos, at: Nanos },
    /// Disconnect it.
    Close { seat: usize },
    /// Send a message.
    Publish {
        seat: usize,
        reference: u64,
        mark: Mark,
    },
    /// Read nothing from it any more.
    Stall { seat: usize },
    /// Ask whether the connection lives; answered by [`Input::Pong`].
    Probe { seat: usize },
    /// Another worker has something to do.
    Wake { worker: usize },
}

/// How far a traffic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Status {
    /// Sockets that are connected and joined.
    pub(crate) live: usize,
    /// Messages sent and received so far, in all phases.
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// Of the main latency in the last interval, in nanoseconds.
    pub(crate) p99: u64,
    /// All seats have been connected.
    pub(crate) is_ready: bool,
    /// There is nothing more to measure.
    pub(crate) is_finished: bool,
    /// Everything that was sent has arrived, or never will.
    pub(crate) is_settled: bool,
}
