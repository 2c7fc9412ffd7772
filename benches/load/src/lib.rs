//! The load generator behind `quikapp bench`.
//!
//! It speaks Phoenix V2 to a running server, checks that everything arrived exactly once and in
//! order, and reports what that cost. A run that finds a loss, a duplicate or a refusal fails,
//! whatever its figures. Over loopback only: addresses of 127.0.0.0/8 stand for many clients.

mod frames;
mod identity;
mod meter;
mod report;
mod scenario;
mod socket;
mod target;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};

pub use report::{Figure, Report};
pub use scenario::{chat, fanout, idle, pingpong};

use identity::Identities;
use meter::Meter;
use target::Target;

/// What to run against which server.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// The scenario.
    #[command(subcommand)]
    pub scenario: Scenario,
    /// Base URL of the server.
    #[arg(long, global = true, default_value = "http://127.0.0.1:4000")]
    pub url: String,
    /// The secret that signs the server's tokens (`secret` in its data directory). Without it,
    /// people sign in as guests, which only a server in development mode allows.
    #[arg(long, global = true, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Process id of the server, to read its CPU time and memory from /proc.
    #[arg(long, global = true)]
    pub pid: Option<u32>,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Seconds after which the run has failed.
    #[arg(long, global = true, default_value_t = 300, value_name = "SECONDS")]
    pub deadline: u64,
}

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Memory of joined sockets that do nothing.
    Idle(idle::Options),
    /// One message at a time to all members of a room.
    Fanout(fanout::Options),
    /// Persisted messages, each sender waiting for its acknowledgement.
    Chat(chat::Options),
    /// Time from one person to another and back.
    Pingpong(pingpong::Options),
}

/// What every scenario works with.
pub(crate) struct Bench {
    pub(crate) target: Target,
    pub(crate) identities: Identities,
    pub(crate) meter: Meter,
}

/// Runs a scenario.
///
/// # Errors
/// When the server cannot be reached, refuses something, loses, repeats or reorders a message, or
/// when the deadline passes.
pub async fn run(args: &Args) -> anyhow::Result<Report> {
    let target = Target::parse(&args.url)?;
    let identities = Identities::new(&target, args.secret_file.as_deref())?;
    let meter = Meter::new(args.pid)?;
    let bench = Bench {
        target,
        identities,
        meter,
    };
    let scenario = async {
        match &args.scenario {
            Scenario::Idle(options) => idle::run(&bench, options).await,
            Scenario::Fanout(options) => fanout::run(&bench, options).await,
            Scenario::Chat(options) => chat::run(&bench, options).await,
            Scenario::Pingpong(options) => pingpong::run(&bench, options).await,
        }
    };
    tokio::time::timeout(Duration::from_secs(args.deadline), Box::pin(scenario))
        .await
        .context("the deadline passed")?
}

/// Runs a scenario and prints its report: what `quikapp bench` does.
///
/// # Errors
/// As [`run`].
pub async fn execute(args: &Args) -> anyhow::Result<()> {
    let report = run(args).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
