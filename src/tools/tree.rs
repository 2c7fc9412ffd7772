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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn restarts_and_what_waits_are_columns() {
        let tree = json!({
            "name": "node", "kind": "supervisor", "state": "running", "count": 1,
            "restarts": 0, "queue_depth": 0, "age_ms": 90_061_000,
            "children": [
                {
                    "name": "poll", "kind": "poll", "state": "starting", "count": 1,
                    "restarts": 3, "queue_depth": 12, "age_ms": 2_999,
                    "last_failure": "no answer", "children": []
                },
                {
                    "name": null, "kind": "user", "state": "quarantined", "count": 1,
                    "restarts": 0, "queue_depth": 0, "age_ms": 0, "children": []
                },
            ]
        });
        let drawn = drawn(&tree);
        let lines: Vec<_> = drawn
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "name (kind) count restarts queued age",
                "node (supervisor) 1 0 0 1day 1h 1m 1s",
                "poll (poll) 1 3 12 2s starting last failed of: no answer",
                "- (user) 1 0 0 0s quarantined",
            ]
        );
    }
}
