//! Every promise, on each server; alone, beside the embedded store, and beside a log in MongoDB.

use mysql_async::prelude::Queryable;
use quikapp_storage::{Backend, Config, conformance, connect};

use crate::support::{Database, LogInMongo, servers};

/// Two processes on one database: every second promise is checked through the other one.
#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept() {
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let config = database.config(std::path::Path::new("/nonexistent"));
        two_processes_keep_every_promise(&config).await;
        database.drop().await;
    }
}

/// Two processes again, whose logs and registered devices are in MongoDB.
#[tokio::test(flavor = "multi_thread")]
async fn everything_but_the_log_keeps_every_promise() {
    let Some(log) = LogInMongo::new() else { return };
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let config = Config {
            log: log.backend(),
            devices: Some(log.backend()),
            ..database.config(std::path::Path::new("/nonexistent"))
        };
        two_processes_keep_every_promise(&config).await;
        log.drop().await;
        database.drop().await;
    }
}

async fn two_processes_keep_every_promise(config: &Config) {
    let (here, there) = tokio::join!(connect(config), connect(config));
    let stores = [here, there].map(|connected| connected.unwrap().store);
    conformance::run_all(conformance::in_turn(stores.clone())).await;
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_beside_embedded_registers_keeps_every_promise() {
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            registers: Backend::Embedded,
            people: Backend::Embedded,
            ..database.config(dir.path())
        };
        let store = connect(&config).await.unwrap().store;
        conformance::run_all(|| std::future::ready(store.clone())).await;
        store.close().await;
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_beside_an_embedded_log_keep_every_promise() {
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            log: Backend::Embedded,
            ..database.config(dir.path())
        };
        let store = connect(&config).await.unwrap().store;
        conformance::run_all(|| std::future::ready(store.clone())).await;
        store.close().await;
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_totals_are_counted_again() {
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let store = database.open().await.unwrap().store;
        let damage = async |statement: &'static str| {
            let mut conn = database.conn().await;
            conn.query_drop(statement).await.unwrap();
            conn.disconnect().await.unwrap();
        };
        conformance::queue::wrong_totals_are_counted_again(store.clone(), damage).await;
        store.close().await;
        database.drop().await;
    }
}
