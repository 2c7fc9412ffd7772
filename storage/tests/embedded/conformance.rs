//! Every promise, on one directory opened once, and opened twice.

use quikapp_storage::conformance;

use crate::support::Dir;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_keeps_every_promise() {
    let dir = Dir::new();
    let store = dir.open();
    conformance::run_all(|| std::future::ready(store.clone())).await;
}
