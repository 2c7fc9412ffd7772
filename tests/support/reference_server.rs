//! The reference application as a process of its own, for clients that are no Rust.
//!
//! `reference_app [--listen ADDR]` prints `listening on http://ADDR` and serves until it is told to
//! stop.

#[allow(unreachable_pub, reason = "shared with the conformance test")]
mod reference_app;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use reference_app::ReferenceApp;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let listen = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "127.0.0.1:0".to_owned(),
        (Some("--listen"), Some(address)) => address,
        _ => anyhow::bail!("usage: reference_app [--listen ADDR]"),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let app = ReferenceApp::start(listen.parse().context("an address")?).await?;
    println!("listening on http://{}", app.address());
    terminate.recv().await;
    app.stop().await
}
