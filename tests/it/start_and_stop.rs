//! One command starts everything; a signal stops it in good order.

use std::{ffi::OsStr, os::unix::fs::PermissionsExt};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, quikapp, run, said};

#[tokio::test]
async fn a_fresh_directory_serves_a_page_and_is_ready() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let (status, ready) = rest.request(Method::GET, "/health/ready", None, None).await;
    assert_eq!(status, StatusCode::OK, "{ready}");
    let (_, health) = rest.request(Method::GET, "/health", None, None).await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (&health["status"], &health["service"], &health["version"]),
        (&json!("ok"), &json!("quikapp"), &json!(version)),
        "{health}"
    );
    let alone = json!({ "nodes": [health["node"]], "connected": 1 });
    assert_eq!(health["cluster"], alone, "{health}");
    let (status, page) = rest.request(Method::GET, "/", None, None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().unwrap().contains("<!doctype html>"));
    assert!(server.terminate().await.success());
}

/// As in a container without certificates of authorities.
#[tokio::test]
async fn health_is_told_in_the_clear_where_no_authority_is_known() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let output = quikapp()
        .args(["health", "--url", &server.url])
        .env("SSL_CERT_FILE", dir.path().join("none.pem"))
        .env("SSL_CERT_DIR", dir.path().join("none"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
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

    let minted = run(&server.data_dir, &["token", "--user", "alice"]).await;
    let alice = Guest {
        id: "alice".to_owned(),
        token: minted.trim().to_owned(),
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

/// A client that does not answer the closing frame is waited for until the deadline, and no longer.
#[tokio::test]
async fn a_client_that_does_not_go_is_left_at_the_deadline() {
    let dir = tempdir().unwrap();
    let settings = [("QUIKAPP_DRAIN__DEADLINE", OsStr::new("200ms"))];
    let data = dir.path().join("data");
    let server = Server::start_as(dir.path(), &data, "127.0.0.1:0", &[], &settings).await;
    let rest = Rest::of(&server);
    let alice = rest.guest("Alice").await;
    let mut stuck = Client::connect(&server, &alice).await;
    stuck.join("broadcast:room", json!({})).await;

    server.signal("TERM").await;
    let log = server.log_file();
    assert!(server.ended().await.success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("sockets did not close in time"), "{log}");
    let close = stuck.closed().await.expect("a closing frame");
    assert_eq!(u16::from(close.code), 1012);
}

#[tokio::test]
async fn a_role_is_taken_and_an_unknown_one_is_refused() {
    let dir = tempdir().unwrap();
    let server = Server::start_with(dir.path(), "127.0.0.1:0", &["--role", "node"]).await;
    let rest = Rest::of(&server);
    assert_eq!(rest.status("/health/ready", &[]).await, StatusCode::OK);

    let data = dir.path().join("other");
    let output = quikapp()
        .args(["serve", "--listen", "127.0.0.1:0", "--role", "nod"])
        .arg("--data-dir")
        .arg(&data)
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("nod"), "{}", said(&output));
    assert!(!data.exists());
}
