//! One message to all members of a room, again and again: what a delivery costs.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use quikapp_protocol::{Message, Payload};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{Bench, Report, socket::Socket};

const TOPIC: &str = "broadcast:bench-fanout";
const EVENT: &str = "tick";

/// A round that takes longer has lost something.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);

/// How many members, and how they are addressed.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Members of the room.
    #[arg(long, default_value_t = 1000)]
    pub members: usize,
    /// Members that take turns to send, so that none exceeds its rate.
    #[arg(long, default_value_t = 16)]
    pub senders: usize,
    /// Messages sent at once before their deliveries are awaited.
    #[arg(long, default_value_t = 1)]
    pub in_flight: u64,
    /// Bytes of body in a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Members read together every so many milliseconds, so that reading does not interrupt the
    /// server while it writes; 0 to read all the time, for rates instead of costs.
    #[arg(long, default_value_t = 8, value_name = "MS")]
    pub burst_ms: u64,
}

#[derive(Deserialize)]
struct Tick {
    n: u64,
}

pub(crate) async fn run(bench: &Bench, options: &Options) -> anyhow::Result<Report> {
    ensure!(
        options.members > 0 && options.in_flight > 0,
        "nobody to send to"
    );
    let senders = options.senders.clamp(1, options.members);
    let people = bench.identities.people(senders).await?;
    let params = json!({"ack": false});
    let sockets = super::connect_and_join(bench, &people, options.members, TOPIC, &params).await?;
    let mut room = Room {
        sockets,
        senders,
        sent: 0,
        body: "x".repeat(options.body),
        pause: Duration::from_millis(options.burst_ms),
    };
    // The first rounds allocate what later ones reuse.
    for _ in 0..senders {
        room.round(1).await?;
    }

    let (sent_before, cpu_before, start) = (room.sent, bench.meter.cpu()?, Instant::now());
    let mut histogram = super::latencies()?;
    while start.elapsed() < Duration::from_secs(options.seconds) {
        let began = Instant::now();
        room.round(options.in_flight).await?;
        super::record(&mut histogram, began.elapsed());
    }
    let took = start.elapsed();
    let messages = room.sent - sent_before;
    let deliveries = messages * options.members as u64;

    let mut report = Report::new("fanout");
    report.add("members", options.members as f64, "");
    report.add("messages", messages as f64, "");
    report.add(
        "deliveries",
        deliveries as f64 / took.as_secs_f64(),
        "per s",
    );
    bench
        .meter
        .report_cpu(&mut report, cpu_before, deliveries)?;
    super::report_latencies(&mut report, &histogram);
    Ok(report)
}

struct Room {
    sockets: Vec<Socket>,
    /// The first so many sockets send, in turn.
    senders: usize,
    /// The number of the last message.
    sent: u64,
    body: String,
    pause: Duration,
}

impl Room {
    /// Sends `count` messages from one member and waits until everybody has them all.
    async fn round(&mut self, count: u64) -> anyhow::Result<()> {
        let first = self.sent + 1;
        let sender = usize::try_from(self.sent / count)? % self.senders;
        for n in first..first + count {
            let payload = Payload::from(json!({"n": n, "body": self.body}));
            self.sockets[sender].push(TOPIC, EVENT, payload).await?;
        }
        self.sent += count;
        tokio::time::timeout(ROUND_TIMEOUT, self.gather(first, count))
            .await
            .with_context(|| format!("messages {first} to {} did not all arrive", self.sent))?
    }

    async fn gather(&mut self, first: u64, count: u64) -> anyhow::Result<()> {
        let mut next = vec![first; self.sockets.len()];
        loop {
            if self.pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(self.pause).await;
            }
            let mut complete = true;
            for (socket, next) in self.sockets.iter_mut().zip(&mut next) {
                while let Some(message) = socket.try_receive()? {
                    expect(&message, *next)?;
                    *next += 1;
                }
                complete &= *next == first + count;
            }
            if complete {
                return Ok(());
            }
        }
    }
}

/// The message has to be the tick of this number: none lost, none twice, all in order.
fn expect(message: &Message, n: u64) -> anyhow::Result<()> {
    if message.event.as_str() != Some(EVENT) {
        bail!("unexpected: {message:?}");
    }
    let tick: Tick = message.payload.parse()?;
    ensure!(tick.n == n, "message {} came where {n} was due", tick.n);
    Ok(())
}
