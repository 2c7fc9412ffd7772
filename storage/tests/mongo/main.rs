//! The log in MongoDB against the promises of every adapter, and what is its own: what a crash
//! between two writes leaves, two sequencers on one conversation, and mutants that must be caught.
//!
//! Needs `TEST_MONGODB_URL` (see `scripts/backends`), else says that it was skipped, which
//! `TEST_REQUIRE_BACKENDS=1` makes a failure. Each test has a database of its own.
#![allow(clippy::unwrap_used)]

mod backlog;
mod conformance;
mod crash;
mod faults;
mod mutants;
mod schema;
mod sequencers;
mod support;
#[path = "../../../tests/support/toxiproxy.rs"]
mod toxiproxy;
