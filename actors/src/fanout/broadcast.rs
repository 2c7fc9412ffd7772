//! One event for everybody on a topic.

use std::sync::Arc;

use quikapp_protocol::Payload;
use quikapp_storage::Seq;

/// An event on its way to all subscribers of a topic, shared between them.
#[derive(Debug)]
pub struct Broadcast {
    topic: Arc<str>,
    alias: Option<Arc<str>>,
    event: Box<str>,
    payload: Payload,
    seq: Option<Seq>,
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

    /// What it counts against an outbox's byte bound. The bytes are shared, but each slow reader
    /// keeps them alive.
    pub(super) fn weight(&self) -> usize {
        self.topic.len() + self.event.len() + self.payload.as_bytes().len()
    }
}
