//! How often one address may connect. Pure: time is handed in.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

/// Addresses remembered at a time. Beyond it, those that are not limited at the moment go first.
const MAX_ADDRESSES: usize = 64 * 1024;

/// A token bucket per address: a minute's worth may come at once, and is earned back evenly.
#[derive(Debug)]
pub(super) struct ConnectRate {
    per_minute: u32,
    buckets: HashMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl ConnectRate {
    /// 0 is without limit.
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            buckets: HashMap::new(),
        }
    }

    /// Takes one connect, or says how long to wait for the next. This machine itself is not
    /// limited.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = network_of(address);
        if self.per_minute == 0 || address.is_loopback() {
            return Ok(());
        }
        self.make_room(now);
        let full = f64::from(self.per_minute);
        let per_second = full / 60.0;
        let bucket = self.buckets.entry(address).or_insert(Bucket {
            left: full,
            at: now,
        });
        let earned = now.duration_since(bucket.at).as_secs_f64() * per_second;
        bucket.left = (bucket.left + earned).min(full);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn make_room(&mut self, now: Instant) {
        if self.buckets.len() < MAX_ADDRESSES {
            return;
        }
        let refilled = Duration::from_secs(60);
        self.buckets
            .retain(|_, bucket| now.duration_since(bucket.at) < refilled);
        if self.buckets.len() >= MAX_ADDRESSES {
            self.buckets.clear();
        }
    }
}

/// One subscriber line of IPv6 has a /64; an IPv4 address in IPv6 form is that address.
fn network_of(address: IpAddr) -> IpAddr {
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

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_is_earned_back_evenly() {
        let start = Instant::now();
        let mut rate = ConnectRate::new(6);
        for _ in 0..6 {
            assert_eq!(rate.admit(ip("192.0.2.1"), start), Ok(()));
        }
        let wait = rate.admit(ip("192.0.2.1"), start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
        assert_eq!(
            rate.admit(ip("192.0.2.2"), start),
            Ok(()),
            "others are not touched"
        );
        assert!(rate.admit(ip("192.0.2.1"), start + wait / 2).is_err());
        assert_eq!(rate.admit(ip("192.0.2.1"), start + wait), Ok(()));
    }

    #[test]
    fn ipv6_counts_by_network_and_mapped_ipv4_as_itself() {
        let now = Instant::now();
        let mut rate = ConnectRate::new(1);
        assert_eq!(rate.admit(ip("2001:db8::1"), now), Ok(()));
        assert!(rate.admit(ip("2001:db8::ffff:1"), now).is_err());
        assert_eq!(rate.admit(ip("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(rate.admit(ip("192.0.2.1"), now), Ok(()));
        assert!(rate.admit(ip("::ffff:192.0.2.1"), now).is_err());
    }

    #[test]
    fn loopback_and_zero_are_without_limit() {
        let now = Instant::now();
        let mut one = ConnectRate::new(1);
        let mut unlimited = ConnectRate::new(0);
        for _ in 0..100 {
            assert_eq!(one.admit(ip("127.0.0.1"), now), Ok(()));
            assert_eq!(one.admit(ip("::1"), now), Ok(()));
            assert_eq!(unlimited.admit(ip("192.0.2.1"), now), Ok(()));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let mut rate = ConnectRate::new(1);
        for n in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            let _ = rate.admit(IpAddr::from((0x0b00_0000 + n).to_be_bytes()), now);
        }
        assert!(rate.buckets.len() <= MAX_ADDRESSES);
    }
}
