//! The servers themselves die and start again, with what they had written.

use std::sync::Arc;

use tempfile::tempdir;

use super::{Census, is_down, is_ready, plan, shows};
use crate::{
    faults::sized,
    support::{Addresses, Layout, Load, OwnServers, Site, with_site},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_mongodb_mysql_and_redis_are_restarted() {
    survives("restart of mongodb, mysql and redis", Layout::Mixed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_mariadb_is_restarted() {
    survives("restart of mariadb", Layout::Sql("mariadb")).await;
}

async fn survives(title: &'static str, layout: Layout) {
    // That these are there says that all can be started.
    if Addresses::given(title).is_none() {
        return;
    }
    let dir = tempdir().unwrap();
    let names = [&layout.servers()[..], &["toxiproxy"]].concat();
    let own = Arc::new(OwnServers::start(dir.path(), &names));
    let addresses = own.addresses();
    let test = |site| restarts(title, site, own.clone());
    with_site(layout, &addresses, test).await;
}

async fn restarts(title: &'static str, site: Arc<Site>, own: Arc<OwnServers>) {
    let dir = tempdir().unwrap();
    let server = site.serve(dir.path()).await;
    let census = Census::start(&site);
    let load = Load::start(plan(title), dir.path(), &[&server]).await;
    load.acknowledges(40).await;
    for _ in 0..sized(1, 10) {
        for road in site.roads() {
            load.fault(&format!("{}: kill -9", road.name));
            own.kill(road.name);
            match road.name {
                "redis" => drop(shows(&server, "redis", "down").await),
                _ => is_down(&server, road).await,
            }
            on(&own, road.name, OwnServers::come_back).await;
            is_ready(&server, &site).await;
            load.acknowledges(30).await;

            load.fault(&format!("{}: restart", road.name));
            on(&own, road.name, OwnServers::restart).await;
            is_ready(&server, &site).await;
            load.acknowledges(30).await;
        }
    }
    census.assert_within_bounds();
    load.is_told_to_try_again();
    load.passes(&server).await;
}

/// Does something to a server, and keeps no task from running meanwhile.
async fn on(own: &Arc<OwnServers>, name: &'static str, what: fn(&OwnServers, &str)) {
    let own = own.clone();
    let done = tokio::task::spawn_blocking(move || what(&own, name));
    done.await.unwrap();
}
