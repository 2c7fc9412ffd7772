//! Every promise, on each server; alone, and beside the embedded store.

use mysql_async::prelude::Queryable;
use quikapp_storage::{Backend, Config, conformance, connect};

use crate::support::{Database, servers};

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept() {
    for (name, server) in servers() {
        println!("server: {name}");
        let database = Database::on(&server).await;
        let connected = database.open().await.unwrap();
        let store = connected.store;
        conformance::run_all(|| std::future::ready(store.clone())).await;
        store.close().await;
        database.drop().await;
    }
}

/// Two processes on one database: every second promise is checked through the other one.
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
