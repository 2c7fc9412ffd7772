//! What both serializers read and write.

use bytes::Bytes;
use bytestring::ByteString;

use crate::{Event, Payload, Ref, Topic};

/// Which serializer a socket speaks, chosen by the `vsn` parameter at connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vsn {
    /// `~> 1.0.0`: JSON objects.
    V1,
    /// `~> 2.0.0`: JSON arrays, and binary frames.
    V2,
}

/// One message from a client. Its parts are slices of the frame and keep it alive: `detached()`
/// what is to outlive the handling of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The join this belongs to.
    pub join_ref: Ref,
    /// What a reply will echo.
    pub msg_ref: Ref,
    /// Which channel it is for. Not a string: nobody's channel, an unmatched topic.
    pub topic: Topic,
    /// The event name. Not a string: no handler can know it.
    pub event: Event,
    /// The payload.
    pub payload: Payload,
}

impl Message {
    /// The bytes of its parts: what it costs to keep it waiting.
    pub fn size(&self) -> usize {
        let names = self.join_ref.size() + self.msg_ref.size();
        names + self.topic.size() + self.event.size() + self.payload.as_bytes().len()
    }
}

/// The status of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `ok`
    Ok,
    /// `error`
    Error,
    /// Anything else a handler names.
    Other(String),
}

impl Status {
    /// The status as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Status {
    fn from(name: &str) -> Self {
        match name {
            "ok" => Self::Ok,
            "error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One encoded message, ready to be framed by a transport. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A text frame.
    Text(ByteString),
    /// A binary frame (V2 only).
    Binary(Bytes),
}

impl Encoded {
    /// The frame's payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The frame's payload, shared.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text of a text frame.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Whether the transport must send it as a text frame.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Length of the frame's payload in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is no payload at all.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}
