#![allow(clippy::unwrap_used)]
mod nodes;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    endpoint::{
        Config, LongPollConfig,
        test_kit::{Answer, Server, config},
    },
    socket::{DrainOptions, Limits, LongPollOptions, MountOptions},
};

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const PATH: &str = "/socket/longpoll";

/// Short enough for tests, long enough for a busy machine.
const WINDOW: Duration = Duration::from_millis(400);

fn options() -> MountOptions {
    MountOptions {
        origins: serde_json::from_value(json!(["https://example.com"])).unwrap(),
        auth_token: true,
        longpoll: Some(LongPollOptions {
            window: WINDOW,
            origins: None,
        }),
        ..MountOptions::default()
    }
}

async fn server() -> Server {
    Server::start(&config(), options()).await
}

/// A client with a session.
struct Client<'s> {
    server: &'s Server,
    token: String,
}

impl<'s> Client<'s> {
    async fn begin(server: &'s Server, user: &str) -> Self {
        let target = format!("{PATH}?token=tok-{user}&vsn=2.0.0");
        let answer = server.request("GET", &target, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let body = answer.json();
        assert_eq!(
            (&body["status"], &body["messages"]),
            (&json!(410), &json!([]))
        );
        let token = body["token"].as_str().unwrap().to_owned();
        Self { server, token }
    }

    async fn joined(server: &'s Server, user: &str) -> Self {
        let client = Self::begin(server, user).await;
        assert_eq!(
            client.post(r#"["1","1","room:x","phx_join",{}]"#).await,
            200
        );
        let reply = json!(["1", "1", "room:x", "phx_reply", {"response": {}, "status": "ok"}]);
        assert_eq!(client.messages().await, [reply]);
        client
    }

    fn target(&self) -> String {
        format!("{PATH}?token={}&vsn=2.0.0", self.token)
    }

    async fn get(&self) -> Value {
        let answer = self.server.request("GET", &self.target(), &[]).await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    async fn messages(&self) -> Vec<Value> {
        let body = self.get().await;
        assert_eq!(body["status"], 200, "{body}");
        assert_eq!(body["token"], self.token);
        let texts = body["messages"].as_array().unwrap();
        let parse = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap();
        texts.iter().map(parse).collect()
    }

    async fn send(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.server
            .send("POST", &self.target(), headers, body.as_bytes())
            .await
    }

    async fn post(&self, body: &str) -> Value {
        let answer = self
            .send(&[("content-type", "application/json")], body)
            .await;
        assert_eq!(answer.status, 200);
        answer.json()["status"].clone()
    }
}

fn echo(msg_ref: &str, text: &str) -> String {
    json!(["1", msg_ref, "room:x", "echo", {"text": text}]).to_string()
}

fn echoed(msg_ref: &str, text: &str) -> Value {
    json!(["1", msg_ref, "room:x", "phx_reply", {"response": {"text": text}, "status": "ok"}])
}

#[tokio::test]
async fn posts_are_answered_by_polls_in_order() {
    let server = server().await;
    let client = Client::joined(&server, "a").await;
    assert_eq!(client.post(&echo("2", "one")).await, 200);
    assert_eq!(client.post(&echo("3", "two")).await, 200);
    assert_eq!(
        client.messages().await,
        [echoed("2", "one"), echoed("3", "two")]
    );
}

#[tokio::test]
async fn a_batch_mixes_lines_and_binary_frames() {
    let server = server().await;
    let client = Client::joined(&server, "a").await;
    let binary = "AAEBBgQxNHJvb206eGVjaG8BAgM=";
    let batch = format!("{}\n{binary}\r\n{}\n", echo("2", "one"), echo("3", "two"));
    assert_eq!(
        client.send(&[NDJSON], &batch).await.json(),
        json!({"status": 200})
    );
    // The echo of bytes is a binary frame, which is text only when its bytes are.
    let body = client.get().await;
    let texts: Vec<&str> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[1].ends_with("ok\u{1}\u{2}\u{3}"), "{:?}", texts[1]);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_left_out_and_the_rest_arrives() {
    let server = server().await;
    let client = Client::joined(&server, "a").await;
    let batch = format!(
        "{}\n{}",
        r#"["1","2","room:x","bytes",{}]"#,
        echo("3", "two")
    );
    assert_eq!(client.send(&[NDJSON], &batch).await.status, 200);
    assert_eq!(client.messages().await, [echoed("3", "two")]);
}

#[tokio::test]
async fn a_parked_poll_is_answered_when_something_comes() {
    let server = server().await;
    let (alice, bob) = (
        Client::joined(&server, "a").await,
        Client::joined(&server, "b").await,
    );
    let (said, status) = tokio::join!(
        alice.messages(),
        bob.post(r#"["1","2","room:x","say",{"hi":1}]"#)
    );
    assert_eq!(status, 200);
    assert_eq!(said, [json!([null, null, "room:x", "said", {"hi": 1}])]);
}

#[tokio::test]
async fn an_empty_window_is_204() {
    let server = server().await;
    let client = Client::begin(&server, "a").await;
    let began = Instant::now();
    let body = client.get().await;
    assert_eq!(
        body,
        json!({"messages": [], "status": 204, "token": client.token})
    );
    assert!(began.elapsed() >= WINDOW);
}

#[tokio::test]
async fn dead_and_forged_tokens_are_410_for_posts_and_a_new_connect_for_gets() {
    let server = server().await;
    let post =
        |target: &'static str| async { server.send("POST", target, &[], b"[]").await.json() };
    assert_eq!(
        post("/socket/longpoll?token=garbage&vsn=2.0.0").await,
        json!({"status": 410})
    );
    assert_eq!(
        post("/socket/longpoll?vsn=2.0.0").await,
        json!({"status": 410})
    );
    for (query, status) in [
        ("token=garbage&vsn=2.0.0", 403),
        ("token=unauthorized&vsn=2.0.0", 403),
        ("token=ratelimit&vsn=2.0.0", 403),
        ("token=&vsn=2.0.0", 403),
        ("vsn=2.0.0", 403),
        ("token=tok-a&vsn=3.0.0", 403),
        ("token=tok-a&vsn[]=2.0.0", 403),
        ("token=tok-a", 410),
    ] {
        let target = format!("{PATH}?{}", query);
        let answer = server.request("GET", &target, &[]).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!(status)),
            "{query}"
        );
    }
    let crashed = server
        .request("GET", "/socket/longpoll?token=crash&vsn=2.0.0", &[])
        .await;
    assert_eq!(crashed.status, 500);
    assert_eq!(crashed.body, r#"{"errors":{"detail":"500.json"}}"#);
}

#[tokio::test]
async fn a_session_without_polls_ends_and_posts_do_not_keep_it() {
    let server = server().await;
    let client = Client::begin(&server, "a").await;
    let deadline = Instant::now() + 20 * WINDOW;
    let heartbeat = r#"[null,"h","phoenix","heartbeat",{}]"#;
    let began = Instant::now();
    while client.post(heartbeat).await == 200 {
        assert!(Instant::now() < deadline, "posts keep the session alive");
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() >= WINDOW);
    assert_eq!(client.post(heartbeat).await, 410);
    assert_eq!(client.get().await, json!({"status": 403}));
    assert_eq!(server.hub.connections.count(), 0);
}

#[tokio::test]
async fn a_disconnect_ends_the_session_as_recorded() {
    let server = server().await;
    let client = Client::joined(&server, "kk").await;
    let began = Instant::now();
    let disconnect = async {
        server.hub.fanout.disconnect(
            "user_socket:kk",
            &quikapp_actors::fanout::Close::disconnected(),
        );
    };
    let (parked, ()) = tokio::join!(client.get(), disconnect);
    if parked["status"] == 204 {
        assert!(
            began.elapsed() >= WINDOW,
            "the parked poll ends with its window"
        );
    } else {
        assert_eq!(parked["status"], 403, "the poll came after the end");
    }
    assert_eq!(client.get().await, json!({"status": 403}));
    assert_eq!(client.post(&echo("2", "x")).await, 410);
}

#[tokio::test]
async fn malformed_bodies_are_explained_and_the_session_lives() {
    let server = server().await;
    let client = Client::joined(&server, "a").await;
    let many = vec![echo("9", "x"); 101].join("\n");
    let json = ("content-type", "application/json");
    for (content_type, body, reason) in [
        (json, "not json", "undecodable"),
        (json, r#"["1","1","room:q"]"#, "undecodable"),
        (NDJSON, "***", "undecodable"),
        (
            NDJSON,
            r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#,
            "undecodable",
        ),
        (NDJSON, many.as_str(), "too_many_lines"),
    ] {
        let answer = client.send(&[content_type], body).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["status"], 400);
        assert_eq!(answer.json()["reason"], reason);
        assert!(answer.json()["detail"].as_str().unwrap().len() > 10);
    }
    assert_eq!(client.post(&echo("2", "alive")).await, 200);
    assert_eq!(client.messages().await, [echoed("2", "alive")]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_400() {
    let config = Config {
        long_poll: LongPollConfig {
            max_body: bytesize::ByteSize::kib(64),
            ..LongPollConfig::default()
        },
        ..config()
    };
    let server = Server::start(&config, options()).await;
    let client = Client::joined(&server, "a").await;
    let answer = client.send(&[], &echo("2", &"x".repeat(65_536))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, r#"{"errors":{"detail":"400.json"}}"#);
    assert_eq!(client.post(&echo("2", &"x".repeat(60_000))).await, 200);
}

#[tokio::test]
async fn preflights_and_wrong_verbs_are_answered_as_recorded() {
    let server = server().await;
    let origin = ("origin", "https://example.com");
    let asked = ("access-control-request-headers", "content-type, x-foo");
    let answer = server.request("OPTIONS", PATH, &[origin, asked]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for (name, value) in [
        ("access-control-allow-headers", "content-type, x-foo"),
        ("access-control-allow-methods", "get, post, options"),
        ("access-control-max-age", "3600"),
        ("access-control-allow-origin", "*"),
        ("cache-control", "max-age=0, private, must-revalidate"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    for verb in ["PUT", "DELETE", "PATCH"] {
        let answer = server
            .request(verb, "/socket/longpoll?token=tok-a&vsn=2.0.0", &[])
            .await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{verb}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn a_refused_origin_is_403_in_the_body_for_every_verb() {
    let server = server().await;
    let target = "/socket/longpoll?token=tok-a&vsn=2.0.0";
    for verb in ["GET", "POST", "OPTIONS"] {
        let answer = server
            .request(verb, target, &[("origin", "http://evil.test")])
            .await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"status": 403})),
            "{verb}"
        );
    }
}

#[tokio::test]
async fn tokens_may_travel_in_headers() {
    let server = server().await;
    let auth = ("x-phoenix-authtoken", "tok-a");
    let begun = server
        .request("GET", "/socket/longpoll?vsn=2.0.0", &[auth])
        .await
        .json();
    assert_eq!(begun["status"], 410);
    let session = ("x-phoenix-longpoll-token", begun["token"].as_str().unwrap());
    let heartbeat = br#"[null,"h","phoenix","heartbeat",{}]"#;
    let posted = server
        .send("POST", "/socket/longpoll?vsn=2.0.0", &[session], heartbeat)
        .await;
    assert_eq!(posted.json(), json!({"status": 200}));
    let polled = server
        .request("GET", "/socket/longpoll?vsn=2.0.0", &[session])
        .await
        .json();
    assert_eq!(polled["status"], 200);
}

#[tokio::test]
async fn a_client_that_does_not_fetch_is_cut_off_and_told() {
    let config = Config {
        long_poll: LongPollConfig {
            max_queued: bytesize::ByteSize::kib(16),
            ..LongPollConfig::default()
        },
        ..config()
    };
    let limits = Limits {
        outbox: quikapp_actors::fanout::OutboxLimits {
            messages: 1000,
            bytes: 50_000,
        },
        ..Limits::default()
    };
    let small = MountOptions {
        limits,
        ..options()
    };
    let server = Server::start(&config, small).await;
    let client = Client::joined(&server, "a").await;
    client.post(r#"["1","2","room:x","flood",{}]"#).await;
    let told = loop {
        let body = client.get().await;
        if body["status"] != 200 {
            break body;
        }
    };
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!(500), &json!("slow_consumer"))
    );
    assert_eq!(client.post(&echo("3", "x")).await, 410);
    assert_eq!(
        client.get().await,
        json!({"status": 403}),
        "told once, then forgotten"
    );
}

#[tokio::test]
async fn sessions_are_capped() {
    let config = Config {
        long_poll: LongPollConfig {
            max_sessions: 1,
            ..LongPollConfig::default()
        },
        ..config()
    };
    let server = Server::start(&config, options()).await;
    let _first = Client::begin(&server, "a").await;
    let second = server
        .request("GET", "/socket/longpoll?token=tok-b&vsn=2.0.0", &[])
        .await;
    assert_eq!(
        (second.status, second.header("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(second.json()["reason"], "too_many_connections");
}

#[tokio::test]
async fn a_restart_ends_sessions_and_begins_none() {
    let server = server().await;
    let client = Client::joined(&server, "a").await;
    let left = server.hub.connections.drain(&DrainOptions::default()).await;
    assert_eq!(left, 0);
    assert_eq!(client.post(&echo("2", "x")).await, 410);
    let refused = server.request("GET", &client.target(), &[]).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["status"], 500);
    assert_eq!(refused.json()["reason"], "restarting");
}
