//! `/metrics` is what Prometheus expects.

use std::process::Stdio;

use serde_json::json;
use tempfile::tempdir;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{Client, Rest, Server, said};

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let alice = rest.guest("Alice").await;
    let bob = rest.guest("Bob").await;
    let conversation = rest.group(&[alice.clone(), bob]).await;
    let topic = format!("chat:{conversation}");
    let mut socket = Client::connect(&server, &alice).await;
    socket.join(&topic, json!({})).await;
    socket
        .call(
            &topic,
            "message:send",
            json!({"type": "text", "content": "hi"}),
        )
        .await
        .unwrap();
    socket.expect(&topic, "message:new").await;
    socket.call(&topic, "typing:start", json!({})).await;

    let text = rest.metrics().await;
    for line in [
        "quikapp_connections 1",
        "quikapp_online_users 1",
        "quikapp_typing 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for series in [
        "quikapp_delivery_seconds_count",
        r#"quikapp_messages_sent_total{type="broadcast"}"#,
        r#"quikapp_messages_sent_total{type="direct"}"#,
    ] {
        let values = text.lines().filter_map(|line| line.strip_prefix(series));
        let counted = values.map(|value| value.trim().parse::<u64>().unwrap());
        assert!(counted.sum::<u64>() > 0, "{series}: {text}");
    }
    let spent: f64 = rest.metric("process_cpu_seconds_total").await;
    assert!(spent > 0.0 && spent.fract() > 0.0, "{spent} s of CPU");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by scripts/install-tools");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .await
        .unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
}
