//! Stopping: nothing new, what is open may finish, what does not is cut.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Notify, time::timeout};

use super::super::test_kit::{DEADLINE, Server, config, exchange};
use crate::endpoint::Config;

/// A route that tells when it is asked, and answers when it is told to.
struct Gate {
    asked: Notify,
    go: Notify,
}

async fn gated(config: &Config) -> (Server, Arc<Gate>) {
    let gate = Arc::new(Gate {
        asked: Notify::new(),
        go: Notify::new(),
    });
    let inside = gate.clone();
    let wait = async move || {
        inside.asked.notify_one();
        inside.go.notified().await;
        "done"
    };
    let routes = Router::new().route("/wait", get(wait));
    let server = Server::with(config, |builder, _| builder.routes(routes)).await;
    (server, gate)
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_the_port_is_closed() {
    let offers = [("connection", "upgrade"), ("upgrade", "h2c")];
    for offered in [&[][..], &offers] {
        is_answered_and_the_port_is_closed(offered).await;
    }
}

async fn is_answered_and_the_port_is_closed(headers: &[(&str, &str)]) {
    let (mut server, gate) = gated(&config()).await;
    let mut idle = server.connect().await;
    assert_eq!(exchange(&mut idle, "GET", "/", &[], b"").await.status, 404);
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    let answer = exchange(&mut busy, "GET", "/wait", headers, b"");
    let stopping = async {
        gate.asked.notified().await;
        server.stop.cancel();
        for unused in [&mut idle, &mut silent] {
            let closed = timeout(DEADLINE, unused.read(&mut [0; 1])).await;
            assert_eq!(closed.expect("idle connections go at once").unwrap(), 0);
        }
        assert!(TcpStream::connect(server.address).await.is_err());
        gate.go.notify_one();
    };
    let (answer, ()) = tokio::join!(answer, stopping);
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    timeout(DEADLINE, &mut server.served)
        .await
        .expect("served ends")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_at_the_deadline() {
    let hasty = Config {
        drain_timeout: Duration::from_millis(50),
        ..config()
    };
    let (mut server, gate) = gated(&hasty).await;
    let mut stuck = server.connect().await;
    let write =
        tokio::io::AsyncWriteExt::write_all(&mut stuck, b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n");
    write.await.unwrap();
    gate.asked.notified().await;
    server.stop.cancel();
    timeout(DEADLINE, &mut server.served)
        .await
        .expect("served ends")
        .unwrap();
    let read = timeout(DEADLINE, stuck.read(&mut [0; 1]))
        .await
        .expect("cut");
    assert!(matches!(read, Ok(0) | Err(_)));
}
