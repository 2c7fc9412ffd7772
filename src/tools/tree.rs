//! `quikapp tree`: what runs in a server.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, bail};
use quikapp_realtime::auth::Grant;
use quikapp_storage::{Person, UserId, WorkspaceId};
use serde_json::Value;

use crate::cli::TreeArgs;

/// The minted token is used at once.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a running server for its tree, and prints it.
pub(crate) fn show(args: &TreeArgs) -> anyhow::Result<()> {
    let token = match &args.token {
        Some(token) => token.clone(),
        None => minted(args)?,
    };
    let url = format!("{}/api/admin/tree", args.url.trim_end_matches('/'));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tree = runtime.block_on(fetch(&url, &token))?;
    match args.json {
        true => println!("{tree:#}"),
        false => print!("{}", drawn(&tree)),
    }
    Ok(())
}

fn minted(args: &TreeArgs) -> anyhow::Result<String> {
    let operator = Person {
        workspace: WorkspaceId::new("default")?,
        user: UserId::new("operator")?,
    };
    super::mint(&args.place, &Grant::admin(operator), TOKEN_LIFE)
}

async fn fetch(url: &str, token: &str) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let response = client.get(url).bearer_auth(token).send().await?;
    let status = response.status();
    let body = response.text().await?;
    if !status.is_success() {
        bail!("{url}: {status} {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{url}: not JSON"))
}

/// One line per node, with what is worth a look behind its name.
fn drawn(tree: &Value) -> String {
    let mut out = format!(
        "{:<44} {:>8} {:>9} {:>8} {:>10}\n",
        "name (kind)", "count", "restarts", "queued", "age"
    );
    draw(tree, 0, &mut out);
    out
}

fn draw(node: &Value, depth: usize, out: &mut String) {
    let text = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| node[key].as_u64().unwrap_or_default();
    let name = format!("{}{} ({})", "  ".repeat(depth), text("name"), text("kind"));
    let age = Duration::from_secs(number("age_ms") / 1000);
    let _ = write!(
        out,
        "{name:<44} {:>8} {:>9} {:>8} {:>10}",
        number("count"),
        number("restarts"),
        number("queue_depth"),
        humantime::format_duration(age).to_string(),
    );
    if node["state"] != "running" {
        let _ = write!(out, "  {}", text("state"));
    }
    if let Some(failure) = node["last_failure"].as_str() {
        let _ = write!(out, "  last failed of: {failure}");
    }
    out.push('\n');
    for child in node["children"].as_array().into_iter().flatten() {
        draw(child, depth + 1, out);
    }
}
