//! A wall clock that jumps by an hour, forth and back.

use tempfile::tempdir;

use super::sized;
use crate::support::{JumpingClock, Load, Plan};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_clock_jumps() {
    let dir = tempdir().unwrap();
    let clock = JumpingClock::prepare(dir.path());
    // Tokens must not come from the future, whatever the time is later.
    clock.is_off_by_ms(-HOUR_MS);
    let server = clock.start(dir.path()).await;
    let plan = Plan {
        lifetime: (20, 100),
        ..Plan::new("clock jumps")
    };
    let load = Load::start(plan, dir.path(), &[&server]).await;
    for _ in 0..sized(1, 8) {
        for offset in [0, HOUR_MS, -HOUR_MS, HOUR_MS, 0] {
            load.acknowledges(40).await;
            load.fault(&format!("the clock is off by {offset} ms"));
            clock.is_off_by_ms(offset);
        }
    }
    load.acknowledges(40).await;
    load.passes(&server).await;
}
