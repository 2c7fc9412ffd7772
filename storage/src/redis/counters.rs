//! Rates that count over all nodes.

use std::time::Duration;

use async_trait::async_trait;

use super::{Names, link::Link};
use crate::{Rate, SharedCounters};

/// The generic cell rate algorithm (ATM Forum, Traffic Management 4.0, appendix): a token bucket
/// of which only one moment is kept, the one at which it will be full again. By the clock of
/// Redis, in microseconds, so that the clocks of nodes do not matter. A bucket that is full has no
/// key, so there are never more keys than were asked for within one period.
///
/// `KEYS[1]`: the bucket; `ARGV`: microseconds that one costs, and that a whole burst costs.
/// Returns 0, or for how many microseconds to wait.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1]
local wait = full - ARGV[2] - now
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0";

/// See [`SharedCounters`].
#[derive(Debug)]
pub(super) struct RedisCounters {
    pub(super) link: Link,
    pub(super) names: Names,
}

#[async_trait]
impl SharedCounters for RedisCounters {
    async fn admit(&self, key: &str, rate: Rate) -> Option<Result<(), Duration>> {
        let burst = rate.period.as_micros();
        let one = burst / u128::from(rate.burst.max(1));
        let mut take = redis::cmd("EVAL");
        take.arg(TAKE).arg(1).arg(self.names.rate(key));
        take.arg(clamp(one)).arg(clamp(burst));
        match self.link.ask::<u64>(&take).await {
            Ok(0) => Some(Ok(())),
            Ok(wait) => Some(Err(Duration::from_micros(wait))),
            Err(_) => None,
        }
    }
}

fn clamp(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}
