//! `quikapp tree`: what runs in a server.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;

use super::admin::{self, Admin};
use crate::cli::TreeArgs;

/// Asks a running server for its tree, and prints it.
pub(crate) fn show(args: &TreeArgs) -> anyhow::Result<()> {
    let admin = Admin::of(&args.admin, admin::WORKSPACE)?;
    let tree = admin::wait_for(admin.get(&["tree"]))?;
    match args.json {
        true => println!("{tree:#}"),
        false => print!("{}", drawn(&tree)),
    }
    Ok(())
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
