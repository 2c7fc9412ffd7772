//! The commands that do not run a server.

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
