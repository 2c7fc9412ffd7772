//! Every promise, with the log in MongoDB and everything else in the embedded store.

use std::sync::Arc;

use quikapp_storage::{
    Config, Keepers, MongoDocuments, compose, conformance, connect, open_keeper,
};

use crate::support::with_database;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_mongodb_keeps_every_promise() {
    with_database(|place| async move {
        let dir = tempfile::tempdir().unwrap();
        let beside = open_keeper(&Config::at(dir.path())).unwrap();
        let log = place.open().await;
        let keepers = Keepers {
            devices: Arc::new(MongoDocuments::beside(&log)),
            log,
            ..Keepers::all(&beside)
        };
        let store = compose(&keepers);
        conformance::run_all(|| std::future::ready(Arc::clone(&store))).await;
        let health = store.health().await;
        assert!(health.writable, "{health:?}");
    })
    .await;
}

/// Two processes, whose registered devices alone are in MongoDB.
#[tokio::test(flavor = "multi_thread")]
async fn devices_in_mongodb_keep_every_promise() {
    with_database(|place| async move {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            devices: Some(place.backend()),
            ..Config::at(dir.path())
        };
        let (here, there) = tokio::join!(connect(&config), connect(&config));
        let (here, there) = (here.unwrap(), there.unwrap());
        let keeps = here.dependencies.iter();
        let keeps: Vec<_> = keeps
            .map(|it| (it.name.as_str(), it.keeps.as_str()))
            .collect();
        let elsewhere = "log, registers, timers, people, security";
        assert_eq!(keeps, [("embedded", elsewhere), ("mongodb", "devices")]);
        let stores = [here.store, there.store];
        conformance::run_all(conformance::in_turn(stores.clone())).await;
        for store in stores {
            store.close().await;
        }
        let [_, devices] = here.dependencies.as_slice() else {
            panic!("two stores were opened");
        };
        assert!(devices.check().await.is_err(), "it is closed");
    })
    .await;
}

/// One address is one store, over one set of connections.
#[tokio::test]
async fn a_log_and_devices_at_one_address_are_one_dependency() {
    with_database(|place| async move {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            log: place.backend(),
            devices: Some(place.backend()),
            ..Config::at(dir.path())
        };
        let connected = connect(&config).await.unwrap();
        let keeps: Vec<_> = connected
            .dependencies
            .iter()
            .map(|it| it.keeps.as_str())
            .collect();
        let beside = "registers, timers, people, security";
        assert_eq!(keeps, ["log, devices", beside]);
        for dependency in &connected.dependencies {
            assert_eq!(dependency.check().await, Ok(()));
        }
        connected.store.close().await;
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
