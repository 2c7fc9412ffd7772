//! The generator against a small server that keeps or breaks its promises: a run passes only when
//! everything arrived once and in order.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use quikapp_load::{Args, Report, run};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// What the server does wrong, to the fifth broadcast.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Loses,
    Repeats,
    /// Sends the fifth after the sixth.
    Swaps,
    /// Closes the socket instead.
    Closes,
    RefusesJoins,
}

const FAULTY: u64 = 5;

/// A socket in a room.
#[derive(Clone)]
struct Member {
    out: mpsc::Sender<Message>,
    hears_itself: bool,
}

/// Rooms, guests and conversations of one server.
struct Server {
    fault: Fault,
    rooms: Mutex<HashMap<String, Vec<Member>>>,
    broadcasts: AtomicU64,
    held: Mutex<Option<Message>>,
    ids: AtomicU64,
}

async fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Server {
        fault,
        rooms: Mutex::default(),
        broadcasts: AtomicU64::new(0),
        held: Mutex::default(),
        ids: AtomicU64::new(0),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&server).serve(stream));
        }
    });
    address
}

impl Server {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut first = [0];
        stream.peek(&mut first).await.unwrap();
        if &first == b"P" {
            self.answer_posts(stream).await;
        } else {
            self.serve_socket(stream).await;
        }
    }

    async fn answer_posts(&self, mut stream: TcpStream) {
        let mut request = vec![0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut request).await {
            let id = self.ids.fetch_add(1, Ordering::Relaxed).to_string();
            let head = String::from_utf8_lossy(&request[..count]);
            let body = if head.starts_with("POST /api/auth/guest ") {
                json!({"token": format!("token-{id}"), "user": {"id": id, "name": "guest"}})
            } else {
                json!({"conversation": {"id": id}})
            };
            let body = body.to_string();
            let length = body.len();
            let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    }

    async fn serve_socket(&self, stream: TcpStream) {
        let (mut sink, mut source) = accept_async(stream).await.unwrap().split();
        let (out, mut queue) = mpsc::channel(1024);
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                let _ = sink.send(message).await;
            }
        });
        while let Some(Ok(message)) = source.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let frame: [Value; 5] = serde_json::from_str(&text).unwrap();
            self.handle(&out, frame).await;
        }
    }

    async fn handle(&self, out: &mpsc::Sender<Message>, frame: [Value; 5]) {
        let [join_ref, msg_ref, topic, event, payload] = frame;
        let reply = |status: &str, response: Value| {
            let payload = json!({"status": status, "response": response});
            text(&json!([join_ref, msg_ref, topic, "phx_reply", payload]))
        };
        match event.as_str().unwrap() {
            "phx_join" if self.fault == Fault::RefusesJoins => {
                out.send(reply("error", json!({"reason": "no"})))
                    .await
                    .unwrap();
            }
            "phx_join" => {
                self.enter(&topic, out.clone(), &payload);
                out.send(reply("ok", json!({}))).await.unwrap();
            }
            "heartbeat" => out.send(reply("ok", json!({}))).await.unwrap(),
            "message:send" => {
                let seq = self.broadcasts.load(Ordering::Relaxed) + 1;
                self.broadcast(out, &topic, "message:new", json!({"seq": seq}))
                    .await;
                out.send(reply("ok", json!({"seq": seq}))).await.unwrap();
            }
            event => self.broadcast(out, &topic, event, payload).await,
        }
    }

    fn enter(&self, topic: &Value, out: mpsc::Sender<Message>, params: &Value) {
        let hears_itself = params["self"] != json!(false);
        let topic = topic.as_str().unwrap().to_owned();
        let member = Member { out, hears_itself };
        self.rooms
            .lock()
            .unwrap()
            .entry(topic)
            .or_default()
            .push(member);
    }

    async fn broadcast(
        &self,
        from: &mpsc::Sender<Message>,
        topic: &Value,
        event: &str,
        payload: Value,
    ) {
        let number = self.broadcasts.fetch_add(1, Ordering::Relaxed) + 1;
        let message = text(&json!([null, null, topic, event, payload]));
        let mut room = self.rooms.lock().unwrap()[topic.as_str().unwrap()].clone();
        room.retain(|member| member.hears_itself || !member.out.same_channel(from));
        for (at, member) in room.iter().enumerate() {
            let mut messages = vec![message.clone()];
            if at == 0 {
                messages = self.spoil(number == FAULTY, messages);
            }
            for message in messages {
                member.out.send(message).await.unwrap();
            }
        }
    }

    fn spoil(&self, faulty: bool, mut messages: Vec<Message>) -> Vec<Message> {
        messages.extend(self.held.lock().unwrap().take());
        if !faulty {
            return messages;
        }
        match self.fault {
            Fault::Loses => messages.clear(),
            Fault::Repeats => messages.push(messages[0].clone()),
            Fault::Swaps => *self.held.lock().unwrap() = messages.pop(),
            Fault::Closes => messages = vec![Message::Close(None)],
            Fault::None | Fault::RefusesJoins => {}
        }
        messages
    }
}

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

async fn bench(fault: Fault, scenario: &str) -> anyhow::Result<Report> {
    let url = format!("http://{}", start(fault).await);
    let pid = std::process::id().to_string();
    let words = ["bench"].into_iter().chain(scenario.split(' '));
    let cli = Cli::parse_from(words.chain(["--url", &url, "--pid", &pid, "--deadline", "20"]));
    run(&cli.args).await
}

const IDLE: &str = "idle --sockets 30 --people 3 --hold 0";
const FANOUT: &str = "fanout --members 7 --senders 3 --seconds 1 --in-flight 4 --burst-ms 1";
const PINGPONG: &str = "pingpong --pairs 2 --rounds 40";

fn figure(report: &Report, name: &str) -> f64 {
    report
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[tokio::test]
async fn an_honest_server_passes_every_scenario() {
    let report = bench(Fault::None, IDLE).await.unwrap();
    assert_eq!(figure(&report, "sockets"), 30.0);
    assert!(figure(&report, "server memory") > 0.0);

    let report = bench(Fault::None, FANOUT).await.unwrap();
    assert!(figure(&report, "messages") >= 4.0);
    assert!(figure(&report, "server CPU, total") > 0.0);
    assert!(figure(&report, "p50") <= figure(&report, "p99"));

    let report = bench(Fault::None, PINGPONG).await.unwrap();
    assert_eq!(figure(&report, "round trips"), 40.0);

    let report = bench(
        Fault::None,
        "chat --senders 1 --conversations 1 --seconds 1",
    )
    .await;
    assert!(figure(&report.unwrap(), "messages") > 1.0);
}

#[tokio::test]
async fn a_report_is_text_and_json() {
    let report = bench(Fault::None, PINGPONG).await.unwrap();
    assert!(report.to_string().starts_with("pingpong\n  round trips"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["figures"][0],
        json!({"name": "round trips", "value": 40.0, "unit": ""})
    );
}

async fn fails(fault: Fault, scenario: &str, why: &str) {
    let error = bench(fault, scenario).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains(why), "{fault:?}: {error}");
}

#[tokio::test]
async fn a_repeated_delivery_fails() {
    fails(Fault::Repeats, FANOUT, "message 5 came where 6 was due").await;
}

#[tokio::test]
async fn deliveries_in_the_wrong_order_fail() {
    fails(Fault::Swaps, FANOUT, "message 6 came where 5 was due").await;
}

#[tokio::test]
async fn a_lost_delivery_fails() {
    fails(Fault::Loses, FANOUT, "message 6 came where 5 was due").await;
}

#[tokio::test]
async fn a_lost_last_delivery_fails_at_the_deadline() {
    let one_by_one = "fanout --members 3 --senders 1 --seconds 1 --burst-ms 1";
    fails(
        Fault::Loses,
        one_by_one,
        "messages 5 to 5 did not all arrive",
    )
    .await;
}

#[tokio::test]
async fn a_message_that_is_acknowledged_but_not_heard_fails() {
    let chat = "chat --senders 1 --conversations 1 --seconds 1";
    fails(Fault::Swaps, chat, "heard 5 after 6").await;
    fails(Fault::Repeats, chat, "heard 5 after 5").await;
}

#[tokio::test]
async fn a_refusal_or_a_close_fails() {
    fails(Fault::RefusesJoins, IDLE, "the server replied error").await;
    fails(Fault::Closes, PINGPONG, "the server closed").await;
}
