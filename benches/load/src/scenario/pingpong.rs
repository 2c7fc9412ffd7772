//! A message from one person to another and one back, with nothing else going on.

use anyhow::ensure;
use clap::Args;
use quikapp_protocol::Payload;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{Bench, Report, socket::Socket};

/// How often.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Pairs of people that take turns, so that none exceeds its rate.
    #[arg(long, default_value_t = 16)]
    pub pairs: usize,
    /// Round trips in all.
    #[arg(long, default_value_t = 8000)]
    pub rounds: u64,
}

#[derive(Deserialize)]
struct Ball {
    n: u64,
}

pub(crate) async fn run(bench: &Bench, options: &Options) -> anyhow::Result<Report> {
    ensure!(options.pairs > 0 && options.rounds > 0, "nobody plays");
    let mut tables = Vec::with_capacity(options.pairs);
    for number in 0..options.pairs {
        tables.push(Table::open(bench, number).await?);
    }
    let mut histogram = super::latencies()?;
    for (n, table) in (0..options.rounds).zip((0..options.pairs).cycle()) {
        let start = Instant::now();
        tables[table].rally(n).await?;
        super::record(&mut histogram, start.elapsed() / 2);
    }
    let mut report = Report::new("pingpong");
    report.add("round trips", options.rounds as f64, "");
    super::report_latencies(&mut report, &histogram);
    Ok(report)
}

/// Two people in a room of their own.
struct Table {
    topic: String,
    players: [Socket; 2],
}

impl Table {
    async fn open(bench: &Bench, number: usize) -> anyhow::Result<Self> {
        let topic = format!("broadcast:bench-pingpong-{number}");
        let params = json!({"ack": false, "self": false});
        let people = bench.identities.people(2).await?;
        let sockets = super::connect_and_join(bench, &people, 2, &topic, &params).await?;
        let players = sockets
            .try_into()
            .map_err(|_| anyhow::anyhow!("two sockets"))?;
        Ok(Self { topic, players })
    }

    async fn rally(&mut self, n: u64) -> anyhow::Result<()> {
        let [one, other] = &mut self.players;
        hit(one, other, &self.topic, n).await?;
        hit(other, one, &self.topic, n).await
    }
}

async fn hit(from: &mut Socket, to: &mut Socket, topic: &str, n: u64) -> anyhow::Result<()> {
    from.push(topic, "ball", Payload::from(json!({"n": n})))
        .await?;
    let message = to.receive().await?;
    ensure!(
        message.event.as_str() == Some("ball"),
        "unexpected: {message:?}"
    );
    let ball: Ball = message.payload.parse()?;
    ensure!(ball.n == n, "ball {} came where {n} was due", ball.n);
    Ok(())
}
