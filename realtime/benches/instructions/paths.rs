//! The paths that are counted. Each checks what came out of it, so that none gets cheaper by
//! doing less.

use std::{
    hint::black_box,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, Waker},
};

use quikapp_actors::fanout::{
    Broadcast, ConnectionId, Deliveries, Fanout, Lane, Outbox, OutboxLimits, SlotKey,
};
use quikapp_protocol::{Encoded, Json, Payload, Vsn, decode_text};
use quikapp_realtime::{
    channel::{Channel, Context, Flow, JoinError, Router},
    socket::{
        ClientStream, FrameSink, Inbound, Limits, Mount, MountOptions, Session, serve_websocket,
    },
    telemetry::{LogFormat, Metrics, logs},
    testing::{Anybody, connect_info, mount_with},
    ws::{Decoder, Event, FrameHeader, OpCode, write_frame},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Failure;

/// One hot path.
pub(super) struct Path {
    pub(super) name: &'static str,
    /// How many operations a round is.
    pub(super) operations: u64,
    /// Runs so many rounds.
    pub(super) run: fn(u64) -> Result<(), Failure>,
}

const MEMBERS: u64 = 1000;
const IN_FLIGHT: u64 = 16;

/// In the order in which they are shown.
pub(super) const PATHS: &[Path] = &[
    Path {
        name: "decode",
        operations: 1,
        run: decode,
    },
    Path {
        name: "encode",
        operations: 1,
        run: encode,
    },
    Path {
        name: "frame-in",
        operations: 1,
        run: frame_in,
    },
    Path {
        name: "frame-out",
        operations: 1,
        run: frame_out,
    },
    Path {
        name: "publish",
        operations: MEMBERS,
        run: publish,
    },
    Path {
        name: "deliver",
        operations: MEMBERS,
        run: |rounds| deliver(rounds, 1),
    },
    Path {
        name: "deliver-16",
        operations: MEMBERS * IN_FLIGHT,
        run: |rounds| deliver(rounds, IN_FLIGHT),
    },
    Path {
        name: "event",
        operations: 1,
        run: event,
    },
];

/// Callgrind collects in here and nowhere else.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // Not a tail call, which would leave the function before the work begins.
    black_box(());
}

const TOPIC: &str = "broadcast:bench";
const ROOM: &str = "room:bench";
/// With a body of 64 bytes.
const PAYLOAD: &str =
    r#"{"n":123456,"body":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;

fn client_text(event: &str) -> String {
    format!(r#"["1","2","{TOPIC}","{event}",{PAYLOAD}]"#)
}

fn broadcast() -> Broadcast {
    let payload = Payload::Json(Json::assume_valid(PAYLOAD.to_owned()));
    Broadcast::new(ROOM, "tick", payload).with_alias(TOPIC)
}

fn decode(rounds: u64) -> Result<(), Failure> {
    let text = bytes::Bytes::from(client_text("tick"));
    let message = decode_text(Vsn::V2, text.clone())?;
    assert_eq!(message.event.as_str(), Some("tick"));
    measured(&mut || {
        for _ in 0..rounds {
            let _ = black_box(decode_text(Vsn::V2, black_box(text.clone())));
        }
    });
    Ok(())
}

fn encode(rounds: u64) -> Result<(), Failure> {
    let encoded = |broadcast: Broadcast| broadcast.encoded_as(TOPIC, Vsn::V2).is_some();
    let broadcasts: Vec<_> = (0..=rounds).map(|_| broadcast()).collect();
    let mut count = 0;
    measured(&mut || {
        for broadcast in broadcasts.iter().skip(1) {
            count += u64::from(black_box(broadcast.encoded_as(TOPIC, Vsn::V2)).is_some());
        }
    });
    assert!(count == rounds && encoded(broadcast()));
    Ok(())
}

/// A client's text frame.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = FrameHeader::new(OpCode::Text, text.len()).to_vec();
    frame[1] |= 0x80;
    let key = [1, 2, 3, 4];
    frame.extend(key);
    frame.extend(text.bytes().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

fn frame_in(rounds: u64) -> Result<(), Failure> {
    let frame = masked(&client_text("tick"));
    let mut decoder = Decoder::new(1 << 20, None);
    let mut texts = 0;
    measured(&mut || {
        for _ in 0..rounds {
            decoder.feed(&frame);
            while let Ok(Some(event)) = decoder.next_event() {
                texts += u64::from(matches!(black_box(event), Event::Text(_)));
            }
        }
    });
    assert_eq!(texts, rounds);
    Ok(())
}

fn frame_out(rounds: u64) -> Result<(), Failure> {
    let mut out = Vec::with_capacity(1024);
    measured(&mut || {
        for _ in 0..rounds {
            out.clear();
            write_frame(OpCode::Text, black_box(PAYLOAD.as_bytes()), &mut out);
        }
    });
    assert!(out.ends_with(PAYLOAD.as_bytes()));
    Ok(())
}

/// The registry alone: to a thousand queues, and out of them.
fn publish(rounds: u64) -> Result<(), Failure> {
    let fanout = Fanout::new();
    let outbox = |id| Arc::new(Outbox::new(ConnectionId(id), OutboxLimits::default()));
    let outboxes: Vec<_> = (0..MEMBERS).map(outbox).collect();
    let subscriptions: Vec<_> = outboxes
        .iter()
        .map(|outbox| fanout.subscribe(ROOM, outbox, SlotKey(1), Lane::Own))
        .collect();
    let mut cx = TaskContext::from_waker(Waker::noop());
    let mut taken = Deliveries::new();
    let mut delivered = 0;
    let mut round = || {
        fanout.publish(broadcast());
        for outbox in &outboxes {
            while outbox.poll_drain(&mut cx, &mut taken).is_ready() {
                delivered += taken.by_ref().count() as u64;
            }
        }
    };
    round();
    measured(&mut || (0..rounds).for_each(|_| round()));
    assert_eq!(delivered, (rounds + 1) * subscriptions.len() as u64);
    Ok(())
}

/// A room in which every event is answered and nothing else happens.
struct Room;

impl Channel for Room {
    type Assigns = ();
    type State = ();

    async fn join(
        &self,
        cx: &mut Context<()>,
        _params: Payload,
    ) -> Result<((), Payload), JoinError> {
        cx.subscribe(ROOM, Lane::Forward);
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(
        &self,
        _state: &mut (),
        _cx: &mut Context<()>,
        _event: &str,
        _payload: Payload,
    ) -> Flow {
        Flow::empty_ok()
    }
}

/// As in the product: metrics and logs are on.
fn room() -> Result<Mount, Failure> {
    Metrics::install()?;
    logs::init("info", LogFormat::Text)?;
    let options = MountOptions {
        limits: Limits {
            push_burst: f32::MAX,
            ..Limits::default()
        },
        ..MountOptions::default()
    };
    let router = Router::new().channel("broadcast:*", Room);
    Ok(mount_with(router, Anybody(()), options))
}

async fn connect(mount: &Mount) -> Result<Session, Failure> {
    let session = mount.connect(connect_info(Vsn::V2, &[])).await;
    session.map_err(|refusal| format!("{refusal:?}").into())
}

/// A client that joins, says nothing more and takes everything at once.
struct Listener {
    says: Vec<u8>,
    heard: Arc<AtomicU64>,
}

impl ClientStream for Listener {}

impl AsyncRead for Listener {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Listener {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A thousand connections from the publisher to the bytes that are written: everything but the
/// system calls.
fn deliver(rounds: u64, in_flight: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mount = room()?;
    let heard = Arc::new(AtomicU64::new(0));
    let fanout = &mount.hub().fanout;
    runtime.block_on(async {
        for _ in 0..MEMBERS {
            let says = masked(&format!(r#"["1","1","{TOPIC}","phx_join",{{}}]"#));
            let heard = Arc::clone(&heard);
            let listener = Listener { says, heard };
            tokio::spawn(serve_websocket(connect(&mount).await?, listener, None, &[]));
        }
        while fanout.subscribers(ROOM) < MEMBERS as usize {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        Ok::<(), Failure>(())
    })?;
    let frame = broadcast();
    let frame = frame.encoded_as(TOPIC, Vsn::V2).ok_or("no frame")?;
    let size = (FrameHeader::new(OpCode::Text, frame.len()).len() + frame.len()) as u64;
    let mut due = heard.load(Ordering::Relaxed);
    let mut round = || {
        due += in_flight * MEMBERS * size;
        runtime.block_on(async {
            for _ in 0..in_flight {
                fanout.publish(broadcast());
            }
            while heard.load(Ordering::Relaxed) < due {
                tokio::task::yield_now().await;
            }
        });
    };
    round();
    measured(&mut || (0..rounds).for_each(|_| round()));
    assert_eq!(heard.load(Ordering::Relaxed), due);
    Ok(())
}

#[derive(Default)]
struct Replies(u64);

impl FrameSink for Replies {
    fn send(&mut self, frame: &Encoded) {
        self.0 += u64::from(!black_box(frame).is_empty());
    }
}

/// A client's event, to its handler, and the reply.
fn event(rounds: u64) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mount = room()?;
    let _entered = runtime.enter();
    let mut session = runtime.block_on(connect(&mount))?;
    let mut replies = Replies::default();
    let mut say = |text: String| {
        session.receive(Inbound::Text(text.into()));
        let mut cx = TaskContext::from_waker(Waker::noop());
        let polled = session.poll(&mut cx, &mut replies);
        assert!(polled.is_pending());
    };
    say(format!(r#"["1","1","{TOPIC}","phx_join",{{}}]"#));
    say(client_text("tick"));
    let texts: Vec<_> = (0..rounds).map(|_| client_text("tick")).collect();
    let mut texts = texts.into_iter();
    measured(&mut || texts.by_ref().for_each(&mut say));
    assert_eq!(replies.0, rounds + 2);
    Ok(())
}
