//! Requests that land on another node than their session's.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use quikapp_actors::fanout::NodeId;
use quikapp_storage::{Addresses, NotShared};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::{
    auth::Secret,
    endpoint::{
        Nodes, TlsConfig,
        test_kit::{DEADLINE, mount, read_answer},
    },
    longpoll::token::SessionId,
    telemetry::test_kit::Logged,
};

/// Where turns are taken, no session may end because the machine is busy.
const TURNS: Duration = Duration::from_secs(2);
/// POSTs that may be under way to one node.
const POSTS: usize = 64;

/// Where nodes are, in memory.
#[derive(Debug, Default)]
struct Map {
    addresses: Mutex<HashMap<u64, String>>,
    is_away: AtomicBool,
    is_empty: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Addresses for Map {
    async fn put(&self, node: u64, address: &str) -> Result<(), NotShared> {
        self.addresses.lock().insert(node, address.to_owned());
        Ok(())
    }

    async fn find(&self, node: u64) -> Result<Option<String>, NotShared> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_empty.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(NotShared("away".into())),
            false => Ok(self.addresses.lock().get(&node).cloned()),
        }
    }
}

struct Node {
    server: Server,
    _advertised: DropGuard,
}

/// A node that waits long for messages, and asks each time where another one is.
async fn node(map: &Arc<Map>, number: u64, secret: &str) -> Node {
    node_with(map, number, secret, TURNS).await
}

async fn node_with(map: &Arc<Map>, number: u64, secret: &str, window: Duration) -> Node {
    let nodes = nodes(map, number, secret);
    let config = config();
    let server = Server::with(&config, |builder, hub| {
        let longpoll = LongPollOptions {
            window,
            origins: None,
        };
        let options = MountOptions {
            longpoll: Some(longpoll),
            ..options()
        };
        let builder = builder.nodes(Some(nodes.clone()));
        builder.mount(mount("/socket", hub, options))
    });
    let server = server.await;
    let advertised = advertise(map, nodes, format!("http://{}", server.address)).await;
    Node {
        server,
        _advertised: advertised,
    }
}

fn nodes(map: &Arc<Map>, number: u64, secret: &str) -> Nodes {
    let secret = Secret::new(secret.repeat(32)).unwrap();
    let (idle, known_for) = (Duration::from_secs(1), Duration::ZERO);
    Nodes::with_memory(NodeId(number), map.clone(), &secret, idle, known_for).unwrap()
}

async fn advertise(map: &Map, nodes: Nodes, address: String) -> DropGuard {
    let (stop, number) = (CancellationToken::new(), nodes.node().0);
    tokio::spawn(nodes.advertise(address, stop.clone()));
    while !map.addresses.lock().contains_key(&number) {
        tokio::task::yield_now().await;
    }
    stop.drop_guard()
}

/// Of a session that the node might have.
fn token_of(nodes: &Nodes) -> String {
    nodes.token_key().sign(nodes.node(), SessionId::random())
}

/// A process at a node's address that answers what it likes, or nothing.
struct Other {
    listener: TcpListener,
    /// Of a session that the node might have.
    token: String,
    _advertised: DropGuard,
}

impl Other {
    async fn at_the_address_of(map: &Arc<Map>, number: u64, secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = nodes(map, number, secret);
        let token = token_of(&nodes);
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self {
            _advertised: advertise(map, nodes, address).await,
            listener,
            token,
        }
    }

    /// A connection on which a request's head has come.
    async fn asked(&self) -> TcpStream {
        let asked = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
        };
        timeout(DEADLINE, asked).await.unwrap()
    }

    /// Sends a request for its session to a node; the connection that the answer comes on.
    async fn ask(&self, node: &Node, method: &str) -> TcpStream {
        let mut stream = node.server.connect().await;
        let target = format!("{PATH}?token={}&vsn=2.0.0", self.token);
        let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

/// The same session, as seen through another node.
fn through<'s>(node: &'s Node, client: &Client<'_>) -> Client<'s> {
    Client {
        server: &node.server,
        token: client.token.clone(),
    }
}

#[tokio::test]
async fn requests_of_a_session_may_land_on_any_node() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let there = through(&two, &here);
    for turn in 2..12 {
        let (sends, polls) = match turn % 2 {
            0 => (&there, &here),
            _ => (&here, &there),
        };
        let (msg_ref, text) = (turn.to_string(), format!("{turn}/{}", "x".repeat(turn)));
        let sent = echo(&msg_ref, &text);
        let (status, messages) = tokio::join!(sends.post(&sent), polls.messages());
        assert_eq!(status, 200);
        assert_eq!(messages, [echoed(&msg_ref, &text)]);
    }
    // A batch keeps its type, and a bad one is refused as it would be there.
    let batch = format!("{}\n{}", echo("20", "one"), echo("21", "two"));
    assert_eq!(
        there.send(&[NDJSON], &batch).await.json(),
        json!({"status": 200})
    );
    assert_eq!(
        there.messages().await,
        [echoed("20", "one"), echoed("21", "two")]
    );
    assert_eq!(there.send(&[NDJSON], "***").await.status, 400);
}

#[tokio::test]
async fn a_window_passes_on_any_node() {
    let map = Arc::default();
    let window = Duration::from_secs(1);
    let one = node_with(&map, 1, "a", window).await;
    let two = node_with(&map, 2, "a", window).await;
    let here = Client::begin(&one.server, "a").await;
    assert_eq!(through(&two, &here).get().await["status"], 204);
}

#[tokio::test]
async fn the_address_of_a_client_is_decided_where_it_came_in() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let forged = [
        ("x-quikapp-passed-on", "1"),
        ("x-forwarded-for", "10.9.9.9"),
    ];
    let answer = two.server.request("GET", &here.target(), &forged).await;
    assert_eq!(
        answer.status, 404,
        "not passed on again, and nothing begins"
    );
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0");
    let answer = two.server.request("GET", &target, &forged).await;
    assert_eq!(answer.status, 404);
    let answer = two
        .server
        .send("POST", &here.target(), &forged, b"[]")
        .await;
    assert_eq!(answer.status, 404);
    // Pages of other origins are refused where the request comes in.
    let origin = [("origin", "https://evil.example")];
    let answer = two.server.request("GET", &here.target(), &origin).await;
    assert_eq!(answer.json(), json!({"status": 403}));
}

#[tokio::test]
async fn a_session_whose_node_is_gone_is_410_and_the_client_starts_over() {
    let map: Arc<Map> = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let there = through(&two, &here);
    assert_eq!(there.post(&echo("2", "one")).await, 200);
    assert_eq!(there.messages().await, [echoed("2", "one")]);
    one.server.served.abort();
    one.server.stop.cancel();
    drop(one);
    assert_eq!(there.post(&echo("3", "two")).await, 410);
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0&token={}", there.token);
    let begun = two.server.request("GET", &target, &[]).await.json();
    assert_eq!(
        begun["status"], 403,
        "the token that `connect` reads is the last one"
    );
    let token = [("x-phoenix-longpoll-token", there.token.as_str())];
    let target = format!("{PATH}?token=tok-a&vsn=2.0.0");
    let begun = two.server.request("GET", &target, &token).await.json();
    assert_eq!(begun["status"], 410);
    assert_ne!(begun["token"], there.token);
}

#[tokio::test]
async fn a_node_with_another_secret_is_asked_for_nothing() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "b").await];
    let here = Client::joined(&one.server, "a").await;
    assert_eq!(through(&two, &here).post(&echo("2", "one")).await, 410);
}

#[tokio::test]
async fn what_was_known_will_do_while_nothing_can_be_asked_or_all_is_forgotten() {
    let map: Arc<Map> = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let there = through(&two, &here);
    assert_eq!(there.post(&echo("2", "one")).await, 200);
    for trouble in [&map.is_away, &map.is_empty] {
        trouble.store(true, Ordering::Relaxed);
        let asked = map.asked.load(Ordering::Relaxed);
        assert_eq!(there.post(&echo("3", "two")).await, 200);
        assert!(map.asked.load(Ordering::Relaxed) > asked, "it was asked");
        trouble.store(false, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn what_is_not_the_owners_answer_is_not_passed_back() {
    const BODY: &str = r#"{"status":200}"#;
    let map = Arc::default();
    let two = node(&map, 2, "a").await;
    let other = Other::at_the_address_of(&map, 1, "a").await;
    let mark = "x-quikapp-answered: 1\r\n";
    for (status, mark, expected, in_body) in [
        ("200 OK", mark, 200, Some(200)),
        ("200 OK", "", 200, Some(410)),
        ("404 Not Found", mark, 200, Some(410)),
        ("500 Internal Server Error", "", 200, Some(410)),
        ("503 Service Unavailable", "", 503, Some(500)),
    ] {
        let mut client = other.ask(&two, "POST").await;
        let mut asked = other.asked().await;
        let length = BODY.len();
        let head = format!("HTTP/1.1 {status}\r\n{mark}connection: close\r\n");
        let answer = format!("{head}content-length: {length}\r\n\r\n{BODY}");
        asked.write_all(answer.as_bytes()).await.unwrap();
        let answer = timeout(DEADLINE, read_answer(&mut client)).await.unwrap();
        let retry_after = answer.header("retry-after");
        assert_eq!(retry_after.is_some(), expected == 503, "{status} {mark}");
        let statuses = (answer.status, answer.json()["status"].as_u64());
        assert_eq!(statuses, (expected, in_body), "{status} {mark}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let map = Arc::default();
    let two = node(&map, 2, "a").await;
    let other = Other::at_the_address_of(&map, 1, "a").await;
    let mut client = other.ask(&two, "POST").await;
    let mut asked = other.asked().await;
    let head = b"HTTP/1.1 200 OK\r\nx-quikapp-answered: 1\r\n\r\n";
    asked.write_all(head).await.unwrap();
    let (block, mut blocks) = (vec![b' '; 1 << 20], 0);
    while blocks < 64 && asked.write_all(&block).await.is_ok() {
        blocks += 1;
    }
    assert!(blocks < 64, "{blocks} MiB were taken");
    let answer = timeout(DEADLINE, read_answer(&mut client)).await.unwrap();
    assert_eq!(answer.json()["status"], 410);
}

#[tokio::test]
async fn a_silent_node_holds_up_no_other() {
    let map = Arc::default();
    let [one, two] = [node(&map, 1, "a").await, node(&map, 2, "a").await];
    let here = Client::joined(&one.server, "a").await;
    let silent = Other::at_the_address_of(&map, 3, "a").await;
    let mut waiting = Vec::new();
    for _ in 0..POSTS {
        waiting.push((silent.ask(&two, "POST").await, silent.asked().await));
    }
    let mut refused = silent.ask(&two, "POST").await;
    assert_eq!(through(&two, &here).post(&echo("2", "one")).await, 200);
    let refused = timeout(DEADLINE, read_answer(&mut refused)).await.unwrap();
    assert_eq!(refused.status, 503);
}

#[tokio::test]
async fn a_poll_that_waits_elsewhere_starts_over_when_the_node_stops() {
    let map = Arc::default();
    let two = node(&map, 2, "a").await;
    let silent = Other::at_the_address_of(&map, 1, "a").await;
    let mut client = silent.ask(&two, "GET").await;
    let _asked = silent.asked().await;
    two.server.stop.cancel();
    let answer = timeout(DEADLINE, read_answer(&mut client)).await.unwrap();
    let body = answer.json();
    assert_eq!((answer.status, &body["status"]), (200, &json!(500)));
    assert_eq!(body["reason"], "restarting");
}

/// A listener with a certificate that nobody has reason to believe.
fn with_certificate(folder: &Path) -> Config {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let tls = TlsConfig {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        ..TlsConfig::default()
    };
    std::fs::write(&tls.cert, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    Config { tls, ..config() }
}

/// To its clients a node whose certificate is not believed is one that is gone; to operators it is
/// a mistake, and no other sign of it is to be seen.
#[tokio::test]
async fn a_node_whose_certificate_is_not_believed_is_warned_of_once_a_minute() {
    let logged = Logged::with_filter("warn");
    let (map, folder) = (Arc::default(), tempfile::tempdir().unwrap());
    let two = node(&map, 2, "a").await;
    let one = Server::start(&with_certificate(folder.path()), options()).await;
    let at_one = nodes(&map, 1, "a");
    let token = token_of(&at_one);
    let address = format!("https://{}", one.address);
    let _advertised = advertise(&map, at_one, address.clone()).await;
    let client = Client {
        server: &two.server,
        token,
    };
    for _ in 0..2 {
        assert_eq!(client.post(&echo("2", "one")).await, 410);
    }
    // Where no certificate is asked for, a node that is gone is nothing to warn of.
    let gone = nodes(&map, 3, "a");
    let of_gone = Client {
        server: &two.server,
        token: token_of(&gone),
    };
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr();
    let nobody = format!("http://{}", nobody.unwrap());
    let _advertised_too = advertise(&map, gone, nobody).await;
    assert_eq!(of_gone.post(&echo("2", "one")).await, 410);

    let text = logged.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let warnings: Vec<Value> = lines
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    assert_eq!(warnings.len(), 1, "{text}");
    let warning = &warnings[0];
    let told = "a node is not reached where it says it is";
    assert_eq!(warning["message"], told);
    assert_eq!(warning["address"], address);
    let error = warning["error"].as_str().unwrap();
    assert!(error.contains("Certificate"), "{error}");
    assert!(!text.contains(&client.token), "{text}");
}
