//! The embedded store against the promises of every adapter, and what is its own: two processes
//! on one directory, kill -9, a disk that fails.
#![allow(clippy::unwrap_used)]

mod conformance;
mod support;
