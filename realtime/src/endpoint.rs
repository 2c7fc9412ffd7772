//! The listener: one port for sockets, long-poll, REST, health and metrics.
//!
//! [`Listener::bind`] takes the address first; [`Listener::serve`] accepts later. A connection
//! passes the caps of [`Admission`], optional TLS, and hyper's HTTP/1 with a header timeout. A
//! request for a socket mount is negotiated here as Phoenix does (versions, origins,
//! subprotocols, connect); everything else goes to an axum router.

mod admission;
pub(crate) mod answer;
mod client;
mod config;
pub(crate) mod connection;
mod counted;
mod handshake;
mod http1;
mod lifetime;
mod listener;
pub(crate) mod mounts;
pub(crate) mod negotiate;
mod opening;
mod origin;
mod path;
mod patience;
pub(crate) mod query;
mod refusal;
mod request_id;
mod rewound;
mod service;
mod stream;
pub(crate) mod subprotocol;
#[cfg(test)]
pub(crate) mod test_kit;
mod tls;
mod upgrade;
mod vsn;

pub use admission::{Admission, Full, Permit};
pub use client::{Client, ForwardedHeader, TrustedProxies};
pub use config::{Config, InvalidConfig, LongPollConfig, TlsConfig};
pub use listener::{BindError, Listener};
pub(crate) use origin::split_authority;
pub use origin::{InvalidOrigin, OriginPattern, OriginPolicy};
pub use request_id::RequestId;
pub use service::{Endpoint, EndpointBuilder};
pub use stream::NetStream;
pub use tls::{Tls, TlsError};
pub use vsn::negotiate as negotiate_vsn;

pub use crate::longpoll::Nodes;

#[cfg(test)]
mod tests;
