//! Redis is beside the stores: whatever happens to it, a chat goes on.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tempfile::tempdir;

use super::{Census, is_ready, plan, shows};
use crate::{
    faults::sized,
    support::{Addresses, Layout, Load, Server, Site, with_site},
};

/// No acknowledgement is later after the one before; a machine that runs other tests at the same
/// time is slow. A chat that stops does so until the fault is over.
const PAUSE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_fails_stops_no_chat() {
    let title = "redis fails";
    let Some(addresses) = Addresses::given(title) else {
        return;
    };
    with_site(Layout::Sql("mysql"), &addresses, |site| faults(title, site)).await;
}

async fn faults(title: &'static str, site: Arc<Site>) {
    let dir = tempdir().unwrap();
    let server = site.serve(dir.path()).await;
    let census = Census::start(&site);
    let load = Load::start(plan(title), dir.path(), &[&server]).await;
    load.goes_on(60, PAUSE).await;
    let proxy = &site.road("redis").proxy;
    for _ in 0..sized(1, 10) {
        load.fault("redis: slow");
        proxy.add("latency", json!({ "latency": 1000 })).await;
        down_and_yet_ready(&load, &server).await;
        proxy.remove("latency").await;
        is_ready(&server, &site).await;

        load.fault("redis: silent");
        proxy.add("timeout", json!({ "timeout": 0 })).await;
        down_and_yet_ready(&load, &server).await;
        proxy.remove("timeout").await;
        is_ready(&server, &site).await;

        load.fault("redis: stopped");
        proxy.enable(false).await;
        down_and_yet_ready(&load, &server).await;
        proxy.enable(true).await;
        is_ready(&server, &site).await;
        load.goes_on(60, PAUSE).await;
    }
    census.assert_within_bounds();
    load.is_told_to_try_again();
    load.passes(&server).await;
}

async fn down_and_yet_ready(load: &Load, server: &Server) {
    load.goes_on(sized(40, 400), PAUSE).await;
    let body = shows(server, "redis", "down").await;
    assert_eq!(body["status"], "ready", "{body}");
    load.goes_on(sized(40, 400), PAUSE).await;
}
