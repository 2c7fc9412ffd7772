//! A token bucket.

use std::time::Duration;

use tokio::time::Instant;

/// Lets a burst through, and then a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    tokens: f32,
    filled_at: Instant,
}

impl Bucket {
    /// Full.
    pub(crate) fn new(burst: f32, now: Instant) -> Self {
        Self {
            tokens: burst,
            filled_at: now,
        }
    }

    /// Takes one token, or says how long it takes until there is one.
    pub(crate) fn take(
        &mut self,
        per_second: f32,
        burst: f32,
        now: Instant,
    ) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.tokens = (self.tokens + elapsed.as_secs_f32() * per_second).min(burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / per_second.max(f32::EPSILON);
        Err(Duration::from_secs_f32(missing.min(3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_then_the_rate() {
        let mut bucket = Bucket::new(3.0, Instant::now());
        let mut take = || bucket.take(2.0, 3.0, Instant::now());
        assert_eq!([take(), take(), take()], [Ok(()); 3]);
        assert_eq!(take(), Err(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(take(), Ok(()));
        assert!(take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_fills_no_more_than_the_burst() {
        let mut bucket = Bucket::new(2.0, Instant::now());
        tokio::time::advance(Duration::from_secs(1000)).await;
        let taken = (0..10).filter(|_| bucket.take(5.0, 2.0, Instant::now()).is_ok());
        assert_eq!(taken.count(), 2);
    }
}
