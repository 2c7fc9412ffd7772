//! What can be measured.

pub mod chat;
pub mod fanout;
pub mod idle;
pub mod pingpong;

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use serde_json::Value;

use crate::{Bench, Report, identity::Identity, socket::Socket};

/// Handshakes that are under way at a time.
const CONNECTING: usize = 64;

/// Connects `count` sockets, shared out among the people, and joins all to `topic`.
async fn connect_and_join(
    bench: &Bench,
    people: &[Identity],
    count: usize,
    topic: &str,
    params: &Value,
) -> anyhow::Result<Vec<Socket>> {
    let sockets = (0..count).map(|number| async move {
        let token = &people[number % people.len()].token;
        let source = bench.target.source(number);
        let mut socket = Socket::connect(&bench.target, source, token).await?;
        socket.join(topic, params.clone()).await?;
        anyhow::Ok(socket)
    });
    stream::iter(sockets)
        .buffer_unordered(CONNECTING)
        .try_collect()
        .await
}

/// Latencies from 1 us to a minute, with three digits.
fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
}

fn report_latencies(report: &mut Report, histogram: &Histogram<u64>) {
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        report.add(name, histogram.value_at_quantile(quantile) as f64, "us");
    }
    report.add("max", histogram.max() as f64, "us");
}
