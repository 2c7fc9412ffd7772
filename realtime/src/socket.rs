//! Sockets: one task per connection, whatever carries it.
//!
//! A [`Mount`] is a place where clients connect: a [`SocketHandler`] that knows who they are, and
//! a router of channels. [`Mount::connect`] makes a [`Session`], which takes whole messages in and
//! hands whole messages out; WebSocket and long-poll are transports around it.

mod bucket;
mod connect;
mod connections;
mod limits;
mod link;
mod metrics;
mod mount;
mod scope;
mod session;
mod websocket;

pub use connect::{ConnectInfo, ConnectRefusal, Connected, SocketHandler, Transport};
pub use connections::{Connections, DrainOptions};
pub use limits::Limits;
pub use link::Hub;
pub use mount::{LongPollOptions, Mount, MountOptions};
pub use session::{FrameSink, Inbound, Session};
pub use websocket::{ClientStream, serve_websocket};

pub(crate) use connections::Registered;
pub(crate) use link::Link;
pub(crate) use scope::Assigned;
pub(crate) use websocket::poll_read_with;
