//! Sockets that have joined a topic and do nothing: what each costs in memory.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use crate::{Bench, Report, socket::Socket};

const TOPIC: &str = "broadcast:bench-idle";

/// How often a socket is asked whether it still lives.
const PROBED: usize = 100;

/// How many sockets.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Sockets.
    #[arg(long, default_value_t = 10_000)]
    pub sockets: usize,
    /// People they belong to; guests are made one by one.
    #[arg(long, default_value_t = 100)]
    pub people: usize,
    /// Seconds to stand still before the memory is read.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub hold: u64,
}

pub(crate) async fn run(bench: &Bench, options: &Options) -> anyhow::Result<Report> {
    ensure!(
        options.sockets > 0 && options.people > 0,
        "no sockets, no figures"
    );
    let people = bench.identities.people(options.people).await?;
    let (memory_before, cpu_before) = (bench.meter.rss()?, bench.meter.cpu()?);
    let start = Instant::now();
    let count = options.sockets;
    let mut sockets = super::connect_and_join(bench, &people, count, TOPIC, &json!({})).await?;
    let took = start.elapsed();

    let mut report = Report::new("idle");
    report.add("sockets", count as f64, "");
    report.add(
        "connect and join",
        count as f64 / took.as_secs_f64(),
        "sockets/s",
    );
    bench
        .meter
        .report_cpu(&mut report, cpu_before, count as u64)?;
    tokio::time::sleep(Duration::from_secs(options.hold)).await;
    if let (Some(before), Some(after)) = (memory_before, bench.meter.rss()?) {
        report.add("server memory before", before as f64 / 1e6, "MB");
        report.add("server memory", after as f64 / 1e6, "MB");
        let each = after.saturating_sub(before) as f64 / count as f64;
        report.add("server memory per socket", each / 1000.0, "kB");
    }
    check_all_live(&mut sockets).await?;
    Ok(report)
}

/// Nobody was dropped, and some of every part of the crowd answer.
async fn check_all_live(sockets: &mut [Socket]) -> anyhow::Result<()> {
    for (number, socket) in sockets.iter_mut().enumerate() {
        let silent = socket
            .try_receive()
            .with_context(|| format!("socket {number}"))?;
        ensure!(silent.is_none(), "socket {number} heard {silent:?}");
    }
    let step = sockets.len().div_ceil(PROBED);
    for socket in sockets.iter_mut().step_by(step) {
        socket.heartbeat().await?;
    }
    Ok(())
}
