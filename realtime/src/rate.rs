//! How often somebody may do something: counted by each node, and over all nodes where they share
//! a count.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_storage::{Rate, SharedCounters};
use tokio::time::Instant;

/// How many are remembered at a time. Beyond it, those that are not limited at the moment go first.
const MAX_KEYS: usize = 64 * 1024;

/// A limit for each of many, over all nodes. While the shared count cannot be asked, each node's
/// own count decides; what that one refuses the shared one is not asked about.
#[derive(Debug)]
pub(crate) struct Limiter {
    name: &'static str,
    rate: Rate,
    own: Mutex<Buckets<String>>,
    shared: Option<Arc<dyn SharedCounters>>,
}

impl Limiter {
    /// At most `burst` at once, and as many again within a minute; 0 is without limit. Limits of
    /// one name are one limit over all nodes.
    pub(crate) fn per_minute(
        name: &'static str,
        burst: u32,
        shared: Option<Arc<dyn SharedCounters>>,
    ) -> Self {
        let period = Duration::from_secs(60);
        Self {
            name,
            rate: Rate { burst, period },
            own: Mutex::new(Buckets::new(burst, period)),
            shared,
        }
    }

    /// Takes one, or says how long to wait for the next.
    pub(crate) async fn admit(&self, key: String) -> Result<(), Duration> {
        let shared = self.shared.as_ref().filter(|_| self.rate.burst > 0);
        let shared = shared.map(|shared| (shared, format!("{}:{key}", self.name)));
        self.own.lock().admit(key, Instant::now())?;
        let Some((shared, key)) = shared else {
            return Ok(());
        };
        match shared.admit(&key, self.rate).await {
            Some(answer) => answer,
            None => {
                metrics::counter!("quikapp_rates_unshared_total").increment(1);
                Ok(())
            }
        }
    }
}

/// A token bucket for each of many: a burst may come at once, and is earned back evenly. Pure: time
/// is handed in.
#[derive(Debug)]
struct Buckets<K> {
    burst: f64,
    per_second: f64,
    buckets: HashMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    /// At most `burst` at once, and as many again over `period`. 0 is without limit.
    fn new(burst: u32, period: Duration) -> Self {
        Self {
            burst: f64::from(burst),
            per_second: f64::from(burst) / period.as_secs_f64(),
            buckets: HashMap::new(),
        }
    }

    /// Takes one, or says how long to wait for the next.
    fn admit(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.burst == 0.0 {
            return Ok(());
        }
        self.make_room(now);
        let full = Bucket {
            left: self.burst,
            at: now,
        };
        let bucket = self.buckets.entry(key).or_insert(full);
        let earned = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + earned).min(self.burst);
        bucket.at = now;
        if bucket.left < 1.0 {
            let wait = (1.0 - bucket.left) / self.per_second;
            return Err(Duration::from_secs_f64(wait));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn make_room(&mut self, now: Instant) {
        if self.buckets.len() < MAX_KEYS {
            return;
        }
        let refilled = self.burst / self.per_second;
        let is_limited = |bucket: &Bucket| now.duration_since(bucket.at).as_secs_f64() < refilled;
        self.buckets.retain(|_, bucket| is_limited(bucket));
        if self.buckets.len() >= MAX_KEYS {
            self.buckets.clear();
        }
    }
}

/// What counts as one client address: one subscriber line of IPv6 has a /64, and an IPv4 address
/// in IPv6 form is that address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_burst_may_come_at_once_and_is_earned_back_evenly() {
        let start = Instant::now();
        let mut rate = Buckets::new(6, MINUTE);
        for _ in 0..6 {
            assert_eq!(rate.admit("a", start), Ok(()));
        }
        let wait = rate.admit("a", start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
        assert_eq!(rate.admit("b", start), Ok(()), "others are not touched");
        assert!(rate.admit("a", start + wait / 2).is_err());
        assert_eq!(rate.admit("a", start + wait), Ok(()));
    }

    /// A shared count that answers the same to everybody, and counts how often it is asked.
    #[derive(Debug)]
    struct Answers(Option<Result<(), Duration>>, AtomicU32);

    #[async_trait]
    impl SharedCounters for Answers {
        async fn admit(&self, _: &str, _: Rate) -> Option<Result<(), Duration>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0
        }
    }

    /// How two requests of one key fare under a limit of `burst`, and how often the count was asked.
    async fn two(burst: u32, answer: Option<Result<(), Duration>>) -> ([bool; 2], u32) {
        let shared = Arc::new(Answers(answer, AtomicU32::new(0)));
        let limiter = Limiter::per_minute("test", burst, Some(shared.clone()));
        let first = limiter.admit("a".into()).await.is_ok();
        let second = limiter.admit("a".into()).await.is_ok();
        ([first, second], shared.1.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn the_shared_count_decides_and_without_it_each_nodes_own() {
        assert_eq!(two(2, Some(Err(MINUTE))).await, ([false, false], 2));
        assert_eq!(two(2, Some(Ok(()))).await, ([true, true], 2));
        assert_eq!(
            two(1, None).await,
            ([true, false], 1),
            "fails open, within bounds"
        );
        assert_eq!(
            two(1, Some(Ok(()))).await,
            ([true, false], 1),
            "floods stay here"
        );
        assert_eq!(
            two(0, Some(Err(MINUTE))).await,
            ([true, true], 0),
            "no limit"
        );
    }

    #[test]
    fn ipv6_counts_by_network_and_mapped_ipv4_as_itself() {
        let ip = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
        assert!(ip("::1").is_loopback());
    }

    #[test]
    fn zero_is_without_limit() {
        let mut rate = Buckets::new(0, MINUTE);
        let now = Instant::now();
        assert!((0..100).all(|_| rate.admit("a", now).is_ok()));
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut rate = Buckets::new(1, MINUTE);
        for key in 0..=MAX_KEYS {
            assert_eq!(rate.admit(key, now), Ok(()));
        }
        assert!(rate.buckets.len() <= MAX_KEYS);
    }
}
