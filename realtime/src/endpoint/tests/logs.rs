//! Tokens stay out of the log, whatever way they came and however much is logged.

use super::super::test_kit::{DEADLINE, Server, config};
use crate::{socket::MountOptions, telemetry::test_kit::Logged};

const SECRET: &str = "s3cr3t";

/// `tok-s3cr3t` as phoenix.js hides it in a subprotocol.
const ENCODED: &str = "dG9rLXMzY3IzdA";

#[tokio::test]
async fn a_connect_with_a_token_leaves_no_trace_of_it() {
    let lines = Logged::with_filter("trace");
    let options = MountOptions {
        auth_token: true,
        ..MountOptions::default()
    };
    let server = Server::start(&config(), options).await;
    let subprotocol = format!("phoenix, base64url.bearer.phx.{ENCODED}");
    for (target, headers) in [
        ("/socket/websocket?token=tok-s3cr3t&vsn=2.0.0", vec![]),
        ("/socket/websocket?token=tok-s3cr3t&vsn=9.0.0", vec![]),
        ("/socket/websocket?auth_token=s3cr3t&ticket=s3cr3t", vec![]),
        (
            "/socket/websocket?vsn=2.0.0",
            vec![("sec-websocket-protocol", subprotocol.as_str())],
        ),
        (
            "/socket/websocket?vsn=2.0.0",
            vec![("authorization", "Bearer s3cr3t")],
        ),
        ("/socket/longpoll?token=tok-s3cr3t&vsn=2.0.0", vec![]),
        (
            "/socket/longpoll?vsn=2.0.0",
            vec![("x-phoenix-authtoken", "tok-s3cr3t")],
        ),
        (
            "/api/nothing?token=s3cr3t",
            vec![("authorization", "Bearer s3cr3t")],
        ),
    ] {
        let answer = server.upgrade(target, &headers).await;
        if let Some(token) = target
            .contains("longpoll")
            .then(|| answer.json()["token"].clone())
        {
            let session = token.as_str().unwrap();
            assert!(
                !lines.text().contains(session),
                "the session's token is logged"
            );
        }
    }
    let socket_closes = async {
        while !lines.text().contains(r#""connection":"#) {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(DEADLINE, socket_closes).await;
    closed.expect("what a socket logs names its connection");
    let text = lines.text();
    assert!(
        text.contains("/socket/websocket"),
        "requests are logged: {text}"
    );
    assert!(
        text.contains(r#""name":"request""#),
        "with their span: {text}"
    );
    assert!(
        text.contains("vsn=2.0.0"),
        "and the harmless part of the query: {text}"
    );
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains(ENCODED), "{text}");
}

/// By default nothing is written of sockets that open; whoever is refused is named.
#[tokio::test]
async fn a_refused_connect_is_described_and_an_accepted_one_is_not_mentioned() {
    let lines = Logged::with_filter("info");
    let server = Server::start(&config(), MountOptions::default()).await;
    let target = "/socket/websocket?token=tok-s3cr3t&vsn=2.0.0";
    assert_eq!(server.upgrade(target, &[]).await.status, 101);
    assert_eq!(lines.text(), "");
    let target = "/socket/websocket?token=s3cr3t&vsn=2.0.0";
    let id = [("x-request-id", "abc-123")];
    assert_eq!(server.upgrade(target, &id).await.status, 403);
    let text = lines.text();
    for part in [
        "connect refused",
        r#""id":"abc-123""#,
        r#""method":"GET""#,
        r#""path":"/socket/websocket""#,
        "vsn=2.0.0",
        r#""client":"127.0.0.1""#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains(SECRET), "{text}");
}
