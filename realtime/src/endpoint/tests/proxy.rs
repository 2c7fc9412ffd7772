//! Forwarding headers are believed from trusted proxies only, and limits count the real client.

use axum::{Router, routing::get};

use super::super::test_kit::{Server, config, exchange, mount, with_upgrade};
use crate::{
    endpoint::{Client, Config},
    socket::MountOptions,
};

const FORWARDED_FOR: &str = "x-forwarded-for";

async fn server(config: &Config) -> Server {
    let echo = async |client: Client| format!("{} {}", client.ip, client.proxied);
    let routes = Router::new().route("/ip", get(echo));
    Server::with(config, |builder, hub| {
        let mount = mount("/socket", hub, MountOptions::default());
        builder.routes(routes).mount(mount)
    })
    .await
}

fn behind_loopback() -> Config {
    Config {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        max_connections_per_address: 1,
        ..config()
    }
}

#[tokio::test]
async fn the_header_of_a_stranger_is_ignored() {
    let server = server(&config()).await;
    let answer = server
        .request("GET", "/ip", &[(FORWARDED_FOR, "198.51.100.1")])
        .await;
    assert_eq!(answer.body, "127.0.0.1 false");
}

#[tokio::test]
async fn the_header_of_a_trusted_proxy_names_the_client() {
    let server = server(&behind_loopback()).await;
    let answer = server
        .request("GET", "/ip", &[(FORWARDED_FOR, "6.6.6.6, 198.51.100.1")])
        .await;
    assert_eq!(answer.body, "198.51.100.1 true");
}

#[tokio::test]
async fn sockets_count_for_the_client_and_not_for_the_proxy() {
    let server = server(&behind_loopback()).await;
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let mut kept = Vec::new();
    for (client, status) in [
        ("198.51.100.1", 101),
        ("198.51.100.2", 101),
        ("198.51.100.1", 503),
    ] {
        let mut stream = server.connect().await;
        let headers = with_upgrade(&[(FORWARDED_FOR, client)]);
        let answer = exchange(&mut stream, "GET", target, &headers, b"").await;
        assert_eq!(answer.status, status, "{client}");
        kept.push(stream);
    }
}
