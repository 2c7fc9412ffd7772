//! What is said of consumers that are behind.

use std::sync::atomic::Ordering;

use super::kit::{Kit, text};
use crate::metrics_kit::Metrics;

/// The gauges tell how far a consumer is behind while it hangs, and not only once it goes on.
#[tokio::test]
async fn the_gauges_rise_while_a_consumer_hangs() {
    let metrics = Metrics::new();
    let _collecting = metrics.collecting();
    let (kit, hangs) = Kit::with_a_consumer_that_hangs().await;
    let gauge = |name: &str, consumer: &str| {
        kit.delivery.record();
        metrics.value(&format!("{name}{{consumer=\"{consumer}\"}}"))
    };
    let behind = |consumer| gauge("quikapp_projection_behind", consumer);
    let lag = || gauge("quikapp_projection_lag_seconds", "feed:hanging").unwrap_or_default();
    for _ in 0..3 {
        let id = kit.group(&["ann", "bob"]).await;
        kit.send("ann", &id, text("x")).await;
    }
    kit.eventually("the others have seen them", async || {
        behind("queue") == Some(0.0) && behind("threads") == Some(0.0)
    })
    .await;
    let before = lag();
    kit.eventually("it is behind, and more and more", async || {
        behind("feed:hanging") >= Some(3.0) && lag() > before + 0.05
    })
    .await;
    hangs.store(false, Ordering::SeqCst);
    kit.eventually("it has caught up", async || {
        behind("feed:hanging") == Some(0.0) && lag() == 0.0
    })
    .await;
    kit.stop().await;
}
