//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use quikapp_config::Flags;

/// An open real-time chat backend that speaks Phoenix Channels.
#[derive(Debug, Parser)]
#[command(name = "quikapp", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Mint an access token.
    Token(TokenArgs),
    /// Read and check a configuration, and print what is in force.
    CheckConfig(ServeArgs),
    /// Copy the embedded store into a new file, while servers use it.
    Backup(CopyArgs),
    /// Put a copy into a data directory that has no store yet.
    Restore(CopyArgs),
    /// Bring the schemas of all stores that the configuration names up to date, and end. A server
    /// does the same when it starts.
    Migrate(ServeArgs),
    /// Put a new secret in place; tokens signed with the ones before stay valid.
    RotateSecret(RotateArgs),
    /// Ask a running server whether it is ready.
    Health(HealthArgs),
    /// Show what runs in a server: its live supervision tree.
    Tree(TreeArgs),
    /// Erase a person: what they wrote and all that is kept of them. Cannot be undone.
    ///
    /// Asks a running server, and waits until it is done; the server goes on without this command,
    /// and over restarts. docs/operation.md says what stays.
    Erase(PersonArgs),
    /// Let a person out of quarantine, whose entity failed too often at a server.
    ///
    /// Asks that server; `quikapp tree` shows who is in quarantine there, and why.
    Release(PersonArgs),
    /// Put load on a running server, check what arrives, and report what it costs.
    Bench(Box<quikapp_load::Args>),
    /// Say whether a recorded history keeps the promises of delivery.
    ///
    /// Exit status: 0 if it does, 1 if it does not, 2 if it cannot be read.
    CheckHistory(HistoryArgs),
    /// Derive a projection anew from the logs, or all of them: queue, threads, timers, history, documents.
    ///
    /// A server may run on the same store meanwhile. Of `feed:NAME`, a reader of the event feed, it
    /// has everything given out again, from the beginning of every conversation.
    Rebuild(RebuildArgs),
    /// Print the version.
    Version,
}

/// Settings of a server that the command line overrides.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the embedded store and the generated secret live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file (TOML); also QUIKAPP_CONFIG.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A part of the product to run; repeat for several.
    #[arg(long = "role", value_name = "NAME")]
    roles: Vec<String>,
    /// Break a promise on purpose, for tests of the history checker.
    #[cfg(debug_assertions)]
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) mutant: Option<quikapp_storage::ServerMutant>,
}

impl From<ServeArgs> for Flags {
    fn from(args: ServeArgs) -> Self {
        Self {
            config: args.config,
            listen: args.listen,
            data_dir: args.data_dir,
            roles: args.roles,
        }
    }
}

/// Whom a token is for.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user id (the token's `sub`).
    #[arg(long, value_name = "ID")]
    pub(crate) user: String,
    /// The tenant.
    #[arg(long, value_name = "W", default_value = "default")]
    pub(crate) workspace: String,
    /// How long it is valid, like `90s`, `1h` or `7d`.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: std::time::Duration,
    /// The token may call administrative routes.
    #[arg(long)]
    pub(crate) admin: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Which copy, of which store.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The copy.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Whose secret, and what becomes of those before.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Keep no earlier secret: every token that was ever minted with one is refused from then on.
    #[arg(long)]
    pub(crate) forget: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Where the data of an installation is.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArgs {
    /// Where the embedded store and the generated secret live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file (TOML); also QUIKAPP_CONFIG.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl From<&PlaceArgs> for Flags {
    fn from(args: &PlaceArgs) -> Self {
        Self {
            config: args.config.clone(),
            data_dir: args.data_dir.clone(),
            ..Self::default()
        }
    }
}

/// What to rebuild, where.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Which projection; all without.
    pub(crate) projection: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Which server to ask.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Its address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) url: String,
}

/// Which server an administrator asks, and by which right.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Its address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) url: String,
    /// An administrator's token; otherwise one is minted with the installation's secret.
    #[arg(long, value_name = "JWT")]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Which server's tree.
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Whom it is about, and which server to ask.
#[derive(Debug, Args)]
pub(crate) struct PersonArgs {
    /// The user id.
    #[arg(long, value_name = "ID")]
    pub(crate) user: String,
    /// Their tenant; with `--token` it is the token's.
    #[arg(
        long,
        value_name = "W",
        default_value = "default",
        conflicts_with = "token"
    )]
    pub(crate) workspace: String,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Which history to check.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// One JSON object a line, as docs/history.md describes.
    pub(crate) file: PathBuf,
    /// Print the verdict as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
