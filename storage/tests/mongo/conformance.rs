//! Every promise, with the log in MongoDB and everything else in the embedded store.

use std::sync::Arc;

use quikapp_storage::{Config, Keepers, compose, conformance, open_keeper};

use crate::support::with_database;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_mongodb_keeps_every_promise() {
    with_database(|place| async move {
        let dir = tempfile::tempdir().unwrap();
        let beside = open_keeper(&Config::at(dir.path())).unwrap();
        let keepers = Keepers {
            log: place.open().await,
            ..Keepers::all(&beside)
        };
        let store = compose(&keepers);
        conformance::run_all(|| std::future::ready(Arc::clone(&store))).await;
        let health = store.health().await;
        assert!(health.writable, "{health:?}");
    })
    .await;
}

/// Every start brings the indexes up to date, and finds the same store.
#[tokio::test]
async fn opening_again_changes_nothing() {
    with_database(|place| async move {
        use quikapp_storage::LogKeeper;
        let (one, two) = tokio::join!(place.open(), place.open());
        assert_eq!(one.log_id(), two.log_id());
        assert_eq!(place.open().await.log_id(), one.log_id());
    })
    .await;
}
