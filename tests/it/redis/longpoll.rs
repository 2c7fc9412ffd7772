//! A long-poll session goes on wherever its requests land, as behind a load balancer that knows
//! nothing of sessions; and when its process dies, another takes the client up.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::{away::redis_becomes, server, two};
use crate::support::{Client, Guest, Rest, Server};

const MESSAGES: u64 = 20;
const PASSED_ON: &str = r#"quikapp_longpoll_passed_on_total{outcome="answered"}"#;

const PATIENCE: Duration = Duration::from_secs(10);

/// Every message is waited for, and this is how soon the other process finds it in the store.
const POLL: (&str, &str) = ("QUIKAPP_CONVERSATION__POLL", "50ms");

/// A client whose requests go to the servers in turn.
struct Poller {
    http: reqwest::Client,
    /// With the path and what `connect` reads.
    urls: Vec<String>,
    turn: usize,
    session: String,
    next_ref: u64,
    inbox: Vec<Value>,
}

impl Poller {
    /// Opens a session on the first of the servers.
    async fn open(servers: &[&Server], guest: &Guest) -> Self {
        let url = |server: &&Server| {
            let (url, token) = (&server.url, &guest.token);
            format!("{url}/socket/longpoll?vsn=2.0.0&auth_token={token}")
        };
        let mut poller = Self {
            http: reqwest::Client::new(),
            urls: servers.iter().map(url).collect(),
            turn: 0,
            session: String::new(),
            next_ref: 1,
            inbox: Vec::new(),
        };
        assert_eq!(poller.poll().await, 410, "a session begins");
        poller
    }

    fn next_request(&mut self, method: Method) -> RequestBuilder {
        let url = &self.urls[self.turn % self.urls.len()];
        self.turn += 1;
        let request = self.http.request(method, url);
        match self.session.as_str() {
            "" => request,
            session => request.header("x-phoenix-longpoll-token", session),
        }
    }

    /// Takes what waits; the status in the answer.
    async fn poll(&mut self) -> u64 {
        let request = self.next_request(Method::GET);
        let answer = request.send().await.unwrap();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        if let Some(session) = body["token"].as_str() {
            self.session = session.to_owned();
        }
        for text in body["messages"].as_array().into_iter().flatten() {
            let frame = serde_json::from_str(text.as_str().unwrap());
            self.inbox.push(frame.unwrap());
        }
        body["status"].as_u64().unwrap()
    }

    /// Sends an event; its ref and the status of the answer.
    async fn push(&mut self, topic: &str, event: &str, payload: Value) -> (String, u64) {
        let msg_ref = self.next_ref.to_string();
        self.next_ref += 1;
        let join_ref = (event == "phx_join").then_some(&msg_ref);
        let frame = json!([join_ref, msg_ref, topic, event, payload]).to_string();
        let request = self.next_request(Method::POST).body(frame);
        let request = request.header("content-type", "application/json");
        let answer = request.send().await.unwrap().text().await.unwrap();
        let body: Value = serde_json::from_str(&answer).unwrap();
        (msg_ref, body["status"].as_u64().unwrap())
    }

    /// Sends an event and polls until it is answered.
    async fn call(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        let (msg_ref, status) = self.push(topic, event, payload).await;
        assert_eq!(status, 200, "{event}");
        let is_reply = |frame: &Value| frame[1] == *msg_ref && frame[3] == "phx_reply";
        let mut reply = self.next_that(is_reply).await;
        assert_eq!(reply[4]["status"], "ok", "{reply}");
        reply[4]["response"].take()
    }

    /// Joins as one who has seen nothing; where the messages stand that this brings.
    async fn catches_up(&mut self, topic: &str) -> Vec<Value> {
        let joined = self.call(topic, "phx_join", json!({ "last_seq": 0 })).await;
        let gap = joined["gap"].as_array().unwrap();
        let news = gap.iter().filter(|entry| entry["event"] == "message:new");
        seqs_of(news)
    }

    async fn expect(&mut self, topic: &str, event: &str) -> Value {
        let is_it = |frame: &Value| frame[2] == topic && frame[3] == event;
        self.next_that(is_it).await[4].take()
    }

    async fn next_that(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(at);
            }
            let status = self.poll().await;
            assert!(status == 200 || status == 204, "{status}");
        }
    }
}

fn seqs_of<'m>(messages: impl IntoIterator<Item = &'m Value>) -> Vec<Value> {
    let seqs = messages.into_iter().map(|message| message["seq"].clone());
    seqs.collect()
}

/// Waits until a request that lands on one process is answered by the session on the other.
async fn is_passed_on(from: &Server, to: &Server, guest: &Guest) {
    let deadline = Instant::now() + PATIENCE;
    let mut poller = Poller::open(&[to, from], guest).await;
    loop {
        poller.turn = 1;
        let (_, status) = poller.push("phoenix", "heartbeat", json!({})).await;
        if status == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_client_chats_through_whichever_process_it_lands_on() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &[POLL]).await;
    for server in [&here, &there] {
        redis_becomes(server, "up").await;
    }
    let rest = Rest::of(&there);
    let people = [rest.guest("Alice").await, rest.guest("Bob").await];
    is_passed_on(&there, &here, &people[0]).await;
    let topic = format!("chat:{}", rest.group(&people).await);
    let mut bob = Client::connect(&there, &people[1]).await;
    bob.join(&topic, json!({})).await;

    let mut alice = Poller::open(&[&here, &there], &people[0]).await;
    alice.call(&topic, "phx_join", json!({})).await;
    for number in 0..MESSAGES {
        let content = number.to_string();
        let message = json!({ "type": "text", "content": content });
        let sent = alice.call(&topic, "message:send", message).await;
        assert_eq!(bob.expect(&topic, "message:new").await["seq"], sent["seq"]);
        assert_eq!(
            alice.expect(&topic, "message:new").await["seq"],
            sent["seq"]
        );
    }
    // From where she is not, to where she is not, and back.
    bob.call(&topic, "typing:start", json!({})).await.unwrap();
    alice.expect(&topic, "typing:start").await;
    let history = rest
        .history(topic.trim_start_matches("chat:"), &people[1])
        .await;
    assert!(history.len() as u64 >= MESSAGES);
    assert!(rest.metric::<u64>(PASSED_ON).await > MESSAGES);

    // The process of the session dies: the client is told, begins anew, and has missed nothing.
    let (first, log) = (alice.session.clone(), here.log());
    here.kill().await;
    alice.urls.remove(0);
    let (_, status) = alice.push(&topic, "message:send", json!({})).await;
    assert_eq!(status, 410);
    assert_eq!(alice.poll().await, 410, "another session begins");
    assert_eq!(alice.catches_up(&topic).await, seqs_of(&history));
    // No token of a session is in a log, neither where it was nor where it was passed on from.
    assert_ne!(first, alice.session);
    for log in [log, there.log()] {
        assert!(!log.contains(&first) && !log.contains(&alice.session));
        let warnings = log.matches("endpoint.advertise is not set").count();
        assert_eq!(warnings, 1, "both are on loopback addresses");
    }
}

/// Processes ask each other in the clear; that a small container knows no authority is no obstacle.
#[tokio::test]
async fn processes_that_share_a_redis_start_where_no_authority_is_known() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let none = dir.path().join("none");
    let none = none.to_str().unwrap();
    let settings = [("SSL_CERT_FILE", none), ("SSL_CERT_DIR", none)];
    let [here, there] = two(dir.path(), &redis, &settings).await;
    for server in [here, there] {
        Rest::of(&server).guest("Ann").await;
    }
}
