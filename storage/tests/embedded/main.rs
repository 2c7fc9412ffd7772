//! The embedded store against the promises of every adapter, and what is its own: its files, two
//! processes on one directory, kill -9, a disk that fails.
#![allow(clippy::unwrap_used)]

mod backup;
mod conformance;
mod crash;
#[path = "../../../tests/support/disk.rs"]
mod disk;
mod faults;
mod files;
mod support;
