//! Header timeout, connection caps, request timeout.

use std::{io, time::Duration};

use axum::{Router, routing::get};
use futures_util::{SinkExt, StreamExt};
use quikapp_actors::fanout::Broadcast;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::super::test_kit::{DEADLINE, Server, WAYS, config, exchange, opening, read_answer};
use crate::{
    endpoint::Config,
    socket::{Limits, MountOptions},
};

fn hasty() -> Config {
    Config {
        header_timeout: Duration::from_millis(100),
        ..config()
    }
}

fn capped(max_connections: usize, per_address: usize) -> Config {
    Config {
        max_connections,
        max_connections_per_address: per_address,
        ..config()
    }
}

async fn start(config: &Config) -> Server {
    Server::start(config, MountOptions::default()).await
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_header_timeout() {
    let server = start(&hasty()).await;
    let mut silent = server.connect().await;
    let read = timeout(DEADLINE, silent.read(&mut [0; 1])).await;
    assert_eq!(read.expect("closed in time").unwrap(), 0);
    assert_eq!(server.endpoint.admission().held(), 0);
}

#[tokio::test]
async fn a_header_that_trickles_in_is_cut_off_as_well() {
    let server = start(&hasty()).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, slow.read_to_end(&mut answer)).await;
    assert!(read.expect("closed in time").is_ok());
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "nothing was served");
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed() {
    let server = start(&hasty()).await;
    let mut client = server.connect().await;
    assert_eq!(
        exchange(&mut client, "GET", "/", &[], b"").await.status,
        404
    );
    assert_eq!(
        exchange(&mut client, "GET", "/", &[], b"").await.status,
        404
    );
    let read = timeout(DEADLINE, client.read(&mut [0; 1])).await;
    assert_eq!(read.expect("closed in time").unwrap(), 0);
}

#[tokio::test]
async fn over_the_nodes_cap_is_503_with_a_reason() {
    let server = start(&capped(1, 10)).await;
    let mut first = server.connect().await;
    assert_eq!(exchange(&mut first, "GET", "/", &[], b"").await.status, 404);
    let second = server.request("GET", "/", &[]).await;
    assert_eq!(
        (second.status, second.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(second.header("connection"), Some("close"));
    assert_eq!(
        second.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(second.json()["reason"], "too_many_connections");
    drop(first);
    let reached = async { while server.request("GET", "/", &[]).await.status != 404 {} };
    timeout(DEADLINE, reached)
        .await
        .expect("the place is given back");
}

/// However many come at once, and whoever keeps silent among them.
#[tokio::test]
async fn everybody_in_a_crowd_over_the_cap_is_told_when_to_come_again() {
    let server = start(&capped(1, 10)).await;
    let mut first = server.connect().await;
    assert_eq!(exchange(&mut first, "GET", "/", &[], b"").await.status, 404);
    let mut silent = Vec::new();
    for _ in 0..256 {
        silent.push(server.connect().await);
    }
    for _ in 0..50 {
        let refused = server.request("GET", "/", &[]).await;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (503, Some("5"))
        );
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(refused.json()["reason"], "too_many_connections");
    }
    let mut more = server.connect().await;
    let told = timeout(DEADLINE, read_answer(&mut more)).await;
    assert_eq!(told.expect("it need not speak").status, 503);
}

#[tokio::test]
async fn over_the_cap_of_an_address_is_503_while_the_node_has_places() {
    let server = start(&capped(10, 1)).await;
    let mut first = server.connect().await;
    assert_eq!(exchange(&mut first, "GET", "/", &[], b"").await.status, 404);
    let second = server.request("GET", "/", &[]).await;
    assert_eq!(second.status, 503);
    assert_eq!(second.json()["reason"], "too_many_connections_from_address");
}

#[tokio::test]
async fn an_upgraded_socket_keeps_its_place() {
    let server = start(&capped(1, 10)).await;
    let mut socket = server.connect().await;
    let headers = super::super::test_kit::with_upgrade(&[]);
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let upgraded = exchange(&mut socket, "GET", target, &headers, b"").await;
    assert_eq!(upgraded.status, 101);
    assert_eq!(server.request("GET", "/", &[]).await.status, 503);
    assert_eq!(server.endpoint.admission().held(), 1);
}

#[tokio::test]
async fn a_route_that_hangs_is_answered() {
    let config = Config {
        request_timeout: Duration::from_millis(50),
        ..config()
    };
    let hanging = Router::new().route("/hang", get(std::future::pending::<()>));
    let server = Server::with(&config, |builder, _| builder.routes(hanging)).await;
    let answer = server.request("GET", "/hang", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["reason"], "timeout");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut() {
    let config = Config {
        write_timeout: Duration::from_millis(100),
        ..config()
    };
    let flood = Router::new().route("/flood", get(async || vec![0_u8; 64 << 20]));
    let server = Server::with(&config, |builder, _| builder.routes(flood)).await;
    let mut greedy = server.connect().await;
    let ask = b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n";
    greedy.write_all(ask).await.unwrap();
    greedy.readable().await.unwrap();
    assert_eq!(
        server.endpoint.admission().held(),
        1,
        "it is being answered"
    );
    server.until_held(0).await;
}

#[tokio::test]
async fn a_frame_sent_with_the_request_is_not_lost() {
    let server = start(&config()).await;
    for way in WAYS {
        let mut socket = server.connect().await;
        let request = opening("/socket/websocket?token=tok-a&vsn=2.0.0", way);
        let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
        let together = [&request[..], &ping].concat();
        socket.write_all(&together).await.unwrap();
        let answer = timeout(DEADLINE, read_answer(&mut socket)).await.unwrap();
        assert_eq!(answer.status, 101);
        let mut pong = [0; 4];
        timeout(DEADLINE, socket.read_exact(&mut pong))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(pong, [0x8a, 2, b'h', b'i']);
    }
}

/// A client that joins and then reads nothing.
async fn stalled(server: &Server) -> WebSocketStream<TcpStream> {
    let tcp = server.connect().await;
    let url = format!(
        "ws://{}/socket/websocket?token=tok-a&vsn=2.0.0",
        server.address
    );
    let (mut client, _) = client_async(url, tcp).await.unwrap();
    let join = json!(["1", "1", "room:1", "phx_join", {}]).to_string();
    client.send(Message::text(join)).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is_text());
    client
}

#[tokio::test]
async fn who_reads_nothing_is_reset() {
    const MESSAGES: usize = 120;
    const BYTES: usize = 64 * 1024;
    let limits = Limits {
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let options = MountOptions {
        limits,
        ..MountOptions::default()
    };
    let server = Server::start(&config(), options).await;
    let client = stalled(&server).await;
    let text = json!({"text": "x".repeat(BYTES)});
    for _ in 0..MESSAGES {
        let said = Broadcast::new("room:1", "said", text.clone().into());
        server.hub.fanout.publish(said);
    }
    let cut = async {
        while server.hub.fanout.subscribers("room:1") > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, cut).await.expect("cut");
    let mut tcp = client.into_inner();
    let end = loop {
        match tcp.read(&mut vec![0; BYTES]).await {
            Ok(0) => panic!("an orderly end, for which the kernel kept what was not taken"),
            Ok(_) => {}
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(end, io::ErrorKind::ConnectionReset);
}
