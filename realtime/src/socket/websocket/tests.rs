//! A real WebSocket client at the other end of a pipe.

#![allow(clippy::unwrap_used)]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use quikapp_actors::fanout::{Broadcast, Close};
use quikapp_protocol::{Payload, Vsn};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{ClientStream, serve_websocket};
use crate::{
    channel::{Channel, Context, Flow, JoinError, Router},
    socket::{Limits, Mount, MountOptions},
    testing::{Anybody, connect_info, mount_with},
};

struct Room;

impl Channel for Room {
    type Assigns = ();
    type State = ();

    async fn join(&self, _: &mut Context<()>, _: Payload) -> Result<((), Payload), JoinError> {
        Ok(((), Payload::empty_object()))
    }

    async fn handle_in(&self, (): &mut (), _: &mut Context<()>, _: &str, payload: Payload) -> Flow {
        Flow::ok(payload)
    }
}

fn room(options: MountOptions) -> Mount {
    mount_with(Router::new().channel("room:*", Room), Anybody(()), options)
}

/// A pipe of this many bytes in each direction stands for the kernel's socket buffers.
async fn open(mount: &Mount, pipe: usize) -> (DuplexStream, JoinHandle<()>) {
    let session = mount
        .connect(connect_info(Vsn::V2, &[("id", "user:1")]))
        .await
        .unwrap();
    let (client, server) = duplex(pipe);
    let task = tokio::spawn(serve_websocket(session, server, None, b""));
    (client, task)
}

async fn connect(mount: &Mount) -> (WebSocketStream<DuplexStream>, JoinHandle<()>) {
    let (client, task) = open(mount, 64 * 1024).await;
    (
        WebSocketStream::from_raw_socket(client, Role::Client, None).await,
        task,
    )
}

async fn say(client: &mut WebSocketStream<DuplexStream>, message: serde_json::Value) {
    client
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

async fn join(client: &mut WebSocketStream<DuplexStream>) {
    say(client, json!(["1", "1", "room:1", "phx_join", {}])).await;
    client.next().await.unwrap().unwrap();
}

async fn close_code(client: &mut WebSocketStream<DuplexStream>) -> u16 {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Close(frame) => return frame.unwrap().code.into(),
            _ => continue,
        }
    }
}

#[tokio::test]
async fn messages_pings_and_a_close() {
    let mount = room(MountOptions::default());
    let (mut client, task) = connect(&mount).await;
    join(&mut client).await;
    client
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    say(&mut client, json!(["1", "2", "room:1", "echo", {"a": 1}])).await;
    let reply = client.next().await.unwrap().unwrap();
    let expected = r#"["1","2","room:1","phx_reply",{"response":{"a":1},"status":"ok"}]"#;
    assert_eq!(reply, Message::text(expected));
    client.close(None).await.unwrap();
    assert_eq!(close_code(&mut client).await, 1000);
    drop(client);
    task.await.unwrap();
    assert_eq!(mount.hub().connections.count(), 0);
    assert_eq!(mount.hub().fanout.topics(), 0);
}

#[tokio::test]
async fn bytes_read_with_the_request_are_not_lost() {
    let mount = room(MountOptions::default());
    let session = mount.connect(connect_info(Vsn::V2, &[])).await.unwrap();
    let (client, server) = duplex(1024);
    // A masked text frame with an all-zero mask.
    let text = br#"[null,"1","phoenix","heartbeat",{}]"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text);
    let serving = async move { serve_websocket(session, server, None, &frame).await };
    tokio::spawn(serving);
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    assert!(client.next().await.unwrap().unwrap().is_text());
}

#[tokio::test]
async fn the_server_closes_with_code_and_reason_behind_what_it_had_to_say() {
    let mount = room(MountOptions::default());
    let (mut client, task) = connect(&mount).await;
    join(&mut client).await;
    let fanout = &mount.hub().fanout;
    fanout.publish(Broadcast::new("room:1", "last", json!({}).into()));
    assert_eq!(fanout.disconnect("user:1", &Close::new(1008, "revoked")), 1);
    assert!(client.next().await.unwrap().unwrap().is_text());
    let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else {
        panic!("a close frame");
    };
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (1008, "revoked")
    );
    drop(client);
    task.await.unwrap();
}

#[tokio::test]
async fn violations_of_the_framing_close_with_their_code() {
    let mount = room(MountOptions {
        max_message_size: 100,
        ..MountOptions::default()
    });
    let cases: [(&[u8], u16); 4] = [
        (b"\x81\x02hi", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007),
        (b"\x81\xfe\x00\xff\0\0\0\0", 1009),
    ];
    for (bytes, code) in cases {
        let (mut client, task) = open(&mount, 1024).await;
        client.write_all(bytes).await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            answer,
            [0x88, 2, (code >> 8) as u8, code as u8],
            "{bytes:?}"
        );
        drop(client);
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_inbound_frames_keep_a_socket_open() {
    let mount = room(MountOptions {
        idle_timeout: Duration::from_secs(60),
        ..MountOptions::default()
    });
    let (mut client, task) = connect(&mount).await;
    join(&mut client).await;
    let second = Duration::from_secs(1);
    tokio::time::sleep(second * 50).await;
    client.send(Message::Pong("".into())).await.unwrap();
    let heard = tokio::time::Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(second * 10).await;
        mount
            .hub()
            .fanout
            .publish(Broadcast::new("room:1", "noise", json!({}).into()));
    }
    assert_eq!(close_code(&mut client).await, 1002);
    assert_eq!(heard.elapsed().as_secs(), 60);
    drop(client);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut() {
    let counted = Counted::new();
    let _counting = counted.count_here();
    let limits = Limits {
        write_timeout: Duration::from_secs(15),
        ..Limits::default()
    };
    let mount = room(MountOptions {
        limits,
        idle_timeout: Duration::from_secs(600),
        ..MountOptions::default()
    });
    let (client, task) = open(&mount, 256).await;
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    join(&mut client).await;
    let started = tokio::time::Instant::now();
    let big = json!({"text": "x".repeat(1000)});
    mount
        .hub()
        .fanout
        .publish(Broadcast::new("room:1", "big", big.into()));
    task.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 15);
    assert_eq!(counted.slow_consumers(), 1);
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_cut_and_the_publisher_never_waits() {
    let counted = Counted::new();
    let _counting = counted.count_here();
    let mut limits = Limits::default();
    limits.outbox.messages = 100;
    let mount = room(MountOptions {
        limits,
        ..MountOptions::default()
    });
    let (slow, slow_task) = open(&mount, 256).await;
    let mut slow = WebSocketStream::from_raw_socket(slow, Role::Client, None).await;
    join(&mut slow).await;
    let (mut quick, _task) = connect(&mount).await;
    join(&mut quick).await;
    let payload = json!({"text": "x".repeat(1000)});
    for n in 0..400 {
        mount
            .hub()
            .fanout
            .publish(Broadcast::new("room:1", "news", payload.clone().into()));
        assert!(quick.next().await.unwrap().unwrap().is_text(), "{n}");
    }
    slow_task.await.unwrap();
    assert_eq!(mount.hub().fanout.subscribers("room:1"), 1);
    assert_eq!(counted.slow_consumers(), 1, "and the quick one is none");
}

#[tokio::test]
async fn everything_that_is_queued_goes_out_in_one_write() {
    const QUEUED: usize = 50;
    let mount = room(MountOptions::default());
    let session = mount.connect(connect_info(Vsn::V2, &[])).await.unwrap();
    let (client, server) = duplex(64 * 1024);
    let writes = Arc::new(AtomicUsize::new(0));
    let server = CountingWrites {
        io: server,
        writes: Arc::clone(&writes),
    };
    let _task = tokio::spawn(serve_websocket(session, server, None, b""));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    join(&mut client).await;
    let before = writes.load(Ordering::Relaxed);
    for n in 0..QUEUED {
        let broadcast = Broadcast::new("room:1", "news", json!({ "n": n }).into());
        mount.hub().fanout.publish(broadcast);
    }
    for _ in 0..QUEUED {
        assert!(client.next().await.unwrap().unwrap().is_text());
    }
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1);
}

/// Counts the writes that reach a stream.
struct CountingWrites {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CountingWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CountingWrites {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl ClientStream for CountingWrites {}

/// The metrics of one test, whose tasks all run on its thread.
struct Counted(PrometheusRecorder);

impl Counted {
    fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    fn count_here(&self) -> metrics::LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    fn slow_consumers(&self) -> u64 {
        let text = self.0.handle().render();
        let lines = text.lines();
        let values = lines.filter_map(|line| line.strip_prefix("quikapp_slow_consumers_total "));
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }
}

/// The socket itself (a `NetStream` is 40 bytes), the session and its timers: what ten thousand
/// idle connections have ten thousand times, beside one membership and one timer entry each.
#[test]
fn an_idle_connection_stays_small() {
    let size = size_of::<super::WebSocket<tokio::net::TcpStream>>();
    assert!(size <= 768, "{size} bytes");
}
