//! The event feed: who reads it, how far they are, and how they begin again.

use std::collections::BTreeSet;

use quikapp_storage::ConversationId;

use super::kit::{Kit, START, eager, text};
use crate::{
    clock::ManualClock,
    delivery::{Config, Feed, FeedBatch, rebuild},
    metrics_kit::Metrics,
};

/// With a reader.
fn read() -> Config {
    Config {
        feeds: vec!["kafka".to_owned()],
        ..eager()
    }
}

fn feed(kit: &Kit) -> Feed {
    kit.delivery.feed("kafka").unwrap()
}

/// Conversations with so many entries each, in the order of their ids.
async fn talks(kit: &Kit, sizes: &[usize]) -> Vec<ConversationId> {
    let mut ids = BTreeSet::new();
    while ids.len() < sizes.len() {
        ids.insert(kit.group(&["ann"]).await);
    }
    let ids: Vec<_> = ids.into_iter().collect();
    for (id, size) in ids.iter().zip(sizes) {
        for nth in 0..*size {
            kit.send("ann", id, text(&nth.to_string())).await;
        }
    }
    ids
}

/// Which places of which of these conversations are in a batch.
fn places(batch: &FeedBatch, ids: &[ConversationId]) -> Vec<(usize, u64)> {
    let entries = batch.entries.iter();
    let places = entries.filter_map(|(id, entry)| {
        let nth = ids.iter().position(|it| it == id)?;
        Some((nth, entry.seq.0))
    });
    places.collect()
}

/// Pulls and commits until nothing is left.
async fn read_all(feed: &Feed, ids: &[ConversationId], limit: usize) -> Vec<(usize, u64)> {
    let mut seen = Vec::new();
    loop {
        let batch = feed.pull(limit).await.unwrap();
        if batch.entries.is_empty() {
            return seen;
        }
        seen.extend(places(&batch, ids));
        assert!(feed.commit(&batch).await.unwrap());
    }
}

/// A conversation in which somebody always says more does not keep the others from being read.
#[tokio::test]
async fn each_conversation_has_its_turn() {
    let kit = Kit::with(read(), Vec::new()).await;
    let ids = talks(&kit, &[4, 1, 1]).await;
    let feed = feed(&kit);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let batch = feed.pull(2).await.unwrap();
        seen.extend(places(&batch, &ids));
        feed.commit(&batch).await.unwrap();
        kit.send("ann", &ids[0], text("and")).await;
        kit.send("ann", &ids[0], text("another thing")).await;
    }
    assert!(seen.contains(&(1, 1)) && seen.contains(&(2, 1)), "{seen:?}");
    let of_first: Vec<_> = seen.iter().filter(|it| it.0 == 0).map(|it| it.1).collect();
    let in_order: Vec<_> = (1..).take(of_first.len()).collect();
    assert_eq!(of_first, in_order);
    kit.stop().await;
}

/// The gauges tell how far a reader is behind, whether it reads or not, and wherever it does.
#[tokio::test]
async fn the_gauges_tell_how_far_a_reader_is_behind() {
    let metrics = Metrics::new();
    let _collecting = metrics.collecting();
    let kit = Kit::with(read(), Vec::new()).await;
    let gauge = |kit: &Kit, name: &str| {
        kit.delivery.record();
        let series = format!("{name}{{consumer=\"feed:kafka\"}}");
        metrics.value(&series).unwrap_or_default()
    };
    let behind = |kit: &Kit| gauge(kit, "quikapp_projection_behind");
    let lag = |kit: &Kit| gauge(kit, "quikapp_projection_lag_seconds");
    let ids = talks(&kit, &[2, 2, 2]).await;
    kit.eventually("it is behind, and more and more", async || {
        behind(&kit) >= 3.0 && lag(&kit) > 0.05
    })
    .await;
    assert_eq!(read_all(&feed(&kit), &ids, 100).await.len(), 6);
    kit.eventually("it has read everything", async || {
        // People are told of conversations in their own.
        read_all(&feed(&kit), &[], 100).await;
        behind(&kit) == 0.0 && lag(&kit) == 0.0
    })
    .await;

    kit.send("ann", &ids[0], text("more")).await;
    assert!(behind(&kit) >= 1.0, "at once");
    let other = kit.next(read()).await;
    other
        .eventually("another process knows", async || behind(&other) >= 1.0)
        .await;
    assert_eq!(read_all(&feed(&other), &ids, 100).await, [(0, 3)]);
    kit.eventually("it was read elsewhere", async || behind(&kit) == 0.0)
        .await;
    other.stop().await;
    kit.stop().await;
}

/// A reader whose process dies goes on behind what it committed, and is given again what it did
/// not.
#[tokio::test]
async fn a_reader_goes_on_after_a_crash() {
    let kit = Kit::with(read(), Vec::new()).await;
    let ids = talks(&kit, &[3, 3]).await;
    let committed = feed(&kit).pull(2).await.unwrap();
    assert!(feed(&kit).commit(&committed).await.unwrap());
    let lost = feed(&kit).pull(2).await.unwrap();
    assert_eq!(lost.entries.len(), 2);
    // Nobody stops it in good order.
    let next = kit.next(read()).await;
    let mut seen = places(&committed, &ids);
    seen.extend(read_all(&feed(&next), &ids, 2).await);
    seen.sort_unstable();
    let all: Vec<_> = (0..2)
        .flat_map(|nth| [(nth, 1), (nth, 2), (nth, 3)])
        .collect();
    assert_eq!(seen, all, "each once");
    next.stop().await;
}

/// A reader that is configured later is not given what is at rest; a rebuild gives it everything,
/// and once more whenever it is asked for. What was given to others stays so.
#[tokio::test]
async fn a_rebuild_gives_a_reader_everything_from_the_beginning() {
    let kit = Kit::with(eager(), Vec::new()).await;
    let ids = talks(&kit, &[2, 3]).await;
    kit.eventually("all is at rest", async || {
        !kit.is_hot(&ids[0]).await && !kit.is_hot(&ids[1]).await
    })
    .await;
    let all = [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)];
    let next = kit.next(read()).await;
    assert_eq!(read_all(&feed(&next), &ids, 100).await, []);
    // Each after the tenure of the one before.
    let clock = ManualClock::at(START);
    let later = || {
        clock.advance_ms(60_000);
        &clock
    };
    for _ in 0..2 {
        let rebuilt = rebuild(&next.store, later(), &read(), Some("feed:kafka")).await;
        let rebuilt = &rebuilt.unwrap()[0];
        assert_eq!(rebuilt.projection, "feed:kafka");
        assert!(
            rebuilt.conversations >= 2 && rebuilt.entries >= 5,
            "{rebuilt:?}"
        );
        let mut seen = read_all(&feed(&next), &ids, 2).await;
        seen.sort_unstable();
        assert_eq!(seen, all);
    }
    next.eventually("all is at rest again", async || {
        !next.is_hot(&ids[0]).await && !next.is_hot(&ids[1]).await
    })
    .await;
    rebuild(&next.store, later(), &read(), None).await.unwrap();
    assert_eq!(
        read_all(&feed(&next), &ids, 100).await,
        [],
        "not by the way"
    );
    let unknown = rebuild(&next.store, later(), &read(), Some("feed:other")).await;
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.contains("documents, feed:kafka"), "{unknown}");
    next.stop().await;
    kit.stop().await;
}
