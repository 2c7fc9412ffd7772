//! Behaviours of a session, over the in-memory client.

#![allow(clippy::unwrap_used)]

mod app;
mod basics;
mod isolation;
mod lifecycle;
mod limits;
mod properties;
mod sequenced;
mod sizes;
