//! Whatever becomes of Redis in the middle of a chat: messages are acknowledged as ever, readiness
//! says what is down and stays green, and everything recovers by itself.

use std::{path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::{Pair, seen::hears_typing, server, two, variable};
use crate::{
    redis_server::RedisServer,
    support::{Client, Guest, PATIENCE, Rest, Server},
    toxiproxy::Proxy,
};

/// Messages under each trouble, over the socket and by REST each. If every one of them asked Redis
/// and waited its 200 ms, they would take four seconds.
const EACH: usize = 20;
const NO_DELAY: Duration = Duration::from_secs(3);

/// What becomes of Redis.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// It answers after five seconds.
    Slow,
    /// It takes everything and says nothing.
    Silent,
    /// It resets every connection.
    Reset,
    /// It refuses connections.
    Refused,
    /// The process stands still.
    Stopped,
    /// The process is killed, and comes back empty.
    Killed,
}

struct Redis {
    server: RedisServer,
    proxy: Proxy,
}

impl Redis {
    async fn start(dir: &Path, toxiproxy: &str) -> Self {
        let server = RedisServer::start(dir, "port", &[]).await;
        let upstream = format!("127.0.0.1:{}", server.port);
        let proxy = Proxy::to(toxiproxy, &upstream).await;
        Self { server, proxy }
    }

    fn url(&self) -> String {
        format!("redis://{}/", self.proxy.address)
    }

    async fn befall(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Slow => self.proxy.add("latency", json!({ "latency": 5000 })).await,
            Trouble::Silent => self.proxy.add("timeout", json!({ "timeout": 0 })).await,
            Trouble::Reset => self.proxy.add("reset_peer", json!({ "timeout": 0 })).await,
            Trouble::Refused => self.proxy.enable(false).await,
            Trouble::Stopped => self.server.signal("STOP"),
            Trouble::Killed => self.server.kill(),
        }
    }

    async fn pass(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Slow => self.proxy.remove("latency").await,
            Trouble::Silent => self.proxy.remove("timeout").await,
            Trouble::Reset => self.proxy.remove("reset_peer").await,
            Trouble::Refused => self.proxy.enable(true).await,
            Trouble::Stopped => self.server.signal("CONT"),
            Trouble::Killed => self.server.restart().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_redis_the_chat_goes_on() {
    let (Some(_), Some(toxiproxy)) = (server(), variable("TEST_TOXIPROXY_URL")) else {
        return;
    };
    let dir = tempdir().unwrap();
    let mut redis = Redis::start(dir.path(), &toxiproxy).await;
    let [here, there] = two(dir.path(), &redis.url(), &[]).await;
    let Pair {
        people,
        conversation,
        topic,
        mut alice,
        mut bob,
    } = Pair::chatting(&here, &there).await;
    hears_typing(&mut alice, &mut bob, &topic, &people[0]).await;

    let mut chat = Chat {
        alice,
        rest: Rest::of(&here),
        conversation,
        sent: 0,
    };
    let troubles = [
        Trouble::Slow,
        Trouble::Silent,
        Trouble::Reset,
        Trouble::Refused,
        Trouble::Stopped,
        Trouble::Killed,
    ];
    for trouble in troubles {
        redis.befall(trouble).await;
        let took = chat.goes_on(&people[0]).await;
        println!("{trouble:?}: {EACH} by socket and {EACH} by REST in {took:?}");
        assert!(
            took.iter().all(|took| *took < NO_DELAY),
            "{trouble:?}: {took:?}"
        );
        redis_becomes(&here, "down").await;
        // A token is checked, and somebody comes in.
        drop(Client::connect(&here, &people[1]).await);
        redis.pass(trouble).await;
        redis_becomes(&here, "up").await;
        hears_typing(&mut chat.alice, &mut bob, &topic, &people[0]).await;
    }
    let history = Rest::of(&there)
        .history(&chat.conversation, &people[1])
        .await;
    let contents: Vec<usize> = history.iter().map(number_in).collect();
    assert_eq!(contents, (0..chat.sent).collect::<Vec<_>>());
    redis.proxy.close().await;
}

fn number_in(message: &Value) -> usize {
    message["content"].as_str().unwrap().parse().unwrap()
}

struct Chat {
    alice: Client,
    rest: Rest,
    conversation: String,
    sent: usize,
}

impl Chat {
    /// Sends, each once the one before is acknowledged; how long all of them took, per way.
    async fn goes_on(&mut self, alice: &Guest) -> [Duration; 2] {
        let (topic, mut took) = (format!("chat:{}", self.conversation), [Duration::ZERO; 2]);
        let path = format!("/api/conversations/{}/messages", self.conversation);
        let began = Instant::now();
        for _ in 0..EACH {
            let payload = json!({ "type": "text", "content": self.next() });
            self.alice.done(&topic, "message:send", payload).await;
        }
        took[0] = began.elapsed();
        let began = Instant::now();
        for _ in 0..EACH {
            let body = json!({ "content": self.next() });
            self.rest.post(&path, alice, body).await;
        }
        took[1] = began.elapsed();
        took
    }

    fn next(&mut self) -> String {
        self.sent += 1;
        (self.sent - 1).to_string()
    }
}

/// Waits until readiness says so of Redis, as of something the node goes on without.
pub(super) async fn redis_becomes(server: &Server, status: &str) {
    let rest = Rest::of(server);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, body) = rest.request(Method::GET, "/health/ready", None, None).await;
        assert_eq!(code, StatusCode::OK, "{body}");
        let redis = &body["dependencies"]["redis"];
        assert_eq!(redis["optional"], true, "{body}");
        if redis["status"] == status {
            return;
        }
        assert!(Instant::now() < deadline, "not {status}: {body}");
        sleep(Duration::from_millis(100)).await;
    }
}
