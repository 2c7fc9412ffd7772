//! A small server of all four protocols that keeps or breaks its promises.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use quikapp_load::Language;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OnceCell, mpsc},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

/// What the server does wrong, to one member's fifth message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Loses,
    Repeats,
    /// Sends the fifth after the sixth.
    Swaps,
    Alters,
    /// Sends it to everybody in all rooms.
    Leaks,
    /// Closes the socket instead.
    Closes,
    /// Acknowledges, and delivers to nobody.
    Forgets,
    RefusesJoins,
    /// Answers the first joins with when to try again.
    DefersJoins,
    /// Answers the first upgrades with 503, with or without a hint when to come back.
    IsBusy {
        hint: bool,
    },
    /// Shows a person in presence who is not there.
    ShowsGhosts,
    /// Lets nobody in who does not have this key, as a gateway does.
    NeedsKey,
    /// Does nothing for a second from the fifth message on, for anybody.
    Stalls,
}

const FAULTY: u64 = 5;

/// What [`Fault::NeedsKey`] asks for.
pub(crate) const KEY: (&str, &str) = ("x-gateway-key", "s3cret");

/// How long a server stalls that does.
const STALL: Duration = Duration::from_secs(1);

/// Upgrades that a busy server refuses.
const REFUSED: u64 = 3;

/// A socket in a room.
#[derive(Clone)]
struct Member {
    out: mpsc::Sender<Message>,
    hears_itself: bool,
    user: String,
    meta: u64,
}

/// Rooms, guests and conversations of one server.
pub(crate) struct Server {
    language: Language,
    fault: Fault,
    rooms: Mutex<HashMap<String, Vec<Member>>>,
    broadcasts: AtomicU64,
    held: Mutex<Option<Message>>,
    /// It has stalled, for all who were there.
    stalled: OnceCell<()>,
    ids: AtomicU64,
    upgrades: AtomicU64,
    /// From where sockets came.
    sources: Mutex<BTreeSet<IpAddr>>,
}

/// What a client wants.
enum Wish {
    Reply(String),
    Enter {
        room: String,
        hears_itself: bool,
        presence: bool,
        reply: Option<String>,
    },
    Publish {
        room: String,
        frame: String,
        reply: Option<String>,
    },
    Nothing,
}

/// A server, and where it listens.
pub(crate) async fn start(language: Language, fault: Fault) -> (SocketAddr, Arc<Server>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Server {
        language,
        fault,
        rooms: Mutex::default(),
        broadcasts: AtomicU64::new(0),
        held: Mutex::default(),
        stalled: OnceCell::new(),
        ids: AtomicU64::new(0),
        upgrades: AtomicU64::new(0),
        sources: Mutex::default(),
    });
    let started = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            server.sources.lock().unwrap().insert(from.ip());
            tokio::spawn(Arc::clone(&server).serve(stream));
        }
    });
    (address, started)
}

impl Server {
    /// The addresses from which sockets came.
    pub(crate) fn sources(&self) -> Vec<String> {
        let sources = self.sources.lock().unwrap();
        sources.iter().map(IpAddr::to_string).collect()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut first = [0];
        // A client that gave up is none.
        let Ok(1) = stream.peek(&mut first).await else {
            return;
        };
        if &first == b"P" {
            return self.answer_posts(stream).await;
        }
        if let Fault::IsBusy { hint } = self.fault
            && self.upgrades.fetch_add(1, Ordering::Relaxed) < REFUSED
        {
            let hint = if hint { "Retry-After: 1\r\n" } else { "" };
            let head = format!("HTTP/1.1 503 Busy\r\n{hint}Content-Length: 0\r\n\r\n");
            let asked = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(asked > 0, "a request");
            stream.write_all(head.as_bytes()).await.unwrap();
            return;
        }
        self.serve_socket(stream).await;
    }

    async fn answer_posts(&self, mut stream: TcpStream) {
        let mut request = vec![0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut request).await {
            let id = self.ids.fetch_add(1, Ordering::Relaxed).to_string();
            let head = String::from_utf8_lossy(&request[..count]);
            if !self.lets_in(|name, value| head.contains(&format!("\r\n{name}: {value}\r\n"))) {
                let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(refusal).await.unwrap();
            }
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

    /// Whether somebody with these headers may come in.
    fn lets_in(&self, has: impl Fn(&'static str, &'static str) -> bool) -> bool {
        let (name, value) = KEY;
        self.fault != Fault::NeedsKey || has(name, value)
    }

    async fn serve_socket(&self, stream: TcpStream) {
        let mut target = String::new();
        #[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
        let note = |request: &Request, response: Response| {
            target = request.uri().to_string();
            let has = |name, value| request.headers().get(name).is_some_and(|it| it == value);
            if self.lets_in(has) {
                return Ok(response);
            }
            let refusal = Response::builder().status(403).body(None);
            Err(refusal.unwrap())
        };
        let accepted = match accept_hdr_async(stream, note).await {
            Err(_) if self.fault == Fault::NeedsKey => return,
            accepted => accepted.unwrap(),
        };
        let (mut sink, mut source) = accepted.split();
        let (out, mut queue) = mpsc::channel::<Message>(4096);
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                let is_close = message.is_close();
                let _ = sink.send(message).await;
                if is_close {
                    break;
                }
            }
        });
        let user = target.rsplit_once("token-").map_or("", |(_, id)| id);
        match self.language {
            Language::Raw => {
                let member = self.member(&out, true, user);
                self.enter(&target, member);
            }
            Language::Socketio => {
                let open = json!({"sid": "x", "pingInterval": 25_000, "pingTimeout": 20_000});
                say(&out, format!("0{open}")).await;
                say(&out, "2".to_owned()).await;
            }
            Language::Phoenix | Language::Centrifuge => {}
        }
        while let Some(Ok(message)) = source.next().await {
            if let Message::Text(text) = message {
                self.stall().await;
                let wish = self.understand(&text, &target);
                self.fulfil(&out, wish, user).await;
            }
        }
        self.leave(&out, user).await;
    }

    /// Whoever comes meanwhile waits, too.
    async fn stall(&self) {
        let is_due = self.broadcasts.load(Ordering::Relaxed) + 1 >= FAULTY;
        if is_due && self.fault == Fault::Stalls {
            let wait = || tokio::time::sleep(STALL);
            self.stalled.get_or_init(wait).await;
        }
    }

    fn member(&self, out: &mpsc::Sender<Message>, hears_itself: bool, user: &str) -> Member {
        Member {
            out: out.clone(),
            hears_itself,
            user: user.to_owned(),
            meta: self.ids.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn understand(&self, text: &str, path: &str) -> Wish {
        match self.language {
            Language::Phoenix => self.understand_phoenix(text),
            Language::Socketio => understand_socketio(text),
            Language::Centrifuge => understand_centrifuge(text),
            Language::Raw => Wish::Publish {
                room: path.to_owned(),
                frame: text.to_owned(),
                reply: None,
            },
        }
    }

    fn defers(&self) -> bool {
        self.fault == Fault::DefersJoins && self.upgrades.fetch_add(1, Ordering::Relaxed) < REFUSED
    }

    fn understand_phoenix(&self, text: &str) -> Wish {
        let [join_ref, msg_ref, topic, event, payload]: [Value; 5] =
            serde_json::from_str(text).unwrap();
        let reply = |status: &str, response: Value| {
            let payload = json!({"status": status, "response": response});
            json!([join_ref, msg_ref, topic, "phx_reply", payload]).to_string()
        };
        let room = topic.as_str().unwrap().to_owned();
        match event.as_str().unwrap() {
            "phx_join" if self.fault == Fault::RefusesJoins => {
                Wish::Reply(reply("error", json!({"reason": "no"})))
            }
            "phx_join" if self.defers() => {
                let why = json!({"reason": "rate_limited", "retry_after_ms": 300});
                Wish::Reply(reply("error", why))
            }
            "phx_join" => Wish::Enter {
                room,
                hears_itself: payload["self"] != json!(false),
                presence: payload["presence"] == json!(true),
                reply: Some(reply("ok", json!({}))),
            },
            "heartbeat" => Wish::Reply(reply("ok", json!({}))),
            "message:send" => {
                let seq = self.broadcasts.load(Ordering::Relaxed) + 1;
                let message = json!({"seq": seq, "content": payload["content"]});
                Wish::Publish {
                    room,
                    frame: json!([null, null, topic, "message:new", message]).to_string(),
                    reply: Some(reply("ok", json!({"seq": seq}))),
                }
            }
            event => Wish::Publish {
                room,
                frame: json!([null, null, topic, event, payload]).to_string(),
                reply: None,
            },
        }
    }

    async fn fulfil(&self, out: &mpsc::Sender<Message>, wish: Wish, user: &str) {
        let reply = match wish {
            Wish::Nothing => None,
            Wish::Reply(reply) => Some(reply),
            Wish::Enter {
                room,
                hears_itself,
                presence,
                reply,
            } => {
                let member = self.member(out, hears_itself, user);
                say(out, reply.unwrap_or_default()).await;
                self.enter(&room, member.clone());
                if presence {
                    self.show(&room, &member).await;
                }
                None
            }
            Wish::Publish { room, frame, reply } => {
                self.broadcast(out, &room, &frame).await;
                reply
            }
        };
        if let Some(reply) = reply {
            say(out, reply).await;
        }
    }

    fn enter(&self, room: &str, member: Member) {
        let mut rooms = self.rooms.lock().unwrap();
        rooms.entry(room.to_owned()).or_default().push(member);
    }

    fn room(&self, room: &str) -> Vec<Member> {
        self.rooms.lock().unwrap()[room].clone()
    }

    /// Shows who is there to somebody new, and them to the others.
    async fn show(&self, room: &str, new: &Member) {
        let members = self.room(room);
        let entry = |member: &Member| {
            let meta = json!({"metas": [{"phx_ref": member.meta.to_string()}]});
            (member.user.clone(), meta)
        };
        let mut state: serde_json::Map<String, Value> = members.iter().map(entry).collect();
        if self.fault == Fault::ShowsGhosts {
            state.insert("ghost".to_owned(), json!({"metas": [{"phx_ref": "g"}]}));
        }
        let frame = json!([null, null, room, "presence_state", state]);
        say(&new.out, frame.to_string()).await;
        let joins: serde_json::Map<String, Value> = [entry(new)].into_iter().collect();
        let diff = json!({"joins": joins, "leaves": {}});
        for member in members.iter().filter(|member| member.meta != new.meta) {
            let frame = json!([null, null, room, "presence_diff", diff]);
            say(&member.out, frame.to_string()).await;
        }
    }

    async fn leave(&self, out: &mpsc::Sender<Message>, user: &str) {
        let mut left = Vec::new();
        for (room, members) in self.rooms.lock().unwrap().iter_mut() {
            let gone = members.iter().find(|member| member.out.same_channel(out));
            if let Some(gone) = gone.cloned() {
                members.retain(|member| member.meta != gone.meta);
                left.push((room.clone(), gone.meta, members.clone()));
            }
        }
        for (room, meta, members) in left {
            let leaves = json!({user: {"metas": [{"phx_ref": meta.to_string()}]}});
            let diff = json!({"joins": {}, "leaves": leaves});
            let frame = json!([null, null, room, "presence_diff", diff]).to_string();
            let is_shown = self.language == Language::Phoenix && !user.is_empty();
            for member in members.iter().filter(|_| is_shown) {
                say(&member.out, frame.clone()).await;
            }
        }
    }

    async fn broadcast(&self, from: &mpsc::Sender<Message>, room: &str, frame: &str) {
        let number = self.broadcasts.fetch_add(1, Ordering::Relaxed) + 1;
        let is_faulty = number == FAULTY;
        if is_faulty && self.fault == Fault::Forgets {
            return;
        }
        let mut members = self.room(room);
        members.retain(|member| member.hears_itself || !member.out.same_channel(from));
        if is_faulty && self.fault == Fault::Leaks {
            let rooms = self.rooms.lock().unwrap();
            members = rooms.values().flatten().cloned().collect();
        }
        for (at, member) in members.iter().enumerate() {
            let mut messages = vec![Message::text(frame)];
            if at == 0 {
                messages = self.spoil(is_faulty, messages);
            }
            for message in messages {
                let _ = member.out.send(message).await;
            }
        }
    }

    fn spoil(&self, is_faulty: bool, mut messages: Vec<Message>) -> Vec<Message> {
        messages.extend(self.held.lock().unwrap().take());
        if !is_faulty {
            return messages;
        }
        match self.fault {
            Fault::Loses => messages.clear(),
            Fault::Repeats => messages.push(messages[0].clone()),
            Fault::Swaps => *self.held.lock().unwrap() = messages.pop(),
            Fault::Closes => messages = vec![Message::Close(None)],
            Fault::Alters => {
                let text = messages[0].to_text().unwrap();
                messages = vec![Message::text(text.replacen(".x", ".y", 1))];
            }
            _ => {}
        }
        messages
    }
}

fn understand_socketio(text: &str) -> Wish {
    if text.starts_with("40") {
        return Wish::Reply(r#"40{"sid":"y"}"#.to_owned());
    }
    let Some(event) = text.strip_prefix("42") else {
        return Wish::Nothing;
    };
    let (id, arguments) = event.split_at(event.find('[').unwrap());
    let reply = (!id.is_empty()).then(|| format!("43{id}[]"));
    let arguments: Vec<String> = serde_json::from_str(arguments).unwrap();
    match &arguments[..] {
        [event, room] if event == "join" => Wish::Enter {
            room: room.clone(),
            hears_itself: true,
            presence: false,
            reply,
        },
        [event, room, content] => Wish::Publish {
            room: room.clone(),
            frame: format!("42{}", json!([event, content])),
            reply,
        },
        other => panic!("{other:?}"),
    }
}

fn understand_centrifuge(text: &str) -> Wish {
    let command: Value = serde_json::from_str(text).unwrap();
    let id = &command["id"];
    let channel = |of: &str| {
        command[of]["channel"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if command["connect"].is_object() {
        return Wish::Reply(json!({"id": id, "connect": {"client": "x"}}).to_string());
    }
    if command["subscribe"].is_object() {
        return Wish::Enter {
            room: channel("subscribe"),
            hears_itself: true,
            presence: false,
            reply: Some(json!({"id": id, "subscribe": {}}).to_string()),
        };
    }
    let (room, data) = (channel("publish"), &command["publish"]["data"]);
    // As the real one writes it: `channel` before `pub`, which is how serde_json sorts, too.
    let push = json!({"push": {"channel": room, "pub": {"data": data}}});
    Wish::Publish {
        room,
        frame: push.to_string(),
        reply: Some(json!({"id": id, "publish": {}}).to_string()),
    }
}

/// A client may be gone.
async fn say(out: &mpsc::Sender<Message>, text: String) {
    let _ = out.send(Message::text(text)).await;
}
