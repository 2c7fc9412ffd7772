//! The one binary: reads the command line and the configuration, and wires the crates together.

mod cli;
mod node;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

/// See docs/adr/0025-allocator.md.
#[cfg(all(
    feature = "mimalloc",
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static")
))]
use mimalloc as _;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quikapp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => {
            #[cfg(debug_assertions)]
            if let Some(mutant) = args.mutant {
                mutant.activate();
            }
            node::serve(&args.into())?;
        }
        Command::Token(args) => tools::token(&args)?,
        Command::CheckConfig(args) => tools::check_config(&args.into())?,
        Command::Backup(args) => tools::backup(&args)?,
        Command::Restore(args) => tools::restore(&args)?,
        Command::Migrate(args) => tools::migrate(&args.into())?,
        Command::RotateSecret(args) => tools::rotate_secret(&args)?,
        Command::Health(args) => return tools::health(&args),
        Command::Tree(args) => tools::tree::show(&args)?,
        Command::Erase(args) => tools::erase::run(&args)?,
        Command::Release(args) => tools::release::run(&args)?,
        Command::Bench(args) => return tools::bench(&args),
        Command::CheckHistory(args) => return Ok(tools::check_history(&args)),
        Command::Rebuild(args) => tools::rebuild(&args)?,
        Command::Version => tools::version(),
    }
    Ok(ExitCode::SUCCESS)
}
