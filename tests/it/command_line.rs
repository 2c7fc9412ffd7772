//! The commands that do not run a server.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{quikapp, said};

#[tokio::test]
async fn version_names_the_version() {
    let output = quikapp().arg("version").output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(
        said(&output),
        format!("quikapp {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// It takes part only if the linker found it where `malloc` was asked for: nothing else names it.
#[cfg(all(feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
#[tokio::test]
async fn mimalloc_is_the_allocator() {
    let mut quikapp = quikapp();
    let quikapp = quikapp.arg("version").env("MIMALLOC_VERBOSE", "1");
    let output = quikapp.output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("mimalloc: process init"), "{told}");
}

#[tokio::test]
async fn check_config_prints_what_is_in_force_and_no_secret() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("node.toml");
    let secret = "a-secret-of-more-than-thirty-two-bytes!";
    std::fs::write(&file, format!("name = 'x'\n[auth]\nsecret = '{secret}'\n")).unwrap();
    let output = quikapp()
        .args(["check-config", "--config"])
        .arg(&file)
        .env("QUIKAPP_SOCKET__CHANNELS", "7")
        .output()
        .await
        .unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("name = \"x\"") && said.contains("channels = 7"),
        "{said}"
    );
    assert!(!said.contains(secret), "{said}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_is_touched() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let output = quikapp()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .env("QUIKAPP_ENDPOINT__LISEN", "x")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("lisen"), "{}", said(&output));
    assert!(!data.exists());
}

#[tokio::test]
async fn a_short_secret_is_refused() {
    let output = quikapp()
        .arg("check-config")
        .env("QUIKAPP_AUTH__SECRET", "short")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("32"), "{}", said(&output));
    assert!(!said(&output).contains("short\""), "{}", said(&output));
}

#[tokio::test]
async fn token_needs_a_user() {
    let output = quikapp().arg("token").output().await.unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("--user"), "{}", said(&output));
}

#[tokio::test]
async fn a_token_is_for_the_workspace_and_the_time_asked_for() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let mint = async |ttl: &str| {
        let arguments = [
            "token",
            "--user",
            "ann",
            "--workspace",
            "acme",
            "--ttl",
            ttl,
        ];
        let mut command = quikapp();
        let minting = command.args(arguments).arg("--data-dir").arg(&data);
        minting.output().await.unwrap()
    };
    let minted = mint("5m").await;
    assert!(minted.status.success(), "{}", said(&minted));
    let token = String::from_utf8(minted.stdout).unwrap();
    let secret = std::fs::read_to_string(data.join("secret")).unwrap();
    let key = DecodingKey::from_secret(secret.trim().as_bytes());
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["quikapp"]);
    rules.set_issuer(&["quikapp"]);
    let claims = decode::<Value>(token.trim(), &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "ann");
    assert_eq!(claims["workspace"], "acme");
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 5 * 60);

    let refused = mint("100d").await;
    assert!(!refused.status.success());
    assert!(said(&refused).contains("at most"), "{}", said(&refused));
}

#[tokio::test]
async fn check_history_tells_by_its_exit_status() {
    let dir = tempdir().unwrap();
    let made = r#"{"event":"conversation","conversation":"c","members":["a"]}"#;
    let sent = r#"{"event":"invoke","at":1,"op":1,"user":"a","conversation":"c","key":"k"}"#;
    let acknowledged = r#"{"event":"ok","at":2,"op":1,"seq":1}"#;
    let logged = r#"{"event":"log","conversation":"c","seq":1,"kind":"message","id":"m","sender":"a","key":"k","n":1}"#;
    let kept = r#"{"event":"log_end","conversation":"c","tail":1}"#;
    let lost = r#"{"event":"log_end","conversation":"c","tail":0}"#;
    for (lines, status, expected) in [
        (vec![made, sent, acknowledged, logged, kept], 0, "passed"),
        (vec![made, sent, acknowledged, lost], 1, "line 3, 4"),
        (vec![made, sent, "{}"], 2, "line 3: "),
        (vec![made, sent], 2, "incomplete"),
    ] {
        let file = dir.path().join("history.jsonl");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = quikapp();
        let output = command
            .arg("check-history")
            .arg(&file)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    let none = dir.path().join("none.jsonl");
    let output = quikapp()
        .arg("check-history")
        .arg(&none)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("none.jsonl"), "{}", said(&output));
}

#[tokio::test]
async fn check_history_prints_json() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("history.jsonl");
    let made = r#"{"event":"conversation","conversation":"c","members":["a"]}"#;
    let end = r#"{"event":"log_end","conversation":"c","tail":0}"#;
    std::fs::write(&file, format!("{made}\n{end}\n")).unwrap();
    let mut command = quikapp();
    let output = command
        .args(["check-history", "--json"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["counts"]["conversations"], 1);
    assert_eq!(verdict["violations"], serde_json::json!([]));
}

#[tokio::test]
async fn migrate_makes_the_stores_and_can_be_repeated() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    for _ in 0..2 {
        let output = quikapp()
            .args(["migrate", "--data-dir"])
            .arg(&data)
            .output()
            .await
            .unwrap();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("store: up to date (log, registers"), "{said}");
    }
    assert!(data.join("quikapp.db").exists());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let dir = tempdir().unwrap();
    let output = quikapp()
        .args(["migrate", "--data-dir"])
        .arg(dir.path().join("data"))
        .env(
            "QUIKAPP_STORAGE__LOG",
            "mysql://quik:s3cret@127.0.0.1:1/chat",
        )
        .output()
        .await
        .unwrap();
    let said = said(&output);
    assert!(!output.status.success());
    assert!(said.contains("mysql://quik:***@127.0.0.1:1/chat"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn nobody_is_offered_to_break_a_promise() {
    let output = quikapp().args(["serve", "--help"]).output().await.unwrap();
    assert!(said(&output).contains("--listen"), "{}", said(&output));
    assert!(!said(&output).contains("mutant"), "{}", said(&output));
}
