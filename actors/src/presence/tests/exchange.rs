//! Nodes that exchange presence: with losses, outages, ends and returns. Time is paused.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{BEAT, BOUND, Node, PERIOD, meta, plain, text, tracker};
use crate::{fanout::ConnectionId, gossip_kit::Wire};

impl Node {
    /// Person `who` enters by the connection of that number.
    fn enters(&self, who: u64) {
        let (topic, key) = (text("room"), text(&who.to_string()));
        let meta = meta(json!({ "n": who }));
        self.presence
            .track(tracker(who, 0), &topic, &key, meta)
            .unwrap();
    }

    fn leaves(&self, who: u64) {
        self.presence.untrack_connection(ConnectionId(who));
    }

    fn sees(&self) -> Value {
        plain(&self.presence.list("room"))
    }

    /// Until it sees exactly these; how long that took.
    async fn comes_to_see(&self, who: &[u64]) -> Duration {
        let mut wanted = json!({});
        for who in who {
            wanted[who.to_string()] = json!([{ "n": who }]);
        }
        let began = Instant::now();
        while self.sees() != wanted {
            let waited = began.elapsed();
            assert!(
                waited < Duration::from_secs(30),
                "{} not {wanted}",
                self.sees()
            );
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

/// Two that know each other.
async fn two(wire: &Wire) -> (Node, Node) {
    let (a, b) = (Node::on(wire, 1), Node::on(wire, 2));
    a.enters(1);
    b.enters(2);
    a.comes_to_see(&[1, 2]).await;
    b.comes_to_see(&[1, 2]).await;
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_is_seen_elsewhere_within_a_period() {
    let (a, b) = two(&Wire::default()).await;
    a.enters(3);
    a.enters(4);
    a.leaves(4);
    assert!(b.comes_to_see(&[1, 2, 3]).await < PERIOD);
    a.leaves(1);
    b.enters(5);
    assert!(b.comes_to_see(&[2, 3, 5]).await < PERIOD);
    assert!(a.comes_to_see(&[2, 3, 5]).await < PERIOD);
}

/// A third reads what it has not heard, of all that happened before.
#[tokio::test(start_paused = true)]
async fn who_comes_late_sees_everybody_at_once() {
    let wire = Wire::default();
    let (a, _b) = two(&wire).await;
    for who in 10..40 {
        a.enters(who);
    }
    a.leaves(1);
    sleep(PERIOD).await;
    let late = Node::on(&wire, 3);
    let all: Vec<u64> = [2].into_iter().chain(10..40).collect();
    assert!(late.comes_to_see(&all).await < PERIOD);
}

#[tokio::test(start_paused = true)]
async fn lost_news_is_found_out_by_the_next_beat() {
    let (a, b) = two(&Wire::default()).await;
    a.end.lose(true);
    a.enters(3);
    sleep(PERIOD).await;
    assert_eq!(b.sees(), json!({ "1": [{ "n": 1 }], "2": [{ "n": 2 }] }));
    a.end.lose(false);
    assert!(b.comes_to_see(&[1, 2, 3]).await < BEAT);
}

#[tokio::test(start_paused = true)]
async fn an_ended_node_leaves_at_once_and_a_silent_one_within_ten_seconds() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    let c = Node::on(&wire, 3);
    c.enters(3);
    a.comes_to_see(&[1, 2, 3]).await;
    c.tree.stop().await;
    assert!(a.comes_to_see(&[1, 2]).await < PERIOD);
    b.end.cut(true);
    assert!(a.comes_to_see(&[1]).await < BOUND);
}

/// Without what they share each shows its own people; afterwards all of them again, whether what
/// was kept is still there or not.
#[tokio::test(start_paused = true)]
async fn after_an_outage_everybody_is_seen_again() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    for who in [3, 4] {
        a.end.cut(true);
        b.end.cut(true);
        assert!(a.comes_to_see(&own(&[1], who, 3)).await < BOUND);
        a.enters(who);
        wire.forget();
        a.end.cut(false);
        b.end.cut(false);
        let all: Vec<u64> = [1, 2].into_iter().chain(3..=who).collect();
        assert!(b.comes_to_see(&all).await < BEAT + PERIOD);
        assert!(a.comes_to_see(&all).await < BEAT + PERIOD);
    }
}

/// What `a` has of its own before person `who` comes.
fn own(base: &[u64], who: u64, first: u64) -> Vec<u64> {
    base.iter().copied().chain(first..who).collect()
}

/// Only what was kept is lost: it is written again, and nobody leaves meanwhile.
#[tokio::test(start_paused = true)]
async fn what_was_kept_and_is_lost_is_written_again() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    wire.forget();
    sleep(BEAT + PERIOD).await;
    assert_eq!(b.sees(), a.sees());
    let late = Node::on(&wire, 3);
    assert!(late.comes_to_see(&[1, 2]).await < PERIOD);
    a.enters(3);
    assert!(b.comes_to_see(&[1, 2, 3]).await < PERIOD);
}

/// Ten thousand people come at once: more than is remembered for those that lag.
#[tokio::test(start_paused = true)]
async fn ten_thousand_people_are_seen() {
    let (a, b) = two(&Wire::default()).await;
    let topic: Vec<Arc<str>> = (0..64).map(|n| text(&format!("room-{n}"))).collect();
    for who in 0..10_000 {
        let (topic, key) = (&topic[(who % 64) as usize], text(&who.to_string()));
        let shown = a
            .presence
            .track(tracker(100 + who, 0), topic, &key, meta(json!({})));
        shown.unwrap();
    }
    let began = Instant::now();
    let seen = || {
        topic
            .iter()
            .map(|topic| b.presence.counts(topic).keys)
            .sum::<usize>()
    };
    while seen() < 10_000 {
        assert!(began.elapsed() < BEAT, "{}", seen());
        sleep(Duration::from_millis(10)).await;
    }
}
