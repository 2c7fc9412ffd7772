//! The task that keeps, tells and beats. It starts anew after a failure and then writes everything
//! once more.

use std::sync::Arc;

use quikapp_storage::{Channel, NotShared};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{BEAT, Exchange, Frame, PERIOD, ReplicaId, records};
use crate::presence::{Delta, Message, Snapshot};

pub(super) struct Speaker {
    exchange: Arc<Exchange>,
    replicas: Vec<ReplicaId>,
    /// Up to where each shard is kept; `None` when that is not known.
    kept: Vec<Option<u64>>,
    beat_at: Instant,
}

impl Speaker {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        let replicas = exchange.presence.replicas();
        Self {
            kept: vec![None; replicas.len()],
            replicas,
            beat_at: Instant::now(),
            exchange,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
                () = self.exchange.greet.notified() => self.beat_at = Instant::now(),
            }
            if let Err(error) = self.speak().await {
                tracing::debug!(%error, "presence is not told");
            }
        }
        // Whoever does not hear it finds out by the silence.
        let _ = self.tell(&Frame::Gone(self.exchange.node)).await;
    }

    async fn speak(&mut self) -> Result<(), NotShared> {
        let is_alone = self.exchange.peers.lock().is_empty();
        match is_alone {
            // Nobody reads, and what was kept may have gone.
            true => self.kept.fill(None),
            false => self.tell_news().await?,
        }
        if Instant::now() >= self.beat_at {
            self.beat_at = Instant::now() + BEAT;
            self.renew().await?;
            self.beat().await?;
        }
        Ok(())
    }

    async fn tell_news(&mut self) -> Result<(), NotShared> {
        let news = self.exchange.presence.own_since(&self.kept);
        let (mut deltas, mut all) = (Vec::new(), Vec::new());
        for (shard, message) in news.into_iter().enumerate() {
            match message {
                Some(Message::Delta(delta)) => deltas.push((shard, delta)),
                Some(Message::Snapshot(snapshot)) => all.push((shard, snapshot)),
                _ => {}
            }
        }
        self.advance(deltas).await?;
        for (shard, snapshot) in all {
            self.replace(shard, &snapshot).await?;
            // The others find out by the clocks.
            self.beat_at = Instant::now();
        }
        Ok(())
    }

    async fn advance(&mut self, deltas: Vec<(usize, Delta)>) -> Result<(), NotShared> {
        let (mut shards, mut steps) = (Vec::new(), Vec::new());
        for (shard, delta) in deltas {
            // Until it is known to have worked.
            self.kept[shard] = None;
            shards.push((shard, delta.to));
            steps.push(records::advance(delta).map_err(unwritable)?);
        }
        if steps.is_empty() {
            return Ok(());
        }
        let done = self.exchange.snapshots.advance(steps).await?;
        for ((shard, to), done) in shards.into_iter().zip(done) {
            self.kept[shard] = done.then_some(to);
        }
        Ok(())
    }

    async fn replace(&mut self, shard: usize, snapshot: &Snapshot) -> Result<(), NotShared> {
        self.kept[shard] = None;
        let all = records::keep(snapshot).map_err(unwritable)?;
        let snapshots = &self.exchange.snapshots;
        snapshots.replace(snapshot.replica.0, all).await?;
        self.kept[shard] = Some(snapshot.clock);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), NotShared> {
        let kept = (0..self.kept.len()).filter(|shard| self.kept[*shard].is_some());
        let kept: Vec<usize> = kept.collect();
        if kept.is_empty() {
            return Ok(());
        }
        let replicas: Vec<u64> = kept.iter().map(|shard| self.replicas[*shard].0).collect();
        let was_there = self.exchange.snapshots.renew(&replicas).await?;
        for (shard, was_there) in kept.into_iter().zip(was_there) {
            if !was_there {
                self.kept[shard] = None;
            }
        }
        Ok(())
    }

    async fn beat(&self) -> Result<(), NotShared> {
        let kept = self.replicas.iter().zip(&self.kept);
        let clocks = kept.filter_map(|(replica, clock)| Some((*replica, (*clock)?)));
        self.tell(&Frame::Beat {
            node: self.exchange.node,
            clocks: clocks.collect(),
        })
        .await
    }

    async fn tell(&self, frame: &Frame) -> Result<(), NotShared> {
        let frame = records::write(frame).map_err(unwritable)?;
        self.exchange.gossip.tell(Channel::Presence, frame).await
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn unwritable(error: serde_json::Error) -> NotShared {
    NotShared(error.to_string())
}
