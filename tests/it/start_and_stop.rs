//! One command starts everything; a signal stops it in good order.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, quikapp, said};

#[tokio::test]
async fn a_fresh_directory_serves_a_page_and_is_ready() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let (status, ready) = rest.request(Method::GET, "/health/ready", None, None).await;
    assert_eq!(status, StatusCode::OK, "{ready}");
    let (status, page) = rest.request(Method::GET, "/", None, None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().unwrap().contains("<!doctype html>"));
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn the_secret_is_generated_for_the_owner_only() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mode = |name: &str| {
        let meta = std::fs::metadata(server.data_dir.join(name)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode("secret"), 0o600);
    assert_eq!(mode("."), 0o700);
    let secret = std::fs::read_to_string(server.data_dir.join("secret")).unwrap();
    assert!(secret.trim().len() >= 43, "at least 256 bits in base64url");
    assert!(!server.log().contains(secret.trim()));
}

#[tokio::test]
async fn an_address_in_use_is_said_and_the_store_is_not_opened() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempdir().unwrap();
    let output = quikapp()
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(dir.path().join("data"))
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains(&address), "{}", said(&output));
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn a_minted_token_opens_a_socket_of_a_configured_server() {
    let dir = tempdir().unwrap();
    let config = dir.path().join("node.toml");
    std::fs::write(&config, "name = 'production'\n").unwrap();
    let config = config.to_str().unwrap();
    let server = Server::start_with(dir.path(), "127.0.0.1:0", &["--config", config]).await;

    let minted = quikapp()
        .args(["token", "--user", "alice", "--data-dir"])
        .arg(&server.data_dir)
        .output()
        .await
        .unwrap();
    let alice = Guest {
        id: "alice".to_owned(),
        token: String::from_utf8(minted.stdout).unwrap().trim().to_owned(),
    };
    let mut socket = Client::connect(&server, &alice).await;
    socket.join("user:alice", json!({})).await;

    let rest = Rest::of(&server);
    let body = json!({ "name": "x" });
    let (guest, _) = rest
        .request(Method::POST, "/api/auth/guest", None, Some(body))
        .await;
    assert_eq!(
        guest,
        StatusCode::NOT_FOUND,
        "guests are for development only"
    );
    let (page, _) = rest.request(Method::GET, "/", None, None).await;
    assert_eq!(page, StatusCode::NOT_FOUND, "so is the page");
}

#[tokio::test]
async fn sigterm_sends_clients_elsewhere_with_1012() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let alice = rest.guest("Alice").await;
    let mut joined = Client::connect(&server, &alice).await;
    joined.join("broadcast:room", json!({})).await;
    let idle = Client::connect(&server, &alice).await;

    server.signal("TERM").await;
    for socket in [joined, idle] {
        let close = socket.closed().await.expect("a closing frame");
        assert_eq!(u16::from(close.code), 1012);
    }
    assert!(server.ended().await.success());
}
