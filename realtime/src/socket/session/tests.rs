//! Behaviours of a session, over the in-memory client.

#![allow(clippy::unwrap_used)]

mod app;
mod basics;
