//! The edge of a node: sockets, channels, authentication, authorization and REST.

pub mod auth;
pub mod channel;
pub mod channels;
pub mod endpoint;
pub mod errors;
pub mod health;
mod http_client;
mod longpoll;
pub mod page;
pub mod policy;
mod preferences;
mod rate;
pub mod rest;
mod rooms;
pub mod schema;
pub mod socket;
pub mod telemetry;
pub mod testing;
pub mod ws;

pub use http_client::http_client;
