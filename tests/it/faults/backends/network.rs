//! A network that fails between a node and what keeps its data.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tempfile::tempdir;

use super::{Census, is_down, is_ready, plan};
use crate::{
    faults::sized,
    support::{Addresses, Layout, Load, Plan, Road, Server, Site, with_site},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_the_network_to_mongodb_and_mysql() {
    rides_out("network to mongodb and mysql", Layout::Mixed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_the_network_to_mysql() {
    rides_out("network to mysql", Layout::Sql("mysql")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_the_network_to_mariadb() {
    rides_out("network to mariadb", Layout::Sql("mariadb")).await;
}

/// What is said on a stream waits behind what the stream has to read, and each of these reads is
/// answered 200 ms late: 8 s were seen on a busy machine.
const BEHIND_READS: Duration = Duration::from_secs(15);

async fn rides_out(title: &'static str, layout: Layout) {
    let Some(addresses) = Addresses::given(title) else {
        return;
    };
    with_site(layout, &addresses, |site| faults(title, site)).await;
}

async fn faults(title: &'static str, site: Arc<Site>) {
    let dir = tempdir().unwrap();
    let server = site.serve(dir.path()).await;
    let census = Census::start(&site);
    let plan = Plan {
        bound: BEHIND_READS,
        ..plan(title)
    };
    let load = Load::start(plan, dir.path(), &[&server]).await;
    load.acknowledges(40).await;
    for _ in 0..sized(1, 6) {
        for road in site.needed() {
            is_slow(&load, &server, road).await;
            for fault in [
                Fault::CutAgainAndAgain,
                Fault::Reset,
                Fault::Silent,
                Fault::Away,
            ] {
                load.fault(&format!("{}: {fault:?}", road.name));
                fault.begins(road).await;
                if fault == Fault::CutAgainAndAgain {
                    load.acknowledges(10).await;
                } else {
                    is_down(&server, road).await;
                }
                fault.ends(road).await;
                is_ready(&server, &site).await;
                load.acknowledges(30).await;
            }
        }
    }
    census.assert_within_bounds();
    load.is_told_to_try_again();
    load.passes(&server).await;
}

/// 200 ms an answer: late, but in time.
async fn is_slow(load: &Load, server: &Server, road: &Road) {
    load.fault(&format!("{}: 200 ms late", road.name));
    road.proxy.add("latency", json!({ "latency": 200 })).await;
    load.acknowledges(sized(6, 30)).await;
    super::shows(server, road.dependency, "up").await;
    road.proxy.remove("latency").await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Connections end after some bytes, in the middle of whatever it is.
    CutAgainAndAgain,
    /// Connections are reset at once.
    Reset,
    /// Nobody answers.
    Silent,
    /// Nobody listens.
    Away,
}

impl Fault {
    async fn begins(self, road: &Road) {
        let proxy = &road.proxy;
        match self {
            Self::CutAgainAndAgain => proxy.add("limit_data", json!({ "bytes": 20_000 })).await,
            Self::Reset => proxy.add("reset_peer", json!({ "timeout": 10 })).await,
            Self::Silent => proxy.add("timeout", json!({ "timeout": 0 })).await,
            Self::Away => proxy.enable(false).await,
        }
    }

    async fn ends(self, road: &Road) {
        let proxy = &road.proxy;
        match self {
            Self::CutAgainAndAgain => proxy.remove("limit_data").await,
            Self::Reset => proxy.remove("reset_peer").await,
            Self::Silent => proxy.remove("timeout").await,
            Self::Away => proxy.enable(true).await,
        }
    }
}
