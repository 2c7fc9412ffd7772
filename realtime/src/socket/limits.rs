//! What one socket may do.

use std::time::Duration;

use quikapp_actors::fanout::OutboxLimits;
use serde::{Deserialize, Serialize};

/// Limits of one socket. Exceeding a rate or a queue of a topic is answered with an error reply;
/// exceeding the outbox closes the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Topics joined at a time; a further join is refused with `too many channels joined`.
    pub channels: u16,
    /// Joins per second, on average.
    pub joins_per_second: f32,
    /// Joins that may come at once.
    pub join_burst: f32,
    /// Events per second, on average, heartbeats included.
    pub pushes_per_second: f32,
    /// Events that may come at once.
    pub push_burst: f32,
    /// Events of one topic that wait for its handler; a further one is refused with `overloaded`.
    pub pending_per_topic: u16,
    /// Broadcasts and notes that wait for one topic's handler or join. Beyond it the topic ends
    /// with an error, and the client joins again.
    pub held_per_topic: u16,
    /// What may wait to be sent before the client counts as a slow consumer (close code 1013).
    pub outbox: OutboxLimits,
    /// A client that takes nothing for this long is cut.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 100,
            joins_per_second: 50.0,
            join_burst: 200.0,
            pushes_per_second: 200.0,
            push_burst: 1000.0,
            pending_per_topic: 128,
            held_per_topic: 512,
            outbox: OutboxLimits::default(),
            write_timeout: Duration::from_secs(15),
        }
    }
}
