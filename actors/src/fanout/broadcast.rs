//! One event for everybody on a topic.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quikapp_protocol::{Encoded, Payload, Vsn};
use quikapp_storage::Seq;
use tokio::time::Instant;

/// An event on its way to all subscribers of a topic, shared between them.
#[derive(Debug)]
pub struct Broadcast {
    topic: Arc<str>,
    alias: Option<Arc<str>>,
    event: Box<str>,
    payload: Payload,
    seq: Option<Seq>,
    /// Under the topic and under its alias, each for V1 and V2. Filled by the first subscriber
    /// that needs it; `None` inside where the broadcast has no form (bytes for V1).
    encoded: [OnceLock<Option<Encoded>>; 4],
    /// When it was published, if its way is timed.
    published: OnceLock<Instant>,
}

impl Broadcast {
    /// An event with its payload, for everyone on `topic`.
    pub fn new(topic: impl Into<Arc<str>>, event: impl Into<Box<str>>, payload: Payload) -> Self {
        Self {
            topic: topic.into(),
            alias: None,
            event: event.into(),
            payload,
            seq: None,
            encoded: Default::default(),
            published: OnceLock::new(),
        }
    }

    /// Gives the broadcast its place in the log of its topic: channels that follow the log drop
    /// what they have seen and fill holes before they pass it on.
    #[must_use]
    pub fn with_seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    /// Names a second topic under which the same broadcast is often written (`conversation:<id>`
    /// for `chat:<id>`), so that it too is encoded only once.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<Arc<str>>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// The topic it was published on.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The other name of the topic.
    pub fn alias(&self) -> Option<&Arc<str>> {
        self.alias.as_ref()
    }

    /// The event name.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// What it carries.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Its place in the log of the topic, if it has one.
    pub fn seq(&self) -> Option<Seq> {
        self.seq
    }

    /// The frame for a subscriber that speaks `vsn` and knows the topic as `topic`: shared where
    /// that is the topic or its alias, made for this subscriber alone otherwise. Nothing if it
    /// cannot be said so: V1 has no binary messages.
    pub fn encoded_as(&self, topic: &str, vsn: Vsn) -> Option<Cow<'_, Encoded>> {
        let place = match &self.alias {
            _ if *topic == *self.topic => 0,
            Some(alias) if *topic == **alias => 2,
            _ => return self.encode(topic, vsn).map(Cow::Owned),
        };
        let place = &self.encoded[place + usize::from(vsn == Vsn::V2)];
        let frame = place.get_or_init(|| self.encode(topic, vsn));
        frame.as_ref().map(Cow::Borrowed)
    }

    fn encode(&self, topic: &str, vsn: Vsn) -> Option<Encoded> {
        let broadcast = quikapp_protocol::Broadcast {
            topic,
            event: &self.event,
            payload: &self.payload,
        };
        let encoded = broadcast.encode(vsn);
        if let Err(error) = &encoded {
            tracing::debug!(topic, event = &*self.event, %error, "broadcast not encodable");
        }
        encoded.ok()
    }

    /// How long ago it was published: of one publication in many, so that nobody reads a clock for
    /// every delivery.
    pub fn timed(&self) -> Option<Duration> {
        self.published.get().map(Instant::elapsed)
    }

    /// It is published now, and its way is timed.
    pub(super) fn time(&self) {
        // Published twice, it is timed from the first time on.
        let _ = self.published.set(Instant::now());
    }

    /// What it counts against an outbox's byte bound. The bytes are shared, but each slow reader
    /// keeps them alive.
    pub(super) fn weight(&self) -> usize {
        self.topic.len() + self.event.len() + self.payload.as_bytes().len()
    }
}
