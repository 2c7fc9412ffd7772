//! Nodes whose entries and cursors are on servers: they die at random moments, and another takes up
//! what they left between one server and the other; or two of them fight.

use std::sync::Arc;

use tempfile::tempdir;

use super::plan;
use crate::{
    faults::sized,
    support::{Addresses, Layout, Load, Site, with_site},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_kill_9_of_a_node_on_mongodb_and_mysql() {
    let title = "kill -9 of a node on mongodb and mysql";
    on_servers(title, Layout::Mixed, killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_kill_9_of_a_node_on_mysql() {
    let title = "kill -9 of a node on mysql";
    on_servers(title, Layout::Sql("mysql"), killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_two_nodes_fight_over_mongodb_and_mysql() {
    let title = "two nodes on mongodb and mysql";
    on_servers(title, Layout::Mixed, fight).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_two_nodes_fight_over_mariadb() {
    let title = "two nodes on mariadb";
    on_servers(title, Layout::Sql("mariadb"), fight).await;
}

async fn on_servers<Fut>(
    title: &'static str,
    layout: Layout,
    test: impl FnOnce(&'static str, Arc<Site>) -> Fut,
) where
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Some(addresses) = Addresses::given(title) {
        with_site(layout, &addresses, |site| test(title, site)).await;
    }
}

async fn killed(title: &'static str, site: Arc<Site>) {
    let dir = tempdir().unwrap();
    let mut server = site.serve(dir.path()).await;
    let mut load = Load::start(plan(title), dir.path(), &[&server]).await;
    for round in 0..sized(3, 30) {
        load.acknowledges(20 + load.random(40)).await;
        if round == 1 {
            // Another process has to do it.
            load.erases_somebody(&server).await;
        }
        load.fault("kill -9");
        server.kill().await;
        server = site.serve(dir.path()).await;
        load.servers_are(&[&server]);
    }
    load.acknowledges(30).await;
    load.passes(&server).await;
}

async fn fight(title: &'static str, site: Arc<Site>) {
    let dir = tempdir().unwrap();
    let here = site.serve_at(dir.path(), "127.0.0.1:0").await;
    let there = site.serve_at(dir.path(), "127.0.0.2:0").await;
    let mut load = Load::start(plan(title), dir.path(), &[&here, &there]).await;
    load.fault("two nodes, the same servers");
    load.acknowledges(sized(30, 500)).await;
    load.erases_somebody(&here).await;
    load.acknowledges(sized(30, 500)).await;
    load.passes(&here).await;
}
