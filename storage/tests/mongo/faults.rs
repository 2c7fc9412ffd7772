//! The server behind a network that fails, under load: slow, silent, cut, away. Senders get a
//! late acknowledgement or an error that can be retried, the health says what is wrong, everything
//! goes on by itself, and the logs are as they were acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quikapp_storage::{
    AcquireError, AppendError, Config, ConversationId, Key16, LogKeeper, MongoLog, StoreError,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::support::{Place, Sequencer, group, message, with_proxy};

/// Conversations that are written at the same time.
const SENDERS: usize = 6;

fn impatient() -> Config {
    Config {
        connections: 4,
        server_timeout_ms: 1000,
        ..Config::default()
    }
}

/// A load through the proxy.
struct Load {
    senders: JoinSet<(ConversationId, Vec<Key16>)>,
    acknowledged: Arc<AtomicU64>,
    go_on: watch::Sender<bool>,
}

impl Load {
    async fn start(log: &Arc<MongoLog>) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let go_on = watch::Sender::new(true);
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let id = group(log).await;
            let sending = send(
                Arc::clone(log),
                id,
                Arc::clone(&acknowledged),
                go_on.subscribe(),
            );
            senders.spawn(sending);
        }
        Self {
            senders,
            acknowledged,
            go_on,
        }
    }

    /// Waits until so many more are acknowledged.
    async fn goes_on(&self, more: u64) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.acknowledged.load(Ordering::Relaxed) < enough {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(Duration::from_secs(60), reached).await;
        assert!(waited.is_ok(), "it does not go on by itself");
    }

    /// Ends it, and compares what was acknowledged with the logs, past the proxy.
    async fn judge(mut self, place: &Place) {
        self.go_on.send_replace(false);
        let direct = place.open().await;
        let mut messages = 0;
        while let Some(done) = self.senders.join_next().await {
            let (id, acknowledged) = done.unwrap();
            // Whoever takes it settles what is in doubt.
            let judge = Sequencer::take(&direct, &id).await;
            assert_eq!(
                judge.keys().await,
                acknowledged,
                "once each, in their order"
            );
            messages += acknowledged.len();
        }
        println!("{messages} messages acknowledged, all kept, none twice");
    }
}

/// Sends until told to stop, each message until it is known to be kept.
async fn send(
    log: Arc<MongoLog>,
    id: ConversationId,
    count: Arc<AtomicU64>,
    go_on: watch::Receiver<bool>,
) -> (ConversationId, Vec<Key16>) {
    let mut acknowledged = Vec::new();
    let mut sequencer = take(&log, &id).await;
    while *go_on.borrow() {
        let entry = message("hello");
        loop {
            match sequencer.append(vec![entry.clone()]).await {
                Ok(_) => break,
                // An attempt whose outcome was not known was kept.
                Err(AppendError::DuplicateKey { .. }) => {
                    sequencer = take(&log, &id).await;
                    break;
                }
                Err(AppendError::Store(error)) => {
                    assert!(is_retryable(&error), "{error}");
                    sequencer = take(&log, &id).await;
                }
                Err(AppendError::Fenced | AppendError::TailMoved { .. }) => {
                    sequencer = take(&log, &id).await;
                }
            }
        }
        acknowledged.push(entry.keys.key);
        count.fetch_add(1, Ordering::Relaxed);
    }
    (id, acknowledged)
}

async fn take(log: &Arc<MongoLog>, id: &ConversationId) -> Sequencer {
    loop {
        match Sequencer::try_claim(log, id, 0).await {
            Ok(sequencer) => return sequencer,
            Err(AcquireError::Store(error)) => assert!(is_retryable(&error), "{error}"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_retryable(error: &StoreError) -> bool {
    use StoreError::{Overloaded, Unavailable, Unknown};
    matches!(error, Unavailable(_) | Unknown(_) | Overloaded)
}

/// Waits until the health is as expected; what it says.
async fn becomes(log: &MongoLog, writable: bool) -> Option<String> {
    let reached = async {
        loop {
            let health = log.log_health().await;
            if health.writable == writable {
                return health.detail;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(Duration::from_secs(30), reached).await;
    waited.expect("the health follows")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_loses_nothing() {
    with_proxy(|place, proxy| async move {
        let log = place.open_through(&proxy, &impatient()).await;
        let load = Load::start(&log).await;
        load.goes_on(20).await;

        // 50 ms a request and 50 ms an answer: late, but in time.
        proxy
            .add("latency", serde_json::json!({ "latency": 100 }))
            .await;
        load.goes_on(10).await;
        assert_eq!(becomes(&log, true).await, None);
        proxy.remove("latency").await;

        // Connections that are reset after some bytes, again and again.
        proxy
            .add("limit_data", serde_json::json!({ "bytes": 6000 }))
            .await;
        load.goes_on(10).await;
        proxy.remove("limit_data").await;
        proxy
            .add("reset_peer", serde_json::json!({ "timeout": 30 }))
            .await;
        let problem = becomes(&log, false).await;
        assert!(problem.is_some_and(|problem| problem.contains("mongodb")));
        proxy.remove("reset_peer").await;
        load.goes_on(20).await;

        // Nobody answers.
        proxy
            .add("timeout", serde_json::json!({ "timeout": 0 }))
            .await;
        let problem = becomes(&log, false).await;
        assert!(problem.is_some_and(|problem| problem.contains("mongodb")));
        proxy.remove("timeout").await;
        assert_eq!(becomes(&log, true).await, None);
        load.goes_on(20).await;

        // Gone, and back.
        proxy.enable(false).await;
        let problem = becomes(&log, false).await;
        assert!(problem.is_some_and(|problem| problem.contains("mongodb")));
        proxy.enable(true).await;
        assert_eq!(becomes(&log, true).await, None);
        load.goes_on(20).await;
        load.judge(&place).await;
    })
    .await;
}
