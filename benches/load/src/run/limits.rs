//! How long a run may take, and what has to last as long.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::{clock::unix_seconds, plan::Settings};

/// The least that signed tokens live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Time to make people and rooms, in the life of their tokens.
const PREPARATION: Duration = Duration::from_secs(600);

/// How long all sockets may take to connect.
pub(super) fn time_to_connect(run: &Settings, sockets: usize) -> Duration {
    let ramp = run.connect_rate.as_ref().and_then(|rate| {
        // When the stages end, the rest connects at once.
        rate.time_of(sockets as f64).or_else(|| rate.seconds())
    });
    let ramp = Duration::try_from_secs_f64(ramp.unwrap_or(0.0)).unwrap_or(Duration::MAX);
    ramp.saturating_add(Duration::from_secs(run.deadline))
}

/// How long signed tokens live.
pub(super) fn token_lifetime(run: &Settings, sockets: usize) -> Duration {
    longest(run, sockets, unix_seconds()).max(TOKEN_LIFETIME)
}

/// How long a run may take that begins now, with some time for making people and rooms.
fn longest(run: &Settings, sockets: usize, now: f64) -> Duration {
    let wait = run.start_at.map_or(0.0, |moment| (moment - now).max(0.0));
    let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
    let played = Duration::from_secs(run.deadline.saturating_add(run.patience.1));
    let connected = time_to_connect(run, sockets).saturating_add(PREPARATION);
    connected.saturating_add(wait).saturating_add(played)
}

/// What was done, if it was in time.
pub(super) async fn in_time(
    limit: Duration,
    done: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let done = timeout(limit, done).await;
    done.unwrap_or_else(|_| Err(anyhow::anyhow!("the deadline passed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunOptions;

    #[test]
    fn tokens_live_as_long_as_a_run_may_take() {
        let mut options = RunOptions {
            seconds: Some(7200.0),
            start_at: Some("1000".to_owned()),
            connect_rate: "10".parse().ok(),
            ..RunOptions::default()
        };
        let settled = |options: &RunOptions| Settings::complete(options, &[]);
        let run = settled(&options).expect("settings");
        let ramp = time_to_connect(&run, 6000);
        assert_eq!(ramp, Duration::from_secs(600 + run.deadline));
        let needed = ramp + Duration::from_secs(400 + run.deadline);
        assert!(run.deadline >= 7500 && longest(&run, 6000, 600.0) > needed);
        options.connect_rate = "10:1s".parse().ok();
        let run = settled(&options).expect("settings");
        let ramp = time_to_connect(&run, 6000);
        assert_eq!(ramp, Duration::from_secs(1 + run.deadline));
    }
}
