//! A channel that does what its events say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quikapp_actors::fanout::{Broadcast, Lane, Note};
use quikapp_protocol::Payload;
use quikapp_storage::Seq;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    channel::{Channel, Context, Flow, JoinError, Reply, Router, StopReason, Terminate},
    socket::{ConnectInfo, ConnectRefusal, Connected, Mount, MountOptions, SocketHandler},
    testing::{Anybody, mount_with},
};

/// What tests look at and turn.
#[derive(Debug, Clone)]
pub(super) struct Levers {
    /// Handlers of `wait` hold here until a permit is added.
    pub(super) gate: Arc<Semaphore>,
    /// Channels alive, counted by guards.
    pub(super) alive: Arc<AtomicUsize>,
    /// The log behind `log:*`: entries 1 to this.
    pub(super) tail: Arc<AtomicUsize>,
    /// How often the log was read.
    pub(super) reads: Arc<AtomicUsize>,
}

impl Default for Levers {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            alive: Arc::default(),
            tail: Arc::default(),
            reads: Arc::default(),
        }
    }
}

pub(super) fn app() -> (Mount, Levers) {
    app_with(MountOptions::default())
}

pub(super) fn app_with(options: MountOptions) -> (Mount, Levers) {
    let levers = Levers::default();
    let room = |levers: &Levers| Room(levers.clone());
    let router = Router::new()
        .channel("room:*", room(&levers))
        .channel("exact", room(&levers))
        .channel("log:*", Log(levers.clone()))
        .alias("diary:*", "log:*")
        .channel("stream:*", Stream);
    (mount_with(router, Guests, options), levers)
}

/// Accepts everybody, and believes a note about whose log it is.
struct Guests;

/// The log of the topic is nobody's behind this place.
pub(super) struct EndsAt(pub(super) Seq);

impl SocketHandler for Guests {
    type Assigns = ();

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<()>, ConnectRefusal> {
        Anybody(()).connect(info).await
    }

    fn log_ends_at(&self, (): &(), note: &Note) -> Option<Seq> {
        note.get::<EndsAt>().map(|end| end.0)
    }
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Room(Levers);

pub(super) struct Later(pub(super) Value);
struct StopNow;

impl Channel for Room {
    type Assigns = ();
    type State = usize;

    async fn join(
        &self,
        cx: &mut Context<()>,
        params: Payload,
    ) -> Result<(usize, Payload), JoinError> {
        let params: Value = params.parse().unwrap_or_default();
        if let Some(reason) = params["fail"].as_str() {
            return Err(JoinError::reason(reason));
        }
        assert!(params["crash"].is_null(), "crash as asked");
        if params["subscribe"] == true {
            cx.subscribe_now();
        }
        if params["wait"] == true {
            self.0.gate.acquire().await.unwrap().forget();
        }
        if params["early"] == true {
            cx.subscribe_now();
            cx.broadcast("during_join", json!({}));
            cx.push("pushed_in_join", json!({}));
        }
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        cx.attach(Alive(Arc::clone(&self.0.alive)));
        if params["after_join"] == true {
            cx.send_self(Later(json!({"x": 1})));
        }
        if let Some(ms) = params["stop_after"].as_u64() {
            cx.send_self_after(Duration::from_millis(ms), StopNow);
        }
        let join_ref: Value = serde_json::from_str(&cx.join_ref().to_json()).unwrap();
        let reply = match &params["whoami"] {
            Value::Bool(true) => json!({"join_ref": join_ref, "topic": cx.topic()}),
            _ => params["reply"]
                .as_object()
                .cloned()
                .unwrap_or_default()
                .into(),
        };
        Ok((0, reply.into()))
    }

    async fn handle_in(
        &self,
        count: &mut usize,
        cx: &mut Context<()>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        *count += 1;
        match event {
            "echo" => Flow::ok(payload),
            "count" => Flow::ok(json!({ "count": count })),
            "noreply" => Flow::NoReply,
            "push" => {
                cx.push("pushed", payload);
                Flow::NoReply
            }
            "say" => {
                cx.broadcast("said", payload);
                Flow::empty_ok()
            }
            "tell_others" => {
                cx.broadcast_from("told", payload);
                Flow::empty_ok()
            }
            "mixed" => {
                cx.broadcast("b1", json!({"n": 1}));
                cx.push("p2", json!({"n": 2}));
                cx.broadcast("b3", json!({"n": 3}));
                Flow::ok(json!({"n": 4}))
            }
            "secret" => {
                cx.broadcast("secret", payload);
                Flow::empty_ok()
            }
            "wait" => {
                self.0.gate.acquire().await.unwrap().forget();
                Flow::ok(payload)
            }
            "later" => {
                let Some(reply) = cx.reply_later() else {
                    return Flow::crash("no ref");
                };
                let gate = Arc::clone(&self.0.gate);
                tokio::spawn(async move {
                    gate.acquire().await.unwrap().forget();
                    reply.send(&Reply::ok(json!({"n": 1})));
                    reply.send(&Reply::ok(json!({"n": 2})));
                });
                Flow::NoReply
            }
            "panic" => panic!("as asked"),
            "stop" => Flow::Stop(StopReason::Normal, Some(Reply::ok(payload))),
            "stop_silently" => Flow::stop(StopReason::Shutdown),
            "stop_error" => Flow::stop(StopReason::Error("as asked".into())),
            "list" => {
                cx.push("pushed", json!([1, 2]));
                Flow::empty_ok()
            }
            "bytes" => Flow::ok(Payload::Binary(vec![1, 2, 3].into())),
            "broadcast_bytes" => {
                cx.broadcast("bytes", Payload::Binary(vec![1, 2, 3].into()));
                Flow::empty_ok()
            }
            _ => Flow::crash("unknown event"),
        }
    }

    async fn handle_info(&self, _: &mut usize, cx: &mut Context<()>, note: Note) -> Flow {
        if let Some(Later(payload)) = note.get::<Later>() {
            cx.push("after_join", payload.clone());
        }
        if note.get::<StopNow>().is_some() {
            return Flow::stop(StopReason::Normal);
        }
        Flow::NoReply
    }

    fn intercepts(&self) -> &'static [&'static str] {
        &["secret"]
    }

    async fn handle_out(
        &self,
        count: &mut usize,
        cx: &mut Context<()>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        cx.push(broadcast.event(), json!({"seen_after": count}));
        Flow::NoReply
    }

    async fn terminate(&self, _: &mut usize, cx: &mut Context<()>, reason: &Terminate) {
        cx.fanout().publish(Broadcast::new(
            "room:watch",
            "terminated",
            json!({"topic": cx.topic(), "reason": format!("{reason:?}")}).into(),
        ));
    }
}

/// Follows a log of entries `{seq}`.
struct Log(Levers);

pub(super) fn entry(seq: u64) -> Broadcast {
    Broadcast::new("log:1", "entry", json!({ "seq": seq }).into())
        .with_seq(Seq(seq))
        .with_alias("diary:1")
}

impl Channel for Log {
    type Assigns = ();
    type State = ();

    async fn join(
        &self,
        cx: &mut Context<()>,
        params: Payload,
    ) -> Result<((), Payload), JoinError> {
        let params: Value = params.parse().unwrap_or_default();
        cx.subscribe_now();
        if params["wait"] == true {
            self.0.gate.acquire().await.unwrap().forget();
        }
        if params["fail"] == true {
            return Err(JoinError::reason("as asked"));
        }
        match params["last_seq"].as_u64() {
            Some(seq) => cx.live_from(Seq(seq + 1)),
            None => cx.catch_up(),
        }
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        (): &mut (),
        cx: &mut Context<()>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        if event == "wait" {
            self.0.gate.acquire().await.unwrap().forget();
            return Flow::empty_ok();
        }
        let payload: Value = payload.parse().unwrap();
        cx.live_from(Seq(payload["seq"].as_u64().unwrap() + 1));
        Flow::empty_ok()
    }

    async fn handle_info(&self, (): &mut (), _: &mut Context<()>, note: Note) -> Flow {
        match note.get::<EndsAt>() {
            Some(_) => Flow::stop(StopReason::Normal),
            None => Flow::NoReply,
        }
    }

    async fn fill_gap(
        &self,
        (): &mut (),
        _: &mut Context<()>,
        missing: std::ops::Range<Seq>,
    ) -> Vec<Arc<Broadcast>> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let tail = self.0.tail.load(Ordering::SeqCst) as u64;
        let last = missing.end.0.min(tail + 1).min(missing.start.0 + 3);
        (missing.start.0..last)
            .map(|seq| Arc::new(entry(seq)))
            .collect()
    }
}

/// One stream over other topics.
struct Stream;

impl Channel for Stream {
    type Assigns = ();
    type State = ();

    async fn join(
        &self,
        cx: &mut Context<()>,
        params: Payload,
    ) -> Result<((), Payload), JoinError> {
        let params: Value = params.parse().unwrap_or_default();
        let lane = match params["intercepts"] == true {
            true => Lane::Intercept,
            false => Lane::Forward,
        };
        for topic in params["topics"].as_array().into_iter().flatten() {
            cx.subscribe(topic.as_str().unwrap(), lane);
        }
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        (): &mut (),
        cx: &mut Context<()>,
        _: &str,
        payload: Payload,
    ) -> Flow {
        let payload: Value = payload.parse().unwrap();
        cx.unsubscribe(payload["topic"].as_str().unwrap());
        Flow::empty_ok()
    }
}
