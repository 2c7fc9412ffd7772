//! Clients without a network, for tests of channels.
//!
//! ```
//! # use quikapp_realtime::{channel::*, socket::*, testing::*};
//! # use quikapp_protocol::Payload;
//! struct Echo;
//!
//! impl Channel for Echo {
//!     type Assigns = ();
//!     type State = ();
//!
//!     async fn join(&self, _cx: &mut Context<()>, _params: Payload) -> Result<((), Payload), JoinError> {
//!         Ok(((), Payload::empty_object()))
//!     }
//!
//!     async fn handle_in(&self, _: &mut (), _cx: &mut Context<()>, _event: &str, payload: Payload) -> Flow {
//!         Flow::ok(payload)
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let mount = mount(Router::new().channel("echo:*", Echo), ());
//! let mut client = TestClient::connect(&mount).await;
//! client.join("echo:1", serde_json::json!({})).await.ok();
//! let reply = client.push("echo:1", "say", serde_json::json!({"a": 1})).await;
//! assert_eq!(reply.ok(), serde_json::json!({"a": 1}));
//! # });
//! ```

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderMap;
use quikapp_actors::{
    SystemClock,
    fanout::{Close, Fanout},
};
use quikapp_protocol::{Encoded, Vsn};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    channel::Router,
    socket::{
        ConnectInfo, ConnectRefusal, Connected, FrameSink, Hub, Inbound, Mount, MountOptions,
        Session, SocketHandler, Transport,
    },
};

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(10);

/// Frames on their way to a test client; beyond, its session sees a client that does not read.
const WINDOW: usize = 64;

/// Accepts everybody, with the same assigns. The parameter `id` becomes the socket's id.
#[derive(Debug)]
pub struct Anybody<A>(pub A);

impl<A: Clone + Send + Sync + 'static> SocketHandler for Anybody<A> {
    type Assigns = A;

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<A>, ConnectRefusal> {
        let connected = Connected::new(self.0.clone());
        Ok(match info.param("id") {
            Some(id) => connected.socket_id(id),
            None => connected,
        })
    }
}

/// A hub of its own.
pub fn hub() -> Hub {
    Hub::new(Fanout::new(), Arc::new(SystemClock))
}

/// A mount that accepts everybody, on a hub of its own.
pub fn mount<A: Clone + Send + Sync + 'static>(router: Router<A>, assigns: A) -> Mount {
    mount_with(router, Anybody(assigns), MountOptions::default())
}

/// A mount on a hub of its own.
pub fn mount_with<H: SocketHandler>(
    router: Router<H::Assigns>,
    handler: H,
    options: MountOptions,
) -> Mount {
    Mount::new("/socket", handler, router, &hub(), options)
}

/// A WebSocket client's request with these query parameters.
pub fn connect_info(vsn: Vsn, query: &[(&str, &str)]) -> ConnectInfo {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ConnectInfo {
        transport: Transport::WebSocket,
        vsn,
        peer: SocketAddr::from(([127, 0, 0, 1], 50_000)),
        path_params: Vec::new(),
        query: query.iter().map(owned).collect(),
        headers: HeaderMap::new(),
        auth_token: None,
    }
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Null for broadcasts, and always with V1.
    pub join_ref: Value,
    /// What is answered; null for pushes and broadcasts.
    pub msg_ref: Value,
    /// The topic.
    pub topic: String,
    /// The event.
    pub event: String,
    /// The payload; of a reply `{status, response}`.
    pub payload: Value,
}

impl Received {
    fn parse(frame: &Encoded, vsn: Vsn) -> Self {
        let text = frame.as_text().expect("a text frame; see next_frame");
        let value: Value = serde_json::from_str(text).expect("frames are JSON");
        let get = |at: usize, key: &str| match vsn {
            Vsn::V2 => value[at].clone(),
            Vsn::V1 => value[key].clone(),
        };
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            join_ref: get(0, "join_ref"),
            msg_ref: get(1, "ref"),
            topic: text(get(2, "topic")),
            event: text(get(3, "event")),
            payload: get(4, "payload"),
        }
    }

    fn is_reply_to(&self, msg_ref: &str) -> bool {
        self.event == "phx_reply" && self.msg_ref == msg_ref
    }

    /// The response of an ok reply.
    ///
    /// # Panics
    ///
    /// When it is anything else.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.payload["status"], "ok", "{self:?}");
        self.payload["response"].clone()
    }

    /// The response of an error reply.
    ///
    /// # Panics
    ///
    /// When it is anything else.
    #[track_caller]
    pub fn error(self) -> Value {
        assert_eq!(self.payload["status"], "error", "{self:?}");
        self.payload["response"].clone()
    }

    /// The `reason` of an error reply.
    ///
    /// # Panics
    ///
    /// When it is anything else.
    #[track_caller]
    pub fn reason(self) -> String {
        let response = self.error();
        let reason = response["reason"].as_str();
        reason.expect("an error names a reason").to_owned()
    }
}

/// A client of a mount, over a pair of queues.
#[derive(Debug)]
pub struct TestClient {
    to_server: mpsc::Sender<Inbound>,
    from_server: mpsc::Receiver<Encoded>,
    closed: oneshot::Receiver<Close>,
    task: JoinHandle<()>,
    vsn: Vsn,
    /// Received while something else was waited for.
    unread: VecDeque<Received>,
    joins: Vec<(String, String)>,
    last_ref: u64,
}

impl TestClient {
    /// Connects with serializer V2 and no parameters.
    ///
    /// # Panics
    ///
    /// When the mount refuses.
    pub async fn connect(mount: &Mount) -> Self {
        let info = connect_info(Vsn::V2, &[]);
        let connected = Self::try_connect(mount, info).await;
        connected.expect("the mount accepts the client")
    }

    /// Connects with query parameters.
    ///
    /// # Panics
    ///
    /// When the mount refuses.
    pub async fn connect_as(mount: &Mount, query: &[(&str, &str)]) -> Self {
        let info = connect_info(Vsn::V2, query);
        let connected = Self::try_connect(mount, info).await;
        connected.expect("the mount accepts the client")
    }

    /// Connects, or is refused.
    pub async fn try_connect(mount: &Mount, info: ConnectInfo) -> Result<Self, ConnectRefusal> {
        let vsn = info.vsn;
        let session = mount.connect(info).await?;
        let (to_server, inbound) = mpsc::channel(1024);
        let (outbound, from_server) = mpsc::channel(WINDOW);
        let (closing, closed) = oneshot::channel();
        let task = tokio::spawn(serve(session, inbound, outbound, closing));
        Ok(Self {
            to_server,
            from_server,
            closed,
            task,
            vsn,
            unread: VecDeque::new(),
            joins: Vec::new(),
            last_ref: 0,
        })
    }

    /// Joins a topic and waits for the reply.
    pub async fn join(&mut self, topic: &str, params: Value) -> Received {
        let msg_ref = self.start_join(topic, params).await;
        self.reply(&msg_ref).await
    }

    /// Joins a topic and returns the ref, which is the `join_ref` too.
    pub async fn start_join(&mut self, topic: &str, params: Value) -> String {
        let msg_ref = self.next_ref();
        self.joins.retain(|(joined, _)| joined != topic);
        self.joins.push((topic.to_owned(), msg_ref.clone()));
        self.send(json!(msg_ref), json!(msg_ref), topic, "phx_join", params)
            .await;
        msg_ref
    }

    /// Leaves a topic and waits for the reply.
    pub async fn leave(&mut self, topic: &str) -> Received {
        self.push(topic, "phx_leave", json!({})).await
    }

    /// Sends an event and waits for its reply.
    pub async fn push(&mut self, topic: &str, event: &str, payload: Value) -> Received {
        let msg_ref = self.start_push(topic, event, payload).await;
        self.reply(&msg_ref).await
    }

    /// Sends an event and returns its ref.
    pub async fn start_push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        let msg_ref = self.next_ref();
        let join = self.joins.iter().find(|(joined, _)| joined == topic);
        let join_ref = json!(join.map(|(_, join_ref)| join_ref));
        self.send(join_ref, json!(msg_ref), topic, event, payload)
            .await;
        msg_ref
    }

    /// Sends any message.
    pub async fn send(
        &mut self,
        join_ref: Value,
        msg_ref: Value,
        topic: &str,
        event: &str,
        payload: Value,
    ) {
        let message = match self.vsn {
            Vsn::V2 => json!([join_ref, msg_ref, topic, event, payload]),
            Vsn::V1 => json!({"join_ref": join_ref, "ref": msg_ref, "topic": topic,
                "event": event, "payload": payload}),
        };
        self.send_raw(Inbound::Text(message.to_string().into()))
            .await;
    }

    /// Sends any frame. Lost if the server has closed.
    pub async fn send_raw(&mut self, frame: Inbound) {
        let _ = self.to_server.send(frame).await;
    }

    /// Waits for the reply to a message; what else comes is kept for [`next`](Self::next).
    pub async fn reply(&mut self, msg_ref: &str) -> Received {
        self.wait(|received| received.is_reply_to(msg_ref)).await
    }

    /// Waits for an event on a topic; what else comes is kept for [`next`](Self::next).
    pub async fn event(&mut self, topic: &str, event: &str) -> Value {
        let found = self.wait(|received| received.topic == topic && received.event == event);
        found.await.payload
    }

    /// The next message in the order of the wire, of those that nobody waited for.
    pub async fn next(&mut self) -> Received {
        match self.unread.pop_front() {
            Some(received) => received,
            None => self.receive().await,
        }
    }

    /// The next frame as it is. Keeps no order with what was waited for otherwise.
    pub async fn next_frame(&mut self) -> Encoded {
        let next = timeout(PATIENCE, self.from_server.recv()).await;
        next.expect("a frame before long").expect("an open socket")
    }

    /// Everything that the server had to say until now: what comes before the answer to a
    /// heartbeat.
    pub async fn so_far(&mut self) -> Vec<Received> {
        let msg_ref = format!("so far {}", self.next_ref());
        self.send(
            Value::Null,
            json!(msg_ref),
            "phoenix",
            "heartbeat",
            json!({}),
        )
        .await;
        self.reply(&msg_ref).await;
        self.unread.drain(..).collect()
    }

    /// Waits until the server closes, and says how.
    pub async fn closed(self) -> Close {
        let (mut from_server, closed) = (self.from_server, self.closed);
        let reading = async move { while from_server.recv().await.is_some() {} };
        let closed = async { tokio::join!(reading, closed).1 };
        let close = timeout(PATIENCE, closed).await;
        close
            .expect("closed before long")
            .expect("closed by the server")
    }

    /// Like [`closed`](Self::closed), but reads nothing meanwhile.
    pub async fn cut_off(self) -> Close {
        let close = timeout(PATIENCE, self.closed).await;
        close
            .expect("closed before long")
            .expect("closed by the server")
    }

    /// Goes away, and waits until the channels have ended.
    pub async fn close(self) {
        drop(self.to_server);
        drop(self.from_server);
        let ended = timeout(PATIENCE, self.task).await;
        ended.expect("ended before long").expect("no panic");
    }

    fn next_ref(&mut self) -> String {
        self.last_ref += 1;
        self.last_ref.to_string()
    }

    async fn wait(&mut self, is_it: impl Fn(&Received) -> bool) -> Received {
        if let Some(at) = self.unread.iter().position(&is_it) {
            return self.unread.remove(at).expect("found just now");
        }
        loop {
            let received = self.receive().await;
            if is_it(&received) {
                return received;
            }
            self.unread.push_back(received);
        }
    }

    async fn receive(&mut self) -> Received {
        let frame = self.next_frame().await;
        Received::parse(&frame, self.vsn)
    }
}

/// The transport: two queues.
async fn serve(
    mut session: Session,
    mut inbound: mpsc::Receiver<Inbound>,
    outbound: mpsc::Sender<Encoded>,
    closing: oneshot::Sender<Close>,
) {
    let mut window = Window::default();
    loop {
        tokio::select! {
            message = inbound.recv() => match message {
                Some(message) => session.receive(message),
                None => break,
            },
            Ok(permit) = outbound.reserve(), if !window.0.is_empty() => {
                if let Some(frame) = window.0.pop_front() {
                    permit.send(frame);
                }
            }
            close = session.deliver(&mut window) => if let Some(close) = close {
                for frame in window.0 {
                    // Best effort, as on a real wire.
                    let _ = outbound.try_send(frame);
                }
                let _ = closing.send(close);
                break;
            },
        }
    }
    drop(outbound);
    session.end().await;
}

#[derive(Default)]
struct Window(VecDeque<Encoded>);

impl FrameSink for Window {
    fn send(&mut self, frame: &Encoded) {
        self.0.push_back(frame.clone());
    }

    fn is_full(&self) -> bool {
        self.0.len() >= WINDOW
    }
}
