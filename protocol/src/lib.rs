//! Phoenix Channels on the wire: serializers V1 and V2, binary frames, topics.
//!
//! A leaf: no async, no sockets. Bytes come in as one whole WebSocket (or long-poll) message and
//! leave as one. Payloads are carried as the JSON text they arrived as, validated but not parsed
//! into a tree, and everything decoded is a slice of the frame it came in. Source:
//! `Phoenix.Socket.V1.JSONSerializer`, `Phoenix.Socket.V2.JSONSerializer`.
//!
//! ```
//! use quikapp_protocol::{Payload, Reply, Status, Vsn, decode_text};
//!
//! let message = decode_text(Vsn::V2, r#"["1","7","room:x","ping",{}]"#.into())?;
//! let reply = Reply {
//!     join_ref: &message.join_ref,
//!     msg_ref: &message.msg_ref,
//!     topic: &message.topic,
//!     status: &Status::Ok,
//!     response: &Payload::empty_object(),
//! };
//! assert_eq!(
//!     reply.encode(Vsn::V2)?.as_bytes(),
//!     br#"["1","7","room:x","phx_reply",{"response":{},"status":"ok"}]"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod binary;
pub mod client;
mod decode;
mod encode;
mod json;
mod message;
mod opaque;
mod payload;

pub use decode::{DecodeError, decode_binary, decode_text};
pub use encode::{Broadcast, EncodeError, Push, Reply};
pub use json::{JsonError, JsonErrorKind, MAX_DEPTH, write_json_string};
pub use message::{Encoded, Message, Status, Vsn};
pub use opaque::{Event, Ref, Topic};
pub use payload::{Json, Payload, PayloadError};
