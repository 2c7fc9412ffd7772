//! Every case of the recording `ws-handshake`, and what stands beside it.

use std::time::Duration;

use serde_json::json;

use super::super::test_kit::{Server, WAYS, config, exchange, mount, with_upgrade};
use crate::{
    endpoint::{Config, OriginPolicy},
    socket::MountOptions,
};

fn origins(patterns: &[&str]) -> OriginPolicy {
    serde_json::from_value(json!(patterns)).unwrap()
}

async fn server() -> Server {
    Server::start(&config(), MountOptions::default()).await
}

#[tokio::test]
async fn accepted_and_refused_connects_answer_as_recorded() {
    let server = server().await;
    let failed = r#"{"errors":{"detail":"500.json"}}"#;
    let invalid = r#"{"errors":{"detail":"400.json"}}"#;
    for (target, status, body) in [
        ("/socket/websocket?token=tok-a&vsn=2.0.0", 101, ""),
        ("/socket/websocket?token=tok-a&vsn=1.0.0", 101, ""),
        ("/socket/websocket?token=tok-a", 101, ""),
        ("/socket/websocket?token=tok-a&vsn=1.0.9", 101, ""),
        ("/socket/websocket?token=tok-a&vsn=2.0.1", 101, ""),
        ("/socket/websocket?token=tok-a&vsn=1.1.0", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=2.0.0-rc.1", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=2.1.0", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=3.0.0", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=2", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=2.0", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=garbage", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=", 403, ""),
        ("/socket/websocket?token=tok-a&vsn=0.9.0", 403, ""),
        ("/socket/websocket?token=tok-a&vsn[]=2.0.0", 403, ""),
        ("/socket/websocket?vsn=2.0.0", 403, ""),
        ("/socket/websocket?token=bad&vsn=2.0.0", 403, ""),
        (
            "/socket/websocket?token=unauthorized&vsn=2.0.0",
            401,
            "unauthorized",
        ),
        ("/socket/websocket?token=crash&vsn=2.0.0", 500, failed),
        ("/nosuch/websocket?token=tok-a&vsn=2.0.0", 404, "not found"),
        ("/socket?token=tok-a&vsn=2.0.0", 404, "not found"),
        ("/socket/websocket2", 404, "not found"),
        ("/socket/websocket/?token=tok-a&vsn=2.0.0", 101, ""),
        (
            "/socket/websocket?token=tok-a&vsn=2.0.0&a[b]=1&l[]=1&l[]=2",
            101,
            "",
        ),
        ("/socket/websocket?token=bad&token=tok-a&vsn=2.0.0", 101, ""),
        ("/socket/websocket?token=tok-a&vsn=2.0.0&x=%zz", 101, ""),
        (
            "/socket/websocket?token=tok-a&vsn=2.0.0&x=%ff",
            400,
            invalid,
        ),
    ] {
        for way in WAYS {
            let answer = server.upgrade(target, way).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (status, body),
                "{target} {way:?}"
            );
            let cache = "max-age=0, private, must-revalidate";
            assert_eq!(answer.header("cache-control"), Some(cache), "{target}");
        }
    }
}

#[tokio::test]
async fn both_ways_answer_the_same() {
    let options = MountOptions {
        compress: true,
        subprotocols: vec!["sip".to_owned()],
        ..MountOptions::default()
    };
    let server = Server::start(&config(), options).await;
    let offers = [
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "sip"),
        ("x-request-id", "abc"),
    ];
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let mut answers = Vec::new();
    for way in WAYS {
        let answer = server.upgrade(target, &[&offers, way].concat()).await;
        assert_eq!(answer.status, 101);
        let mut headers = answer.headers;
        assert!(headers.remove("date").is_some(), "{way:?}");
        answers.push(headers);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].len(), 7, "{:?}", answers[0]);
}

/// As behind proxies that add some.
#[tokio::test]
async fn a_request_with_many_headers_opens_a_socket_too() {
    let server = server().await;
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let names: Vec<String> = (0..90).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(server.upgrade(target, &many).await.status, 101);
}

#[tokio::test]
async fn who_leaves_while_it_is_looked_at_is_let_go() {
    let patient = MountOptions {
        connect_timeout: Duration::from_secs(3600),
        ..MountOptions::default()
    };
    let server = Server::start(&config(), patient).await;
    let target = "/socket/websocket?token=hang&vsn=2.0.0";
    for way in WAYS {
        let hanging = server.upgrade(target, way);
        tokio::select! {
            _ = hanging => panic!("it is not answered"),
            () = server.until_held(1) => {}
        }
        server.until_held(0).await;
    }
}

#[tokio::test]
async fn a_connection_whose_upgrade_was_refused_may_ask_again() {
    let server = server().await;
    let mut client = server.connect().await;
    for (token, status) in [("bad", 403), ("ratelimit", 429), ("tok-a", 101)] {
        let target = format!("/socket/websocket?token={token}&vsn=2.0.0");
        let headers = with_upgrade(&[]);
        let answer = exchange(&mut client, "GET", &target, &headers, b"").await;
        assert_eq!(answer.status, status, "{token}");
    }
}

#[tokio::test]
async fn a_refusal_may_say_when_to_come_again() {
    let server = server().await;
    let answer = server
        .upgrade("/socket/websocket?token=ratelimit&vsn=2.0.0", &[])
        .await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("3"))
    );
}

#[tokio::test]
async fn a_handler_that_hangs_is_answered_in_time() {
    let hasty = MountOptions {
        connect_timeout: Duration::from_millis(50),
        ..MountOptions::default()
    };
    let server = Server::start(&config(), hasty).await;
    let answer = server
        .upgrade("/socket/websocket?token=hang&vsn=2.0.0", &[])
        .await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(answer.json()["reason"], "timeout");
}

#[tokio::test]
async fn what_is_no_upgrade_is_400_and_a_refused_token_403_before_that() {
    let server = server().await;
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let plain = server
        .request("GET", target, &[("connection", "close")])
        .await;
    assert_eq!(plain.status, 400);
    assert_eq!(
        plain.body,
        r#"'connection' header must contain 'upgrade', got ["close"]"#
    );
    for method in ["POST", "OPTIONS", "PUT"] {
        let answer = server.request(method, target, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{method}");
    }
    let refused = server
        .request("GET", "/socket/websocket?token=bad&vsn=2.0.0", &[])
        .await;
    assert_eq!((refused.status, refused.body.as_str()), (403, ""));
    let mut headers = with_upgrade(&[]);
    headers.retain(|(name, _)| *name != "sec-websocket-key");
    let keyless = server.request("GET", target, &headers).await;
    assert_eq!(keyless.body, "'sec-websocket-key' header is absent");
}

#[tokio::test]
async fn origins_are_checked_before_anything_is_asked() {
    let options = MountOptions {
        origins: origins(&["https://example.com", "//*.trusted.test"]),
        ..MountOptions::default()
    };
    let server = Server::start(&config(), options).await;
    for (origin, status) in [
        ("https://example.com", 101),
        ("http://trusted.test", 101),
        ("http://evil.test", 403),
        ("https://example.com.evil.test", 403),
        ("null", 403),
        ("file://", 403),
    ] {
        let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
        let answer = server.upgrade(target, &[("origin", origin)]).await;
        assert_eq!(answer.status, status, "{origin}");
    }
    let crash = "/socket/websocket?token=crash&vsn=2.0.0";
    let answer = server
        .upgrade(crash, &[("origin", "http://evil.test")])
        .await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn the_own_host_is_the_configured_one_or_that_of_the_request() {
    let public = Config {
        public_host: "chat.example.com".to_owned(),
        ..config()
    };
    for (config, origin, status) in [
        (&config(), "http://localhost:4000", 101),
        (&config(), "https://localhost", 101),
        (&config(), "http://127.0.0.1", 403),
        (&public, "https://chat.example.com", 101),
        (&public, "http://localhost:4000", 403),
    ] {
        let server = Server::start(config, MountOptions::default()).await;
        let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
        let answer = server.upgrade(target, &[("origin", origin)]).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn subprotocols_and_the_token_in_them() {
    let server = Server::with(&config(), |builder, hub| {
        let spoken = MountOptions {
            subprotocols: vec!["sip".to_owned(), "mqtt".to_owned()],
            ..MountOptions::default()
        };
        let token = MountOptions {
            auth_token: true,
            ..MountOptions::default()
        };
        builder
            .mount(mount("/spoken", hub, spoken))
            .mount(mount("/token", hub, token))
            .mount(mount("/none", hub, MountOptions::default()))
    })
    .await;
    let spoken = "/spoken/websocket?token=tok-a&vsn=2.0.0";
    let none = "/none/websocket?token=tok-a&vsn=2.0.0";
    let token = "/token/websocket?vsn=2.0.0";
    let bearer = "phoenix, base64url.bearer.phx.dG9rLXN1Yg";
    for (target, offered, status, chosen) in [
        (spoken, "mqtt, foo", 101, Some("mqtt")),
        (spoken, "mqtt, sip", 101, Some("sip")),
        (spoken, "foo", 403, None),
        (none, "foo", 101, None),
        (token, bearer, 101, Some("phoenix")),
        (token, "phoenix", 403, None),
    ] {
        let answer = server
            .upgrade(target, &[("sec-websocket-protocol", offered)])
            .await;
        assert_eq!(answer.status, status, "{offered}");
        assert_eq!(answer.header("sec-websocket-protocol"), chosen, "{offered}");
    }
    let unasked = server.upgrade(spoken, &[]).await;
    assert_eq!(
        (unasked.status, unasked.header("sec-websocket-protocol")),
        (101, None)
    );
}

#[tokio::test]
async fn compression_is_agreed_to_where_it_is_on() {
    let server = Server::with(&config(), |builder, hub| {
        let on = MountOptions {
            compress: true,
            ..MountOptions::default()
        };
        builder
            .mount(mount("/on", hub, on))
            .mount(mount("/off", hub, MountOptions::default()))
    })
    .await;
    let offer = (
        "sec-websocket-extensions",
        "permessage-deflate; client_max_window_bits",
    );
    let on = server.upgrade("/on/websocket?token=tok-a", &[offer]).await;
    let agreed = "permessage-deflate;client_max_window_bits=15";
    assert_eq!(on.header("sec-websocket-extensions"), Some(agreed));
    let off = server.upgrade("/off/websocket?token=tok-a", &[offer]).await;
    assert_eq!(
        (off.status, off.header("sec-websocket-extensions")),
        (101, None)
    );
}

#[tokio::test]
async fn paths_may_have_variables_and_another_end() {
    let server = Server::with(&config(), |builder, hub| {
        let options = MountOptions {
            websocket_path: "/ws".to_owned(),
            longpoll: None,
            ..MountOptions::default()
        };
        builder.mount(mount("/socket_path/:tenant", hub, options))
    })
    .await;
    let query = "token=tok-a&vsn=2.0.0";
    for (path, status) in [
        ("/socket_path/acme/ws", 101),
        ("/socket_path/acme/websocket", 404),
        ("/socket_path/ws", 404),
        ("/socket_path/acme/longpoll", 404),
    ] {
        let answer = server.upgrade(&format!("{path}?{query}"), &[]).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_draining_node_takes_no_sockets() {
    let server = server().await;
    server.hub.connections.drain(&Default::default()).await;
    let answer = server
        .upgrade("/socket/websocket?token=tok-a&vsn=2.0.0", &[])
        .await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(answer.json()["reason"], "restarting");
}

#[tokio::test]
async fn every_answer_carries_the_request_id() {
    let server = server().await;
    let sent = server
        .request("GET", "/nothing", &[("x-request-id", "r-42")])
        .await;
    assert_eq!(
        (sent.status, sent.header("x-request-id")),
        (404, Some("r-42"))
    );
    let made = server.request("GET", "/nothing", &[]).await;
    assert_eq!(made.header("x-request-id").unwrap().len(), 32);
}
