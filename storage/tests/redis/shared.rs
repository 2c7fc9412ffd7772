//! What nodes share: rates, frames, and what replicas keep.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use quikapp_storage::{Advance, Channel, Gossip, Kept, Rate, Shared, Snapshots};
use tokio::{
    net::TcpListener,
    sync::mpsc::Receiver,
    time::{Instant, timeout},
};

use crate::support::{Gate, node, server};

const SOON: Duration = Duration::from_secs(10);

fn rate(burst: u32, period: Duration) -> Rate {
    Rate { burst, period }
}

async fn shared(dir: &Path, redis: &str) -> Shared {
    node(dir, redis).await.shared.unwrap()
}

/// A burst over two nodes is one burst, whoever asks, and is earned back; other keys are not
/// touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_counts_over_nodes() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let nodes = [
        shared(dir.path(), &redis).await.counters,
        shared(dir.path(), &redis).await.counters,
    ];
    let rate = rate(20, Duration::from_secs(10));
    let asking = (0..60).map(|n| {
        let counters = Arc::clone(&nodes[n % 2]);
        async move { counters.admit("ana", rate).await.unwrap() }
    });
    let began = Instant::now();
    let answers = join_all(asking).await;
    let admitted = answers.iter().filter(|answer| answer.is_ok()).count();
    let earned = began.elapsed().as_millis() as usize / 500 + 1;
    assert!((20..=20 + earned).contains(&admitted), "{admitted}");
    let waits = answers.iter().filter_map(|answer| answer.err());
    let longest = waits.max().unwrap();
    assert!(longest <= Duration::from_millis(500), "{longest:?}");
    assert_eq!(nodes[1].admit("bob", rate).await, Some(Ok(())));
    let deadline = Instant::now() + SOON;
    while nodes[0].admit("ana", rate).await != Some(Ok(())) {
        assert!(Instant::now() < deadline, "nothing is earned back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Redis that never answers costs one of many callers its 200 ms, and none for the next second.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_cannot_be_asked_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let counters = shared(dir.path(), &url).await.counters;
    let rate = rate(1, Duration::from_secs(60));
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    let mut slow = 0;
    while began.elapsed() < Duration::from_millis(900) {
        let asked = Instant::now();
        assert_eq!(counters.admit("k", rate).await, None);
        longest = longest.max(asked.elapsed());
        slow += u32::from(asked.elapsed() > Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert_eq!(slow, 1, "{longest:?}");
    assert!(longest < Duration::from_millis(600), "{longest:?}");
}

async fn next(frames: &mut Receiver<Bytes>) -> Option<Bytes> {
    timeout(Duration::from_millis(300), frames.recv())
        .await
        .ok()?
}

/// Tells until it is heard: the other may not have begun to listen.
async fn heard(gossip: &dyn Gossip, channel: Channel, frames: &mut Receiver<Bytes>) {
    let deadline = Instant::now() + SOON;
    loop {
        let told = gossip.tell(channel, Bytes::from_static(b"hello")).await;
        match next(frames).await {
            Some(frame) => return assert_eq!(&frame[..], b"hello"),
            None => assert!(Instant::now() < deadline, "never heard: {told:?}"),
        }
    }
}

/// Frames reach the other node on their channel, nobody on another, and again after Redis was away.
#[tokio::test(flavor = "multi_thread")]
async fn frames_are_heard_on_their_channel_and_after_an_outage() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut gate = Gate::before(&redis).await;
    let (one, two) = (
        shared(dir.path(), &gate.url()).await.gossip,
        shared(dir.path(), &gate.url()).await.gossip,
    );
    let mut present = two.hear(Channel::Presence);
    let mut typing = two.hear(Channel::Typing);
    heard(&*one, Channel::Presence, &mut present).await;
    assert_eq!(next(&mut typing).await, None);
    gate.shut().await;
    assert!(one.tell(Channel::Typing, Bytes::new()).await.is_err());
    gate.open().await;
    heard(&*one, Channel::Typing, &mut typing).await;
}

/// More than is taken is lost, and does not hold up what others hear.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_loses_frames() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = shared(dir.path(), &redis).await.gossip;
    let mut typing = node.hear(Channel::Typing);
    let mut present = node.hear(Channel::Presence);
    heard(&*node, Channel::Typing, &mut typing).await;
    for _ in 0..1500 {
        node.tell(Channel::Typing, Bytes::new()).await.unwrap();
    }
    heard(&*node, Channel::Presence, &mut present).await;
    let mut left = 0;
    while typing.try_recv().is_ok() {
        left += 1;
    }
    assert!((1000..=1024).contains(&left), "{left}");
}

fn record(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn step(replica: u64, from: u64, to: u64) -> Advance {
    Advance {
        replica,
        from,
        to,
        removed: Vec::new(),
        added: Vec::new(),
        frame: record("step"),
    }
}

/// What is kept moves only from where it is: a step over a hole is refused, and nothing is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_moves_without_holes() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = shared(dir.path(), &redis).await;
    let (kept, replica) = (&node.snapshots, 7 << 8);
    assert_eq!(kept.read(replica).await, Ok(None));
    assert_eq!(kept.renew(&[replica]).await, Ok(vec![false]));
    assert_eq!(
        kept.advance(vec![step(replica, 0, 1)]).await,
        Ok(vec![false])
    );
    let all = Kept {
        clock: 3,
        records: (1..=3).map(|at| (at, record("old"))).collect(),
    };
    kept.replace(replica, all.clone()).await.unwrap();
    assert_eq!(kept.read(replica).await, Ok(Some(all)));
    let mut frames = node.gossip.hear(Channel::Presence);
    heard(&*node.gossip, Channel::Presence, &mut frames).await;
    let good = Advance {
        removed: vec![1, 3],
        added: vec![(4, record("new")), (5, record("\u{0}\r\n"))],
        ..step(replica, 3, 5)
    };
    let steps = vec![step(replica, 2, 4), good, step(replica, 3, 6)];
    assert_eq!(kept.advance(steps).await, Ok(vec![false, true, false]));
    assert_eq!(next(&mut frames).await, Some(record("step")));
    assert_eq!(next(&mut frames).await, None);
    let records = vec![
        (2, record("old")),
        (4, record("new")),
        (5, record("\u{0}\r\n")),
    ];
    assert_eq!(
        kept.read(replica).await,
        Ok(Some(Kept { clock: 5, records }))
    );
    assert_eq!(kept.renew(&[replica, 9]).await, Ok(vec![true, false]));
}

/// Ten thousand people in twenty rooms each: one shard of sixteen is written and read as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_is_kept() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let kept = shared(dir.path(), &redis).await.snapshots;
    let record = Bytes::from(vec![b'x'; 200]);
    let all = Kept {
        clock: 12_500,
        records: (1..=12_500).map(|at| (at, record.clone())).collect(),
    };
    let began = Instant::now();
    // A slow machine may need more than one attempt, as the product would make.
    while kept.replace(1, all.clone()).await.is_err() {
        assert!(began.elapsed() < SOON, "never written");
        tokio::task::yield_now().await;
    }
    let written = began.elapsed();
    while kept.read(1).await != Ok(Some(all.clone())) {
        assert!(began.elapsed() < SOON, "never read");
        tokio::task::yield_now().await;
    }
    println!(
        "12,500 records: written in {written:?}, with reading {:?}",
        began.elapsed()
    );
}

/// It goes by itself when its replica no longer says that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_renewed_leaves_within_ten_seconds() {
    let Some(redis) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let kept: Arc<dyn Snapshots> = shared(dir.path(), &redis).await.snapshots;
    let all = Kept {
        clock: 1,
        records: vec![(1, record("x"))],
    };
    kept.replace(1, all).await.unwrap();
    let written = Instant::now();
    while kept.read(1).await.unwrap().is_some() {
        assert!(written.elapsed() < Duration::from_secs(12));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(written.elapsed() > Duration::from_secs(8));
}
