//! The languages that servers speak: what a client says to connect, to join and to publish, and
//! how it understands what it hears. Nothing here touches a socket.

mod centrifuge;
mod phoenix;
mod raw;
mod socketio;
mod template;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use template::{Filling, Template, fill};

use crate::{
    clock::{Nanos, SECOND},
    identity::Identity,
};

/// References below this are the generator's own; publications count from here.
pub(crate) const FIRST_REFERENCE: u64 = 16;
/// The reference of the join.
pub(crate) const JOIN: u64 = 2;
/// The reference of heartbeats.
const HEARTBEAT: u64 = 3;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// Phoenix Channels, serializer 2.0.
    #[default]
    Phoenix,
    /// socket.io (engine.io 4) over WebSocket. Clients join by an acknowledged event `join` with
    /// the room's name, and publish by an event with the room's name and a text.
    Socketio,
    /// centrifuge's and Centrifugo's JSON protocol.
    Centrifuge,
    /// No protocol: each path is a room, and what one sends everyone in it gets.
    Raw,
}

impl Language {
    pub(crate) fn speaker(self) -> &'static dyn Protocol {
        match self {
            Self::Phoenix => &phoenix::Phoenix,
            Self::Socketio => &socketio::SocketIo,
            Self::Centrifuge => &centrifuge::Centrifuge,
            Self::Raw => &raw::Raw,
        }
    }
}

/// One way to talk to a server.
pub(crate) trait Protocol: Send + Sync {
    /// Path and query of the WebSocket.
    fn default_path(&self) -> &'static str;

    /// When the client introduces itself.
    fn introduction(&self) -> Introduction;

    /// What it says then; answered by [`Incoming::Ready`].
    fn introduce(&self, _who: &Identity) -> String {
        String::new()
    }

    /// What keeps an idle connection alive, where that is the client's duty.
    fn heartbeat(&self) -> Option<String> {
        None
    }

    /// Prepares what is said and heard on a topic.
    fn channel(&self, talk: &Talk) -> Channel;

    /// Understands one WebSocket message, which may say several things.
    fn read(
        &self,
        channel: &Channel,
        text: &[u8],
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> anyhow::Result<()>;
}

/// When a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Introduction {
    /// In the request for the WebSocket.
    InRequest,
    /// First of all.
    AtOnce,
    /// After [`Incoming::Invitation`].
    WhenInvited,
}

/// What clients do on a topic, before it is put into a protocol's words. `{content}`, `{uuid}`
/// and `{ref}` are left open in `payload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) topic: String,
    /// The event that is sent.
    pub(crate) event: String,
    /// The event under which it arrives.
    pub(crate) arrives_as: String,
    pub(crate) payload: String,
    /// Parameters of the join.
    pub(crate) join: String,
    /// Publications are answered.
    pub(crate) acknowledged: bool,
    /// Deliveries carry the `seq` of a log.
    pub(crate) sequenced: bool,
}

/// A topic in the words of a protocol.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) topic: String,
    arrives_as: String,
    sequenced: bool,
    /// How deliveries begin, to the byte, where the server writes as expected.
    delivery: Vec<u8>,
    /// Likewise what stands between the number of what is answered and the answer.
    answer: Vec<u8>,
    /// Joins, where the protocol has that.
    pub(crate) join: Option<String>,
    /// Publishes.
    pub(crate) publish: Template,
}

/// What a server said.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The server waits for the introduction.
    Invitation,
    /// The introduction was accepted.
    Ready,
    /// The answer to what carried this reference; why it was refused, otherwise.
    Answer {
        reference: u64,
        outcome: Result<Answer, String>,
    },
    /// A message on the topic.
    Delivery { content: &'a [u8], seq: Option<u64> },
    /// Who is there: all of it.
    PresenceState(&'a RawValue),
    /// Who is there: what changed.
    PresenceDiff(&'a RawValue),
    /// The server wants to hear this.
    Demand(&'static str),
    /// The server is done with this client.
    Ended(String),
    /// Something else that it may say.
    Other(String),
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// The place of a message in its log.
    pub(crate) seq: Option<u64>,
}

/// When a refused join may be tried again, where the server says so: `retry_after_ms` in the JSON
/// of its answer.
pub(crate) fn retry_after(refusal: &str) -> Option<Nanos> {
    #[derive(Deserialize)]
    struct Hint {
        retry_after_ms: u64,
    }
    let json = &refusal[refusal.find('{')?..];
    let Hint { retry_after_ms } = serde_json::from_str(json).ok()?;
    Some(retry_after_ms.saturating_mul(SECOND / 1000))
}

/// The beginning of what was heard, for messages to people.
fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests;
