//! Persisted messages in closed loop: every sender waits for its acknowledgement before it sends
//! the next. In the end every member has to have heard every acknowledged message, in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use quikapp_protocol::{Message, Payload, Ref};
use serde::Deserialize;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    Bench, Report,
    identity::Identity,
    socket::{Socket, accept},
};

/// How long the last broadcasts may take after the last acknowledgement.
const DRAIN: Duration = Duration::from_secs(15);

/// How many people, and where they write.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// People, each with one socket.
    #[arg(long, default_value_t = 1000)]
    pub senders: usize,
    /// Conversations they are shared out among.
    #[arg(long, default_value_t = 100)]
    pub conversations: usize,
    /// Bytes of content in a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}

/// What one member sent and heard: the seqs of acknowledged and of received messages.
struct Record {
    conversation: usize,
    acknowledged: Vec<u64>,
    heard: Vec<u64>,
    latencies: Histogram<u64>,
}

/// What the members of a conversation know of each other.
#[derive(Default)]
struct Progress {
    sending: AtomicUsize,
    acknowledged: AtomicUsize,
}

#[derive(Deserialize)]
struct Sequenced {
    seq: u64,
}

pub(crate) async fn run(bench: &Bench, options: &Options) -> anyhow::Result<Report> {
    let conversations = options.conversations.clamp(1, options.senders.max(1));
    let members = gather_members(bench, options, conversations).await?;

    let (cpu_before, start) = (bench.meter.cpu()?, Instant::now());
    let end = start + Duration::from_secs(options.seconds);
    let mut tasks = JoinSet::new();
    for member in members {
        tasks.spawn(member.run(end, "x".repeat(options.body)));
    }
    let mut records = Vec::with_capacity(tasks.len());
    while let Some(record) = tasks.join_next().await {
        records.push(record??);
    }

    let mut histogram = super::latencies()?;
    for record in &records {
        histogram.add(&record.latencies)?;
    }
    let acknowledged = check(&records, conversations)?;
    let mut report = Report::new("chat");
    report.add("senders", options.senders as f64, "");
    report.add("conversations", conversations as f64, "");
    report.add("messages", acknowledged as f64, "");
    report.add(
        "acknowledged",
        acknowledged as f64 / options.seconds as f64,
        "per s",
    );
    let heard: usize = records.iter().map(|record| record.heard.len()).sum();
    report.add("deliveries", heard as f64 / options.seconds as f64, "per s");
    bench
        .meter
        .report_cpu(&mut report, cpu_before, acknowledged)?;
    super::report_latencies(&mut report, &histogram);
    Ok(report)
}

async fn gather_members(
    bench: &Bench,
    options: &Options,
    conversations: usize,
) -> anyhow::Result<Vec<Member>> {
    ensure!(options.senders > 0, "nobody to send");
    let people = bench.identities.people(options.senders).await?;
    let mut members = Vec::with_capacity(people.len());
    for (conversation, group) in people
        .chunks(people.len().div_ceil(conversations))
        .enumerate()
    {
        let topic = format!("chat:{}", bench.identities.create_group(group).await?);
        let progress = Arc::new(Progress::default());
        progress.sending.store(group.len(), Ordering::Relaxed);
        let first = members.len();
        let joining = group.iter().enumerate().map(|(at, person)| {
            Member::join(bench, first + at, person, conversation, &topic, &progress)
        });
        members.extend(try_join_all(joining).await?);
    }
    Ok(members)
}

struct Member {
    socket: Socket,
    topic: String,
    progress: Arc<Progress>,
    record: Record,
    /// The message whose acknowledgement is awaited, and when it was sent.
    pending: Option<(Ref, Instant)>,
}

impl Member {
    async fn join(
        bench: &Bench,
        number: usize,
        person: &Identity,
        conversation: usize,
        topic: &str,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let source = bench.target.source(number);
        let mut socket = Socket::connect(&bench.target, source, &person.token).await?;
        socket.join(topic, json!({})).await?;
        let record = Record {
            conversation,
            acknowledged: Vec::new(),
            heard: Vec::new(),
            latencies: super::latencies()?,
        };
        Ok(Self {
            socket,
            topic: topic.to_owned(),
            progress: Arc::clone(progress),
            record,
            pending: None,
        })
    }

    async fn run(mut self, end: Instant, body: String) -> anyhow::Result<Record> {
        while Instant::now() < end {
            self.send(&body).await?;
            while self.pending.is_some() {
                self.take_next().await?;
            }
        }
        self.progress.sending.fetch_sub(1, Ordering::AcqRel);
        self.drain().await?;
        Ok(self.record)
    }

    async fn send(&mut self, body: &str) -> anyhow::Result<()> {
        let client_id = self.record.acknowledged.len().to_string();
        let payload = json!({"client_id": client_id, "type": "text", "content": body});
        let start = Instant::now();
        let msg_ref = self
            .socket
            .push(&self.topic, "message:send", Payload::from(payload))
            .await?;
        self.pending = Some((msg_ref, start));
        Ok(())
    }

    async fn take_next(&mut self) -> anyhow::Result<()> {
        let message = self.socket.receive().await?;
        self.take(&message)
    }

    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        match message.event.as_str() {
            Some("message:new") => {
                let sequenced: Sequenced = message.payload.parse()?;
                self.record.heard.push(sequenced.seq);
            }
            Some("phx_reply") => self.take_reply(message)?,
            Some("phx_error" | "phx_close") => anyhow::bail!("the channel ended: {message:?}"),
            _ => {}
        }
        Ok(())
    }

    fn take_reply(&mut self, message: &Message) -> anyhow::Result<()> {
        let Some((_, start)) = self.pending.take_if(|(sent, _)| *sent == message.msg_ref) else {
            return Ok(());
        };
        let stored: Sequenced = serde_json::from_value(accept(message)?)?;
        super::record(&mut self.record.latencies, start.elapsed());
        self.record.acknowledged.push(stored.seq);
        self.progress.acknowledged.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Reads until everything that anybody sent has been heard.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + DRAIN;
        while !self.has_heard_all() {
            let (heard, sent) = (
                self.record.heard.len(),
                self.progress.acknowledged.load(Ordering::Acquire),
            );
            ensure!(
                Instant::now() < end,
                "{} heard {heard} of {sent} messages",
                self.topic
            );
            // Others may still send: look again from time to time.
            let wait = tokio::time::timeout(Duration::from_millis(20), self.take_next());
            if let Ok(taken) = wait.await {
                taken?;
            }
        }
        Ok(())
    }

    fn has_heard_all(&self) -> bool {
        self.progress.sending.load(Ordering::Acquire) == 0
            && self.record.heard.len() >= self.progress.acknowledged.load(Ordering::Acquire)
    }
}

/// Every member heard exactly the acknowledged messages, in the order of the log. Returns how
/// many there are.
fn check(records: &[Record], conversations: usize) -> anyhow::Result<u64> {
    let mut logs = vec![Vec::new(); conversations];
    for record in records {
        logs[record.conversation].extend_from_slice(&record.acknowledged);
    }
    for log in &mut logs {
        log.sort_unstable();
        ensure!(
            log.is_sorted_by(|a, b| a < b),
            "two messages were given the same seq"
        );
    }
    for record in records {
        compare(&record.heard, &logs[record.conversation])
            .with_context(|| format!("conversation {}", record.conversation))?;
    }
    Ok(logs.iter().map(|log| log.len() as u64).sum())
}

fn compare(heard: &[u64], log: &[u64]) -> anyhow::Result<()> {
    if let Some(at) = heard.windows(2).position(|pair| pair[0] >= pair[1]) {
        anyhow::bail!("heard {} after {}", heard[at + 1], heard[at]);
    }
    let lost = log.iter().find(|seq| heard.binary_search(seq).is_err());
    ensure!(
        lost.is_none(),
        "message {lost:?} was acknowledged but not heard"
    );
    ensure!(
        heard.len() == log.len(),
        "heard {} messages of {}",
        heard.len(),
        log.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record(conversation: usize, acknowledged: &[u64], heard: &[u64]) -> Record {
        Record {
            conversation,
            acknowledged: acknowledged.to_vec(),
            heard: heard.to_vec(),
            latencies: super::super::latencies().unwrap(),
        }
    }

    #[test]
    fn what_was_acknowledged_was_heard_by_all() {
        let records = [
            record(0, &[2, 5], &[2, 4, 5]),
            record(0, &[4], &[2, 4, 5]),
            record(1, &[], &[]),
        ];
        assert_eq!(check(&records, 2).unwrap(), 3);
    }

    #[test]
    fn losses_repetitions_and_disorder_fail() {
        for (heard, error) in [
            (
                &[2, 5][..],
                "message Some(4) was acknowledged but not heard",
            ),
            (&[2, 4, 4, 5], "heard 4 after 4"),
            (&[2, 5, 4], "heard 4 after 5"),
            (&[2, 3, 4, 5], "heard 4 messages of 3"),
        ] {
            let records = [record(0, &[2, 4, 5], heard)];
            let found = check(&records, 1).unwrap_err();
            assert_eq!(found.root_cause().to_string(), error);
        }
        assert!(check(&[record(0, &[1, 1], &[1])], 1).is_err());
    }
}
