//! What nodes tell each other, and what they keep for who has not heard it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Pipeline;
use tokio::sync::mpsc;

use super::{
    Names,
    follower::Follower,
    link::{Link, Trouble},
};
use crate::{Advance, Channel, Gossip, Kept, NotShared, Snapshots};

/// What a replica keeps leaves by itself, unless it is renewed.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The field of a replica's hash that holds its clock; the others are clocks, in decimal.
const CLOCK: &str = "clock";

/// Fields that are written by one command.
const CHUNK: usize = 512;

/// Applies a step and tells it, if what is kept is at its beginning: a step over a hole would be
/// read as if nothing were missing.
///
/// `KEYS[1]`: the replica's hash; `ARGV`: from, to, milliseconds to keep it, channel, frame, how
/// many fields go, those fields, then fields and values that come.
const ADVANCE: &str = "
if redis.call('HGET', KEYS[1], 'clock') ~= ARGV[1] then return 0 end
local added = 7 + ARGV[6]
for i = 7, added - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = added, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'clock', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1";

/// See [`Gossip`] and [`Snapshots`]. It has connections of its own, so that nobody waits behind a
/// snapshot, and a snapshot not behind broadcasts.
pub(super) struct RedisGossip {
    pub(super) names: Names,
    pub(super) link: Link,
    pub(super) follower: Follower,
    pub(super) broadcasts: (Link, Follower),
}

#[async_trait]
impl Gossip for RedisGossip {
    async fn tell(&self, channel: Channel, frame: Bytes) -> Result<(), NotShared> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.names.channel(channel)).arg(&frame[..]);
        let _heard_by: u64 = self.way(channel).0.ask(&publish).await?;
        Ok(())
    }

    fn hear(&self, channel: Channel) -> mpsc::Receiver<Bytes> {
        self.way(channel).1.hear(channel)
    }
}

#[async_trait]
impl Snapshots for RedisGossip {
    async fn advance(&self, steps: Vec<Advance>) -> Result<Vec<bool>, NotShared> {
        let mut all = Pipeline::with_capacity(steps.len());
        for step in &steps {
            self.advance_one(&mut all, step);
        }
        Ok(self.link.ask(&all).await?)
    }

    async fn replace(&self, replica: u64, all: Kept) -> Result<(), NotShared> {
        let key = self.names.kept(replica);
        let mut write = redis::pipe();
        write.atomic().del(&key).ignore();
        for chunk in all.records.chunks(CHUNK) {
            let command = write.cmd("HSET").arg(&key);
            for (at, record) in chunk {
                command.arg(at).arg(&record[..]);
            }
            command.ignore();
        }
        write.hset(&key, CLOCK, all.clock).ignore();
        write.cmd("PEXPIRE").arg(&key).arg(kept_for_ms()).ignore();
        Ok(self.link.ask(&write).await?)
    }

    async fn read(&self, replica: u64) -> Result<Option<Kept>, NotShared> {
        let mut read = redis::cmd("HGETALL");
        read.arg(self.names.kept(replica));
        let fields: Vec<(Vec<u8>, Vec<u8>)> = self.link.ask(&read).await?;
        Ok(kept(fields))
    }

    async fn renew(&self, replicas: &[u64]) -> Result<Vec<bool>, NotShared> {
        let mut all = Pipeline::with_capacity(replicas.len());
        for replica in replicas {
            let key = self.names.kept(*replica);
            all.cmd("PEXPIRE").arg(key).arg(kept_for_ms());
        }
        Ok(self.link.ask(&all).await?)
    }
}

impl RedisGossip {
    fn way(&self, channel: Channel) -> (&Link, &Follower) {
        match channel {
            Channel::Presence | Channel::Typing => (&self.link, &self.follower),
            Channel::Broadcast => (&self.broadcasts.0, &self.broadcasts.1),
        }
    }

    fn advance_one(&self, all: &mut Pipeline, step: &Advance) {
        let command = all.cmd("EVAL").arg(ADVANCE).arg(1);
        command.arg(self.names.kept(step.replica));
        command.arg(step.from).arg(step.to).arg(kept_for_ms());
        command
            .arg(self.names.channel(Channel::Presence))
            .arg(&step.frame[..]);
        command.arg(step.removed.len()).arg(&step.removed);
        for (at, record) in &step.added {
            command.arg(at).arg(&record[..]);
        }
    }
}

pub(super) fn kept_for_ms() -> u64 {
    u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing without a clock: it has expired, or was never there.
fn kept(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Kept> {
    let mut clock = None;
    let mut records = Vec::with_capacity(fields.len());
    for (field, value) in fields {
        let field = String::from_utf8(field).ok()?;
        match field.parse() {
            Ok(at) => records.push((at, Bytes::from(value))),
            Err(_) if field == CLOCK => clock = String::from_utf8(value).ok()?.parse().ok(),
            Err(_) => return None,
        }
    }
    records.sort_unstable_by_key(|(at, _)| *at);
    Some(Kept {
        clock: clock?,
        records,
    })
}

impl From<Trouble> for NotShared {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.to_string())
    }
}

impl std::fmt::Debug for RedisGossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisGossip").finish_non_exhaustive()
    }
}
