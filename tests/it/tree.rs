//! `quikapp tree` shows what runs in a server, and what waits there.

use std::ffi::OsStr;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Rest, Server, quikapp, run, said, within};

#[tokio::test]
async fn the_live_tree_is_shown_to_operators_and_in_metrics() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let tree = async |further: &[&str]| {
        let mut command = quikapp();
        command
            .args(["tree", "--url", &server.url, "--data-dir"])
            .arg(&server.data_dir)
            .args(further)
            .current_dir(dir.path());
        command.output().await.unwrap()
    };
    let output = tree(&[]).await;
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    for expected in [
        "node",
        "  conversations",
        "    shard-0",
        "    tails",
        "  registers",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(expected)),
            "{expected:?} is not in\n{text}"
        );
    }
    let output = tree(&["--json"]).await;
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["state"], "running");

    let rest = Rest::of(&server);
    let metrics = rest.metrics().await;
    for expected in [
        "quikapp_actors{kind=\"conversations\"} 16",
        "quikapp_actor_queue_depth{kind=\"conversations\"} 0",
        "quikapp_actor_age_seconds{kind=\"registers\"}",
    ] {
        assert!(
            metrics.contains(expected),
            "{expected} is not in\n{metrics}"
        );
    }

    let guest = rest.guest("Ann").await;
    let refused = tree(&["--token", &guest.token]).await;
    assert!(!refused.status.success(), "guests are no administrators");
    let path = "/api/admin/tree";
    let (status, _) = rest
        .request(Method::GET, path, Some(&guest.token), None)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

/// The projections of a tree.
fn projections(node: &Value) -> Vec<Value> {
    let children = node["children"].as_array().into_iter().flatten();
    let mut found: Vec<Value> = children.flat_map(projections).collect();
    found.extend((node["kind"] == "projection").then(|| node.clone()));
    found
}

/// Projections that see nothing for an hour: what waits for them, and for how long, is shown in the
/// tree and in the metrics meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_shown_while_it_waits() {
    let dir = tempdir().unwrap();
    let environment = [("QUIKAPP_DELIVERY__PROJECTION_WINDOW", OsStr::new("1h"))];
    let data_dir = dir.path().join("data");
    let server = Server::start_as(dir.path(), &data_dir, "127.0.0.1:0", &[], &environment).await;
    let rest = Rest::of(&server);
    let people = [rest.guest("ann").await, rest.guest("bob").await];
    let conversation = rest.group(&people).await;
    let path = format!("/api/conversations/{conversation}/messages");
    rest.post(&path, &people[0], json!({"content": "x"})).await;

    let tree = async |further: &[&str]| {
        let args = [&["tree", "--url", &server.url][..], further].concat();
        run(&server.data_dir, &args).await
    };
    within("they have waited for a second", async {
        while rest
            .metric::<f64>(r#"quikapp_projection_lag_seconds{consumer="queue"}"#)
            .await
            < 1.0
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let behind: f64 = rest
        .metric(r#"quikapp_projection_behind{consumer="queue"}"#)
        .await;
    assert!(behind >= 1.0);
    let queued: u64 = rest
        .metric(r#"quikapp_actor_queue_depth{kind="projection"}"#)
        .await;
    let shown: Value = serde_json::from_str(&tree(&["--json"]).await).unwrap();
    let shown = projections(&shown);
    let depths = shown.iter().map(|it| it["queue_depth"].as_u64().unwrap());
    assert_eq!(depths.sum::<u64>(), queued);
    assert!(queued >= 2, "for the queue and for threads");
    assert!(
        shown
            .iter()
            .all(|it| it["age_ms"].as_u64().unwrap() >= 1_000)
    );
    let text = tree(&[]).await;
    let lines = text.lines().filter(|line| line.contains("(projection)"));
    // Count, restarts, queued, age.
    let columns = lines.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>());
    for (columns, node) in columns.zip(&shown) {
        let depth = node["queue_depth"].to_string();
        assert_eq!(columns[..3], ["1", "0", &depth], "{text}");
        assert!(columns[3].ends_with('s') && columns[3] != "0s", "{text}");
    }
    server.terminate().await;
}
