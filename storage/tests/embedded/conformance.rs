//! Every promise, on one directory opened once, and opened twice.

use quikapp_storage::conformance;

use crate::support::Dir;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_keeps_every_promise() {
    let dir = Dir::new();
    let store = dir.open();
    conformance::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_directory_keep_every_promise() {
    let dir = Dir::new();
    let stores = [dir.open(), dir.open()];
    conformance::run_all(conformance::in_turn(stores)).await;
}

#[tokio::test]
async fn wrong_totals_are_counted_again() {
    let dir = Dir::new();
    let store = dir.open();
    let db = rusqlite::Connection::open(dir.data().join("quikapp.db")).unwrap();
    let damage = async |statement: &str| db.execute_batch(statement).unwrap();
    conformance::queue::wrong_totals_are_counted_again(store, damage).await;
}
