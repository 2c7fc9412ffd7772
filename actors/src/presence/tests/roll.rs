//! Nodes that tell each other who is connected to them, with losses, outages and ends. Time is
//! paused.

use std::time::Duration;

use quikapp_storage::{Person, UserId, WorkspaceId};
use tokio::time::{Instant, sleep};

use super::{BEAT, BOUND, Node, PERIOD};
use crate::gossip_kit::Wire;

fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: UserId::new(name).unwrap(),
    }
}

impl Node {
    fn says(&self, name: &str, record: Option<&str>) {
        self.presence.say_connected(&person(name), record);
    }

    fn hears_of(&self, name: &str) -> Vec<String> {
        let heard = self.presence.connected_elsewhere(&person(name)).into_iter();
        let mut heard: Vec<_> = heard.map(String::from).collect();
        heard.sort();
        heard
    }

    /// Until exactly this is heard of somebody; how long that took.
    async fn comes_to_hear(&self, name: &str, wanted: &[&str]) -> Duration {
        let began = Instant::now();
        while self.hears_of(name) != wanted {
            let (waited, heard) = (began.elapsed(), self.hears_of(name));
            assert!(waited < 3 * BOUND, "{name}: {heard:?}, not {wanted:?}");
            sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

/// Two that know each other.
async fn two(wire: &Wire) -> (Node, Node) {
    let (a, b) = (Node::on(wire, 1), Node::on(wire, 2));
    a.says("ann", Some("o"));
    b.says("bob", Some("o"));
    a.comes_to_hear("bob", &["o"]).await;
    b.comes_to_hear("ann", &["o"]).await;
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn who_comes_changes_and_goes_is_known_elsewhere_within_a_period() {
    let (a, b) = two(&Wire::default()).await;
    a.says("cem", Some("o"));
    assert!(b.comes_to_hear("cem", &["o"]).await < PERIOD);
    a.says("cem", Some("i\u{1f}phone"));
    assert!(b.comes_to_hear("cem", &["i\u{1f}phone"]).await < PERIOD);
    a.says("cem", None);
    assert!(b.comes_to_hear("cem", &[]).await < PERIOD);
    assert!(a.hears_of("ann").is_empty(), "its own it knows anyway");
    // Nobody can join a topic that shows it.
    assert_eq!(b.presence.counts("").keys, 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_to_several_is_known_of_each() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    let late = Node::on(&wire, 3);
    a.says("cem", Some("o\u{1f}phone"));
    b.says("cem", Some("o\u{1f}laptop"));
    let both = ["o\u{1f}laptop", "o\u{1f}phone"];
    assert!(late.comes_to_hear("cem", &both).await < PERIOD);
    a.says("cem", None);
    assert!(late.comes_to_hear("cem", &both[..1]).await < PERIOD);
}

#[tokio::test(start_paused = true)]
async fn lost_news_is_found_out_by_the_next_beat() {
    let (a, b) = two(&Wire::default()).await;
    a.end.lose(true);
    a.says("cem", Some("o"));
    a.says("ann", None);
    sleep(PERIOD).await;
    assert!(b.hears_of("cem").is_empty());
    a.end.lose(false);
    assert!(b.comes_to_hear("cem", &["o"]).await < BEAT);
    assert!(b.comes_to_hear("ann", &[]).await < PERIOD);
}

#[tokio::test(start_paused = true)]
async fn the_people_of_an_ended_node_are_forgotten_at_once_and_of_a_silent_one_within_ten_seconds()
{
    let (a, b) = two(&Wire::default()).await;
    b.end.cut(true);
    assert!(a.comes_to_hear("bob", &[]).await < BOUND);
    b.end.cut(false);
    assert!(a.comes_to_hear("bob", &["o"]).await < BEAT + PERIOD);
    b.tree.stop().await;
    assert!(a.comes_to_hear("bob", &[]).await < PERIOD);
}

/// Whatever happened meanwhile, and whether what was kept is still there or not.
#[tokio::test(start_paused = true)]
async fn after_an_outage_everybody_is_known_again() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    a.end.cut(true);
    b.end.cut(true);
    assert!(b.comes_to_hear("ann", &[]).await < BOUND);
    a.says("ann", None);
    a.says("cem", Some("o"));
    wire.forget();
    a.end.cut(false);
    b.end.cut(false);
    assert!(b.comes_to_hear("cem", &["o"]).await < BEAT + PERIOD);
    assert!(a.comes_to_hear("bob", &["o"]).await < BEAT + PERIOD);
    assert!(b.hears_of("ann").is_empty());
}

/// More than is remembered for those that lag.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_people_are_known() {
    let (a, b) = two(&Wire::default()).await;
    for who in 0..100_000 {
        a.says(&who.to_string(), Some("o"));
    }
    assert!(b.comes_to_hear("0", &["o"]).await < BEAT);
    let began = Instant::now();
    let is_unknown = |who: &u32| b.hears_of(&who.to_string()).is_empty();
    while (0..100_000).any(|who| is_unknown(&who)) {
        assert!(began.elapsed() < BEAT);
        sleep(Duration::from_millis(10)).await;
    }
}

/// Only of one's own people, and each time once.
#[tokio::test(start_paused = true)]
async fn whoever_others_may_know_better_is_doubtful() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    let doubtful = async || {
        let mut doubtful = b.presence.doubtful().await;
        doubtful.sort();
        doubtful
    };
    let cem = [person("cem")];
    a.says("cem", Some("i\u{1f}phone"));
    b.comes_to_hear("cem", &["i\u{1f}phone"]).await;
    b.says("cem", Some("o\u{1f}laptop"));
    assert_eq!(doubtful().await, cem, "was said before they came");
    b.says("cem", Some("i\u{1f}laptop"));
    a.says("dan", Some("o"));
    // Only the devices are others: no doubt.
    a.says("cem", Some("i"));
    b.comes_to_hear("cem", &["i"]).await;
    a.says("cem", Some("d"));
    assert_eq!(doubtful().await, cem);
    a.says("cem", None);
    assert_eq!(doubtful().await, cem, "nothing is said any more");
    // What was said for a moment only, beside a third who says what is said here.
    let c = Node::on(&wire, 3);
    c.says("cem", Some("i"));
    b.comes_to_hear("cem", &["i"]).await;
    a.says("cem", Some("d"));
    a.says("cem", None);
    assert_eq!(doubtful().await, cem);
    // From where they are not connected.
    a.presence.unsettle(&cem[0]);
    assert_eq!(doubtful().await, cem);
    b.presence.unsettle(&cem[0]);
    assert_eq!(doubtful().await, cem);

    c.tree.stop().await;
    assert_eq!(doubtful().await, cem, "a node is gone");
    let more = tokio::time::timeout(3 * BEAT, doubtful()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_hole_everybody_is_doubtful() {
    let wire = Wire::default();
    let (a, b) = two(&wire).await;
    b.says("cem", Some("o"));
    a.comes_to_hear("cem", &["o"]).await;
    a.end.lose(true);
    a.says("cem", Some("i"));
    a.says("cem", None);
    // Something that is to be heard, in the same shard: what was lost is in no record.
    for who in 0..5_000 {
        a.says(&who.to_string(), Some("o"));
    }
    sleep(PERIOD).await;
    a.end.lose(false);
    b.comes_to_hear("0", &["o"]).await;
    let began = Instant::now();
    while !b.presence.doubtful().await.contains(&person("cem")) {
        assert!(began.elapsed() < BOUND);
    }
}
