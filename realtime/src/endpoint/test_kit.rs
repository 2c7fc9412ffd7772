//! A server on a free port with a small socket, and a client that speaks raw HTTP.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use quikapp_actors::{SystemClock, fanout::Fanout};
use quikapp_protocol::Payload;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Config, Endpoint, EndpointBuilder, Listener, connection::Connection};
use crate::{
    channel::{Channel, Context, Flow, JoinError, Router},
    socket::{ConnectInfo, ConnectRefusal, Connected, Hub, Mount, MountOptions, SocketHandler},
};

/// Longer than anything takes that works.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Who connected, as `connect` saw it.
pub(crate) struct Guest {
    uid: String,
    params: Value,
}

/// `token=tok-<uid>` connects; the other tokens are those of the reference application.
pub(crate) struct TestSocket;

impl SocketHandler for TestSocket {
    type Assigns = Guest;

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<Guest>, ConnectRefusal> {
        let token = info.auth_token.as_deref().or(info.param("token"));
        let refused = |status| ConnectRefusal::forbidden("refused").with_status(status);
        match token {
            Some("crash") => panic!("as asked"),
            Some("hang") => std::future::pending().await,
            Some("unauthorized") => Err(refused(401).with_body("unauthorized")),
            Some("ratelimit") => Err(refused(429).with_retry_after_s(3)),
            Some(token) => {
                let uid = token.strip_prefix("tok-").ok_or(refused(403))?.to_owned();
                let id = format!("user_socket:{uid}");
                let params = json!({"client": info.peer.ip(), "params": info.params()});
                Ok(Connected::new(Guest { uid, params }).socket_id(id))
            }
            None => Err(refused(403)),
        }
    }
}

/// `echo` answers, `flood` pushes many, `whoami` tells what `connect` saw.
pub(crate) struct Room;

impl Channel for Room {
    type Assigns = Guest;
    type State = ();

    async fn join(&self, _: &mut Context<Guest>, _: Payload) -> Result<((), Payload), JoinError> {
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        (): &mut (),
        cx: &mut Context<Guest>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        match event {
            "echo" => Flow::ok(payload),
            "whoami" => {
                let guest = cx.assigns();
                Flow::ok(json!({"uid": guest.uid, "seen": guest.params}))
            }
            "flood" => {
                for _ in 0..200 {
                    cx.push("drop", json!({"text": "x".repeat(1000)}));
                }
                Flow::NoReply
            }
            "say" => {
                cx.broadcast("said", payload);
                Flow::NoReply
            }
            "bytes" => Flow::ok(Payload::Binary(vec![0xab; 3].into())),
            _ => Flow::crash("unknown event"),
        }
    }
}

/// A running listener; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) endpoint: Endpoint,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Every test listens on a free port.
pub(crate) fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    }
}

impl Server {
    /// Serves [`TestSocket`] at `/socket`.
    pub(crate) async fn start(config: &Config, options: MountOptions) -> Self {
        Self::with(config, |builder, hub| {
            builder.mount(mount("/socket", hub, options))
        })
        .await
    }

    pub(crate) async fn with(
        config: &Config,
        add: impl FnOnce(EndpointBuilder, &Hub) -> EndpointBuilder,
    ) -> Self {
        let hub = Hub::new(Fanout::new(), Arc::new(SystemClock));
        let endpoint = add(Endpoint::builder(config), &hub).build().unwrap();
        let listener = Listener::bind(config.listen, config.backlog).unwrap();
        let (address, stop) = (listener.local_addr(), CancellationToken::new());
        let served = tokio::spawn(listener.serve(endpoint.clone(), stop.clone()));
        Self {
            address,
            hub,
            endpoint,
            stop,
            served,
        }
    }

    /// What a request is answered with, without a listener.
    pub(crate) fn connection(&self) -> Connection {
        let peer = "127.0.0.1:1".parse().unwrap();
        let permit = self.endpoint.admit(peer).unwrap();
        Connection {
            endpoint: self.endpoint.clone(),
            peer,
            tls: false,
            permit: Arc::new(permit),
            stop: self.stop.clone(),
        }
    }

    /// Waits until so many connections are held.
    pub(crate) async fn until_held(&self, count: usize) {
        let reached = async {
            while self.endpoint.admission().held() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, reached).await.expect("in time");
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(method, target, headers, b"").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        exchange(&mut self.connect().await, method, target, headers, body).await
    }

    /// A GET that asks for an upgrade, as browsers do.
    pub(crate) async fn upgrade(&self, target: &str, more: &[(&str, &str)]) -> Answer {
        self.request("GET", target, &with_upgrade(more)).await
    }
}

pub(crate) fn mount(path: &str, hub: &Hub, options: MountOptions) -> Mount {
    let router = Router::new().channel("room:*", Room);
    Mount::new(path, TestSocket, router, hub, options)
}

/// What more a request that opens a socket may say: without hyper it is read only if it does not
/// say that it has a body.
pub(crate) const WAYS: [&[(&str, &str)]; 2] = [&[], &[("content-length", "0")]];

pub(crate) fn with_upgrade<'h>(more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    upgrade.iter().chain(more).copied().collect()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request and reads its whole answer (of a 101 only the head).
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let request = request(method, target, headers, body);
    stream.write_all(&request).await.unwrap();
    timeout(DEADLINE, read_answer(stream)).await.unwrap()
}

/// A request as it goes over the wire.
pub(crate) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: localhost:4000\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

/// A request that asks for an upgrade, as it goes over the wire.
pub(crate) fn opening(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    request("GET", target, &with_upgrade(more), b"")
}

pub(crate) async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    Answer {
        status: status.parse().unwrap(),
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}
