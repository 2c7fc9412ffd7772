//! The types both serializers read and write.

use bytes::Bytes;

/// Which serializer a socket speaks, chosen by the `vsn` parameter at connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vsn {
    /// `~> 1.0.0`: JSON objects.
    V1,
    /// `~> 2.0.0`: JSON arrays, and binary frames.
    V2,
}

/// A `ref` or `join_ref`: opaque JSON that is echoed as it came. Clients send strings or null;
/// numbers and objects are legal and kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ref(pub(crate) Option<Bytes>);

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// JSON text, known to be valid. Any JSON value, usually an object.
    Json(Bytes),
    /// Bytes of a binary frame.
    Binary(Bytes),
}

/// One message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The join this belongs to.
    pub join_ref: Ref,
    /// What a reply will echo.
    pub msg_ref: Ref,
    /// The topic; `None` when it was not a string, which is simply an unmatched topic. The raw
    /// JSON stands in `raw_topic` then, to be echoed.
    pub topic: String,
    /// The event name.
    pub event: String,
    /// The payload.
    pub payload: Payload,
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

/// One encoded message, ready to be framed by a transport. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// UTF-8 text.
    Text(Bytes),
    /// A binary frame (V2 only).
    Binary(Bytes),
}
