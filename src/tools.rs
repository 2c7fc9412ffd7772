//! The commands that do not run a server.

mod admin;
pub(crate) mod erase;
pub(crate) mod release;
pub(crate) mod tree;

use std::{fs::File, io::BufReader, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use quikapp_actors::{SystemClock, delivery};
use quikapp_config::{Environment, Flags, NodeConfig, load};
use quikapp_history::Verdict;
use quikapp_realtime::{
    auth::{Earlier, Grant, SECRET_POLL, Tokens, rotate},
    http_client,
};
use quikapp_storage::{Copied, Person, UserId, WorkspaceId};

use crate::cli::{
    CopyArgs, HealthArgs, HistoryArgs, PlaceArgs, RebuildArgs, RotateArgs, TokenArgs,
};

/// Prints the version.
pub(crate) fn version() {
    println!("quikapp {}", env!("CARGO_PKG_VERSION"));
}

/// Reads and checks a configuration as `serve` would, and prints what is in force. Secrets are
/// not shown.
pub(crate) fn check_config(flags: &Flags) -> anyhow::Result<()> {
    let loaded = load(flags, &Environment::of_process())?;
    match &loaded.file {
        Some(path) => println!("# from {}", path.display()),
        None => println!("# from the defaults, the environment and the flags"),
    }
    print!("{}", loaded.config.to_toml());
    Ok(())
}

/// Opens every store, which brings its schema up to date, and says which there are.
pub(crate) fn migrate(flags: &Flags) -> anyhow::Result<()> {
    let config = load(flags, &Environment::of_process())?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connected = quikapp_storage::connect(&config.storage).await?;
        let stores = connected.dependencies.iter();
        for store in stores.filter(|store| !store.is_optional) {
            println!("{}: up to date ({})", store.name, store.keeps);
        }
        connected.store.close().await;
        Ok(())
    })
}

/// Mints an access token with the installation's secret, and prints it.
pub(crate) fn token(args: &TokenArgs) -> anyhow::Result<()> {
    let person = Person {
        workspace: WorkspaceId::new(&args.workspace).context("--workspace")?,
        user: UserId::new(&args.user).context("--user")?,
    };
    let grant = match args.admin {
        true => Grant::admin(person),
        false => Grant::member(person),
    };
    println!("{}", mint(&args.place, &grant, args.ttl)?);
    Ok(())
}

fn mint(place: &PlaceArgs, grant: &Grant, ttl: Duration) -> anyhow::Result<String> {
    let config = config_of(place)?;
    let secrets = config.auth.secrets(&config.storage.data_dir)?;
    // Keys of other issuers are of no use for minting.
    let auth = quikapp_realtime::auth::Config {
        jwks: None,
        ..config.auth
    };
    let tokens = Tokens::new(&auth, &secrets, Arc::new(SystemClock))?;
    Ok(tokens.mint(grant, ttl)?.token)
}

/// Copies the embedded store.
pub(crate) fn backup(args: &CopyArgs) -> anyhow::Result<()> {
    let config = config_of(&args.place)?;
    let copied = quikapp_storage::backup(&config.storage.data_dir, &args.file)?;
    println!("copied {} to {}", summary(&copied), args.file.display());
    let elsewhere = config.storage.kept_elsewhere();
    if !elsewhere.is_empty() {
        let concerns = elsewhere.join(", ");
        println!("not in the copy, because a server keeps it: storage.{concerns}");
    }
    Ok(())
}

/// Puts a copy back.
pub(crate) fn restore(args: &CopyArgs) -> anyhow::Result<()> {
    let config = config_of(&args.place)?;
    let data_dir = &config.storage.data_dir;
    let copied = quikapp_storage::restore(&args.file, data_dir)?;
    println!("restored {} into {}", summary(&copied), data_dir.display());
    println!("clients that were further are told to start afresh (reset_required)");
    Ok(())
}

fn summary(copied: &Copied) -> String {
    format!(
        "{} conversations with {} entries ({} bytes, schema version {})",
        copied.conversations, copied.entries, copied.bytes, copied.version
    )
}

/// Puts a new secret in place.
pub(crate) fn rotate_secret(args: &RotateArgs) -> anyhow::Result<()> {
    let config = config_of(&args.place)?;
    if config.auth.secret.is_some() {
        bail!(
            "the secret is set as auth.secret: change it there, and list the old one under auth.previous_secrets"
        );
    }
    let earlier = match args.forget {
        true => Earlier::Forget,
        false => Earlier::Keep,
    };
    let kept = rotate(&config.storage.data_dir, earlier)?;
    println!("new tokens are signed with a new secret; {kept} earlier kept for verification");
    println!("running servers take it up within {SECRET_POLL:?}");
    Ok(())
}

fn config_of(place: &PlaceArgs) -> anyhow::Result<NodeConfig> {
    Ok(load(&place.into(), &Environment::of_process())?.config)
}

/// Asks a running server whether it is ready.
pub(crate) fn health(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let url = format!("{}/health/ready", args.url.trim_end_matches('/'));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, body) = runtime.block_on(async {
        let client = http_client(|client| client.timeout(Duration::from_secs(3)))?;
        let response = client.get(&url).send().await?;
        anyhow::Ok((response.status(), response.text().await?))
    })?;
    println!("{body}");
    Ok(match status.is_success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Puts load on a running server, or shows reports.
pub(crate) fn bench(args: &quikapp_load::Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(quikapp_load::execute(args))?;
    Ok(outcome.exit_code().into())
}

/// The exit status of `check-history` for a history that cannot be read.
const UNREADABLE: u8 = 2;

/// Checks a history and prints the verdict.
pub(crate) fn check_history(args: &HistoryArgs) -> ExitCode {
    let told = read_history(args).and_then(|verdict| {
        match args.json {
            true => println!("{}", serde_json::to_string_pretty(&verdict)?),
            false => println!("{verdict}"),
        }
        Ok(verdict.passed())
    });
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quikapp: {error:#}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn read_history(args: &HistoryArgs) -> anyhow::Result<Verdict> {
    let named = || args.file.display().to_string();
    let file = File::open(&args.file).with_context(named)?;
    quikapp_history::check(BufReader::new(file)).with_context(named)
}

/// Derives projections anew from the logs.
pub(crate) fn rebuild(args: &RebuildArgs) -> anyhow::Result<()> {
    let config = config_of(&args.place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let store = quikapp_storage::connect(&config.storage).await?.store;
        let name = args.projection.as_deref();
        let rebuilt = delivery::rebuild(&store, &SystemClock, &config.delivery, name).await;
        store.close().await;
        for one in rebuilt? {
            println!(
                "{}: {} entries of {} conversations",
                one.projection, one.entries, one.conversations
            );
        }
        Ok(())
    })
}
