//! Who is let in: development mode is for this machine, the socket for the pages that are allowed,
//! and within its limits.

use std::ffi::OsStr;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server};

#[tokio::test]
async fn a_server_that_others_can_reach_takes_no_guests() {
    let dir = tempdir().unwrap();
    let server = Server::start_with(dir.path(), "0.0.0.0:0", &[]).await;
    let rest = Rest::of(&server);
    let body = json!({ "name": "somebody" });
    let asked = rest.request(Method::POST, "/api/auth/guest", None, Some(body));
    assert_eq!(asked.await.0, StatusCode::NOT_FOUND);
    assert_eq!(rest.status("/", &[]).await, StatusCode::NOT_FOUND);
    assert_eq!(rest.status("/health/live", &[]).await, StatusCode::OK);
}

/// A page that rebinds its own name to 127.0.0.1 sends its own name; a proxy says that it is one.
#[tokio::test]
async fn development_mode_answers_direct_requests_to_this_machine_only() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let alice = rest.guest("Alice").await;
    let bearer = format!("Bearer {}", alice.token);
    let signed_in = ("authorization", bearer.as_str());
    let conversations = "/api/conversations";

    assert_eq!(rest.status("/", &[]).await, StatusCode::OK);
    assert_eq!(
        rest.status(conversations, &[signed_in]).await,
        StatusCode::OK
    );
    let accepted = rest.handshake(&alice.token, &[]).await;
    assert_eq!(accepted, StatusCode::SWITCHING_PROTOCOLS);
    for foreign in [("host", "evil.example"), ("x-forwarded-for", "127.0.0.1")] {
        let refused = StatusCode::FORBIDDEN;
        assert_eq!(rest.status("/", &[foreign]).await, refused, "{foreign:?}");
        let listed = rest.status(conversations, &[signed_in, foreign]).await;
        assert_eq!(listed, refused, "{foreign:?}");
        let opened = rest.handshake(&alice.token, &[foreign]).await;
        assert_eq!(opened, refused, "{foreign:?}");
        let polled = poll(&rest, &alice, foreign).await;
        assert_eq!(polled["status"], 403, "{foreign:?}: {polled}");
    }
}

#[tokio::test]
async fn the_socket_opens_for_allowed_pages_and_within_its_limits() {
    let dir = tempdir().unwrap();
    let settings = [
        (
            "QUIKAPP_ENDPOINT__ALLOWED_ORIGINS",
            r#"["https://app.example:8443"]"#,
        ),
        ("QUIKAPP_ENDPOINT__MAX_MESSAGE", "4KiB"),
        ("QUIKAPP_SOCKET__CHANNELS", "2"),
    ]
    .map(|(name, value)| (name, OsStr::new(value)));
    let data = dir.path().join("data");
    let server = Server::start_as(dir.path(), &data, "127.0.0.1:0", &[], &settings).await;
    let rest = Rest::of(&server);
    let alice = rest.guest("Alice").await;

    let own = ("origin", "https://app.example:8443");
    let opened = rest.handshake(&alice.token, &[own]).await;
    assert_eq!(opened, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        poll(&rest, &alice, own).await["status"],
        410,
        "a session begins"
    );
    let others = [
        "https://evil.example",
        "null",
        "https://app.example.evil.example:8443",
        "https://evilapp.example:8443",
        "https://app.example",
        "https://app.example:9443",
        "http://app.example:8443",
    ];
    for other in others {
        let refused = rest.handshake(&alice.token, &[("origin", other)]).await;
        assert_eq!(refused, StatusCode::FORBIDDEN, "{other}");
        let polled = poll(&rest, &alice, ("origin", other)).await;
        assert_eq!(polled["status"], 403, "{other}: {polled}");
    }

    let mut socket = Client::connect(&server, &alice).await;
    socket.join("broadcast:one", json!({})).await;
    socket.join("broadcast:two", json!({})).await;
    let third = socket.call("broadcast:three", "phx_join", json!({})).await;
    let (status, refused) = third.unwrap();
    assert_eq!(status, "error");
    assert_eq!(refused["reason"], "too many channels joined");

    let content = "x".repeat(5 * 1024);
    socket
        .send(json!(["1", "9", "broadcast:one", "say", { "text": content }]).to_string())
        .await;
    let close = socket.closed().await.expect("a closing frame");
    assert_eq!(u16::from(close.code), 1009);
}

/// The answer to the first poll of a session, with one more header.
async fn poll(rest: &Rest, guest: &Guest, header: (&str, &str)) -> Value {
    let path = format!("/socket/longpoll?vsn=2.0.0&token={}", guest.token);
    rest.answer(&path, &[header]).await.1
}
