//! Topics of calls.

use super::*;

#[tokio::test]
async fn calls_and_huddles_are_refused_by_name() {
    let world = World::start().await;
    let mut ann = world.socket("ann").await;
    for topic in [
        "webrtc:lobby",
        "webrtc:019f0000-0000-7000-8000-000000000000",
        "call:1",
        "huddle:lobby",
        "huddle:1",
    ] {
        let refused = ann.join(topic, nothing()).await;
        assert_eq!(refused.reason(), "not_supported", "{topic}");
        let pushed = ann.push(topic, "call:initiate", nothing()).await;
        assert_eq!(pushed.reason(), "unmatched topic", "{topic}");
    }
}
