//! What sockets count. The handles are taken once, so that counting costs an atomic addition.

use std::fmt;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

pub(crate) struct Metrics {
    pub(crate) joined: Gauge,
    pub(crate) joins: Counter,
    pub(crate) events: Counter,
    pub(crate) leaves: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) sent_broadcasts: Counter,
    pub(crate) sent_direct: Counter,
    pub(crate) delivery: Histogram,
    pub(crate) panics: Counter,
    pub(crate) rate_limited: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) gap_reads: Counter,
    pub(crate) outbox_depth: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let received =
            |kind: &'static str| counter!("quikapp_messages_received_total", "type" => kind);
        Self {
            joined: gauge!("quikapp_joined_channels"),
            joins: received("join"),
            events: received("event"),
            leaves: received("leave"),
            heartbeats: received("heartbeat"),
            undecodable: received("undecodable"),
            sent_broadcasts: counter!("quikapp_messages_sent_total", "type" => "broadcast"),
            sent_direct: counter!("quikapp_messages_sent_total", "type" => "direct"),
            delivery: histogram!("quikapp_delivery_seconds"),
            panics: counter!("quikapp_channel_panics_total"),
            rate_limited: counter!("quikapp_refused_total", "reason" => "rate_limited"),
            overloaded: counter!("quikapp_refused_total", "reason" => "overloaded"),
            gap_reads: counter!("quikapp_gap_reads_total"),
            outbox_depth: histogram!("quikapp_outbox_depth"),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
