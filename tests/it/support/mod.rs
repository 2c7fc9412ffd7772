//! The real binary in a directory of its own, and clients for it.

mod backends;
mod client;
mod load;
mod powercut;
mod rest;
mod server;

pub(crate) use backends::{Addresses, Layout, OwnServers, PASSWORD, Road, Site, with_site};
pub(crate) use client::Client;
pub(crate) use load::{Load, Plan};
pub(crate) use powercut::{JumpingClock, PowerCut};
pub(crate) use rest::{Guest, Rest};
pub(crate) use server::{Server, quikapp, run, said};

use std::{future::Future, time::Duration};

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}
