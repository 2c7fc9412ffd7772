//! Phoenix Channels on the wire: serializers V1 and V2, binary frames, topics.
//!
//! A leaf: no async, no sockets. Bytes come in as one whole WebSocket (or long-poll) message and
//! leave as one. Payloads are carried as the raw JSON text they arrived as, validated but not
//! parsed into a tree. Source: `Phoenix.Socket.V1.JSONSerializer`, `V2.JSONSerializer`.

mod message;

pub use message::{Encoded, Message, Payload, Ref, Status, Vsn};
