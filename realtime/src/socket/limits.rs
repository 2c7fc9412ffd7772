//! What one socket may do.

use std::time::Duration;

use bytesize::ByteSize;
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
    /// Bytes of the client's events that wait for handlers, over all topics of the socket. A
    /// further event is refused with `overloaded`, unless it is the only one.
    #[schemars(with = "String")]
    pub pending_bytes: ByteSize,
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
            pending_bytes: ByteSize::mib(1),
            held_per_topic: 512,
            outbox: OutboxLimits::default(),
            write_timeout: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Checks what would leave no socket usable, or unlimited. The message names the key.
    pub fn validate(&self) -> Result<(), String> {
        let rates = [
            ("joins_per_second", self.joins_per_second),
            ("join_burst", self.join_burst),
            ("pushes_per_second", self.pushes_per_second),
            ("push_burst", self.push_burst),
        ];
        // A bucket that never holds a whole token lets nothing through. NaN fails too.
        let is_rate = |key: &str, rate: f32| match key.ends_with("_burst") {
            true => rate.is_finite() && rate >= 1.0,
            false => rate.is_finite() && rate > 0.0,
        };
        if let Some((key, rate)) = rates.into_iter().find(|(key, rate)| !is_rate(key, *rate)) {
            return Err(format!("{key}: {rate} lets nothing through, or has no end"));
        }
        let counts = [
            ("channels", self.channels == 0),
            ("pending_per_topic", self.pending_per_topic == 0),
            ("pending_bytes", self.pending_bytes.as_u64() == 0),
            ("held_per_topic", self.held_per_topic == 0),
            ("outbox.messages", self.outbox.messages == 0),
            ("outbox.bytes", self.outbox.bytes == 0),
            ("write_timeout", self.write_timeout.is_zero()),
        ];
        match counts.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(format!("{key}: must be more than zero")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_leave_nothing_or_no_end_are_refused() {
        assert_eq!(Limits::default().validate(), Ok(()));
        let mut refused = Vec::new();
        let mut check = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            refused.push(limits.validate().err().unwrap_or_default());
        };
        check(|limits| limits.joins_per_second = 0.0);
        check(|limits| limits.pushes_per_second = f32::INFINITY);
        check(|limits| limits.join_burst = 0.5);
        check(|limits| limits.push_burst = f32::NAN);
        check(|limits| limits.channels = 0);
        check(|limits| limits.write_timeout = Duration::ZERO);
        let keys: Vec<_> = refused.iter().map(|text| text.split(':').next()).collect();
        let expected = [
            "joins_per_second",
            "pushes_per_second",
            "join_burst",
            "push_burst",
            "channels",
            "write_timeout",
        ];
        assert_eq!(keys, expected.map(Some));
    }
}
