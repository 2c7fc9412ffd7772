//! What WebSocket framing costs a server: ours beside tokio-tungstenite, for ADR 2.
//!
//! `cargo bench --bench framing`. Real TCP connections over loopback. The server is one thread
//! with a task per connection and a bounded queue each; the clients are another thread that reads
//! in bursts. The CPU time is the server thread's alone. Every delivery is counted, so that
//! neither side can win by losing messages.

use std::{
    fs,
    io::{self, Read},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use quikapp_realtime::ws::{Decoder, FrameHeader, OpCode};
use tokio::{io::AsyncWriteExt, sync::mpsc, task::LocalSet};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{Role, WebSocketConfig},
    },
};

/// A broadcast of Phoenix V2 with a body of 64 bytes.
const PAYLOAD: &str = r#"[null,null,"broadcast:bench","tick",{"n":123456,"body":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]"#;

const CONNECTIONS: usize = 1000;
const IDLE_CONNECTIONS: usize = 4000;
const REPEATS: usize = 9;
const QUEUE: usize = 64;

/// Which framing.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Ours,
    Tungstenite,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    println!(
        "user-mode and total CPU of the server thread, us per delivery, {CONNECTIONS} members"
    );
    println!("(median, minimum and maximum of {REPEATS} interleaved runs)");
    for (label, in_flight, rounds) in [("one message at a time", 1, 100), ("16 in flight", 16, 20)]
    {
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..REPEATS {
            for (runs, framing) in runs.iter_mut().zip([Framing::Ours, Framing::Tungstenite]) {
                runs.push(fan_out(framing, in_flight, rounds)?);
            }
        }
        for (runs, framing) in runs.into_iter().zip([Framing::Ours, Framing::Tungstenite]) {
            println!("{label:<22} {framing:<12?} {}", Spread::of(runs));
        }
    }
    println!("memory of an idle connection with its task, {IDLE_CONNECTIONS} connections");
    for framing in [Framing::Ours, Framing::Tungstenite] {
        println!("{framing:<12?} {:.2} kB", idle_memory(framing)? / 1000.0);
    }
    Ok(())
}

/// CPU time of this thread: user mode, and with the kernel's share.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    user: f64,
    total: f64,
}

struct Spread {
    runs: Vec<Cpu>,
}

impl Spread {
    fn of(runs: Vec<Cpu>) -> Self {
        Self { runs }
    }

    fn of_part(&self, part: impl Fn(&Cpu) -> f64) -> String {
        let mut values: Vec<_> = self.runs.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[0], values[values.len() - 1]);
        format!("{:.2} ({low:.2}-{high:.2})", values[values.len() / 2])
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (user, total) = (self.of_part(|cpu| cpu.user), self.of_part(|cpu| cpu.total));
        write!(f, "user {user:<20} total {total}")
    }
}

/// Microseconds. User time comes in ticks of 10 ms, the total in nanoseconds.
fn thread_cpu() -> Result<Cpu, Failure> {
    let stat = fs::read_to_string("/proc/thread-self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("an unreadable stat")?;
    let user: f64 = fields
        .split_whitespace()
        .nth(11)
        .ok_or("no user time")?
        .parse()?;
    let schedule = fs::read_to_string("/proc/thread-self/schedstat")?;
    let total: f64 = schedule
        .split_whitespace()
        .next()
        .ok_or("no run time")?
        .parse()?;
    Ok(Cpu {
        user: user * 10_000.0,
        total: total / 1000.0,
    })
}

/// Server and client ends of loopback connections.
fn connect(count: usize) -> Result<(Vec<TcpStream>, Vec<TcpStream>), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        for stream in [&client, &server] {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
        }
        servers.push(server);
        clients.push(client);
    }
    Ok((servers, clients))
}

/// The reading side: a thread that takes what has come every few milliseconds.
struct Readers {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Readers {
    fn start(clients: Vec<TcpStream>) -> Self {
        let (received, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, until) = (Arc::clone(&received), Arc::clone(&stop));
        let thread = thread::spawn(move || read_in_bursts(clients, &count, &until));
        Self {
            received,
            stop,
            thread,
        }
    }

    fn finish(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Release);
        Ok(self.thread.join().map_err(|_| "the readers panicked")??)
    }
}

fn read_in_bursts(
    mut clients: Vec<TcpStream>,
    received: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut scratch = vec![0; 64 * 1024];
    while !stop.load(Ordering::Acquire) {
        thread::park_timeout(Duration::from_millis(4));
        for client in &mut clients {
            loop {
                match client.read(&mut scratch) {
                    // The server is done; `stop` follows.
                    Ok(0) => break,
                    Ok(count) => received.fetch_add(count as u64, Ordering::AcqRel),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
            }
        }
    }
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// CPU per delivery of a broadcast to all connections.
fn fan_out(framing: Framing, in_flight: u64, rounds: u64) -> Result<Cpu, Failure> {
    let (servers, clients) = connect(CONNECTIONS)?;
    let readers = Readers::start(clients);
    let received = Arc::clone(&readers.received);
    let server = thread::spawn(move || {
        LocalSet::new().block_on(
            &runtime()?,
            publish(framing, servers, in_flight, rounds, &received),
        )
    });
    let cpu = server.join().map_err(|_| "the server panicked")??;
    readers.finish()?;
    let deliveries = (rounds * in_flight * CONNECTIONS as u64) as f64;
    Ok(Cpu {
        user: cpu.user / deliveries,
        total: cpu.total / deliveries,
    })
}

async fn publish(
    framing: Framing,
    servers: Vec<TcpStream>,
    in_flight: u64,
    rounds: u64,
    received: &AtomicU64,
) -> Result<Cpu, Failure> {
    let mut queues = Vec::new();
    for server in servers {
        let (queue, deliveries) = mpsc::channel(QUEUE);
        let stream = tokio::net::TcpStream::from_std(server)?;
        match framing {
            Framing::Ours => tokio::task::spawn_local(write_ours(stream, deliveries)),
            Framing::Tungstenite => tokio::task::spawn_local(write_tungstenite(stream, deliveries)),
        };
        queues.push(queue);
    }
    let message = Utf8Bytes::from_static(PAYLOAD);
    let frame_size = (FrameHeader::new(OpCode::Text, PAYLOAD.len()).len() + PAYLOAD.len()) as u64;
    let before = thread_cpu()?;
    for round in 1..=rounds {
        for _ in 0..in_flight {
            for queue in &queues {
                queue.try_send(message.clone())?;
            }
        }
        let due = round * in_flight * queues.len() as u64 * frame_size;
        while received.load(Ordering::Acquire) < due {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let after = thread_cpu()?;
    Ok(Cpu {
        user: after.user - before.user,
        total: after.total - before.total,
    })
}

/// As the product writes: everything that is queued goes out in one write, from a buffer that
/// lives only as long as the write.
async fn write_ours(mut stream: tokio::net::TcpStream, mut queue: mpsc::Receiver<Utf8Bytes>) {
    while let Some(first) = queue.recv().await {
        let mut out = Vec::with_capacity(first.len() + 10);
        append(&first, &mut out);
        while let Ok(next) = queue.try_recv() {
            append(&next, &mut out);
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

fn append(message: &Utf8Bytes, out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader::new(OpCode::Text, message.len()));
    out.extend_from_slice(message.as_bytes());
}

/// The same with tokio-tungstenite and small buffers.
async fn write_tungstenite(stream: tokio::net::TcpStream, mut queue: mpsc::Receiver<Utf8Bytes>) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(small())).await;
    while let Some(first) = queue.recv().await {
        if socket.feed(Message::Text(first)).await.is_err() {
            return;
        }
        while let Ok(next) = queue.try_recv() {
            if socket.feed(Message::Text(next)).await.is_err() {
                return;
            }
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

fn small() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(2048)
}

/// Resident bytes that a connection adds: stream, framing and a task that waits for input.
fn idle_memory(framing: Framing) -> Result<f64, Failure> {
    let (servers, clients) = connect(IDLE_CONNECTIONS)?;
    let before = resident()?;
    let after = LocalSet::new().block_on(&runtime()?, async {
        for server in servers {
            let stream = tokio::net::TcpStream::from_std(server)?;
            match framing {
                Framing::Ours => tokio::task::spawn_local(read_ours(stream)),
                Framing::Tungstenite => tokio::task::spawn_local(read_tungstenite(stream)),
            };
        }
        // Every task has read once and waits.
        tokio::time::sleep(Duration::from_millis(300)).await;
        resident()
    })?;
    drop(clients);
    Ok((after - before) / IDLE_CONNECTIONS as f64)
}

async fn read_ours(stream: tokio::net::TcpStream) {
    let mut decoder = Decoder::new(1 << 20, None);
    let mut events = 0;
    while stream.readable().await.is_ok() {
        let mut scratch = [0; 4096];
        match stream.try_read(&mut scratch) {
            Ok(0) => break,
            Ok(count) => decoder.feed(&scratch[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        while let Ok(Some(_)) = decoder.next_event() {
            events += 1;
        }
    }
    std::hint::black_box(events);
}

async fn read_tungstenite(stream: tokio::net::TcpStream) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(small())).await;
    while let Some(Ok(message)) = socket.next().await {
        std::hint::black_box(message.into_data());
    }
}

fn resident() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .ok_or("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib * 1024.0)
}
