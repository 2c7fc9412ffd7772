//! WebSocket framing (RFC 6455) and its compression extension (RFC 7692), the server's side.
//!
//! No sockets and no async: a [`Decoder`] is fed with bytes and yields [`Event`]s, and the encoder
//! appends frames to a buffer. Why not a library: see docs/adr/0002-websocket-framing.md.
//!
//! This is a `mod.rs` so that the fuzz target can include the module by path, without the crate
//! around it.

mod decoder;
mod deflate;
mod encoder;
mod error;
mod header;
mod mask;

pub use decoder::{Close, Decoder, Event};
pub use deflate::{CompressionPolicy, Deflate, compress};
pub use encoder::{FrameHeader, OpCode, close_frame, write_close, write_frame, write_message};
pub use error::ProtocolError;
