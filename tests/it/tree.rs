//! `quikapp tree` shows what runs in a server.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Rest, Server, quikapp, said};

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
