//! The servers behind a node: slow, silent, cut, away, restarted, under load; and nodes that die,
//! or fight, over what the servers keep. Senders get a late
//! acknowledgement or an error that they may retry, readiness names what is wrong, everything goes
//! on by itself, and the node has no more connections than it may.
//!
//! Needs the servers of `scripts/backends`, else says that it was skipped.

mod addresses;
mod network;
mod nodes;
mod redis;
mod restart;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};

use crate::support::{PASSWORD, Plan, Rest, Road, Server, Site};

/// Between two looks at something.
const LOOK: Duration = Duration::from_millis(100);

/// Whoever asks is answered in time, one way or the other.
fn plan(title: &'static str) -> Plan {
    Plan {
        patience: Duration::from_secs(20),
        ..Plan::new(title)
    }
}

/// Waits until readiness says about a dependency what it should; what it says.
async fn shows(server: &Server, dependency: &str, status: &str) -> Value {
    let rest = Rest::of(server);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (code, body) = rest.request(Method::GET, "/health/ready", None, None).await;
        let shown = &body["dependencies"][dependency];
        if shown["status"] == status {
            let is_ready = code.is_success();
            let is_needed = shown["optional"] != true;
            // Whoever reads it learns nothing that is secret.
            assert!(!body.to_string().contains(PASSWORD), "{body}");
            assert!(!(is_needed && status == "down" && is_ready), "{body}");
            return body;
        }
        assert!(
            Instant::now() < deadline,
            "{dependency} is not {status}: {body}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// The node is not ready, because of this server, and says what it keeps and what is wrong.
async fn is_down(server: &Server, road: &Road) {
    let body = shows(server, road.dependency, "down").await;
    let error = &body["dependencies"][road.dependency]["error"];
    println!("{} is down: {error}", road.name);
    let error = error.as_str().unwrap_or_default();
    let (keeps, why) = error.split_once(": ").unwrap_or_default();
    assert!(keeps.starts_with(road.keeps) && !why.is_empty(), "{body}");
}

/// The node is ready again.
async fn is_ready(server: &Server, site: &Site) {
    for road in site.roads() {
        shows(server, road.dependency, "up").await;
    }
}

/// Counts the connections to the servers while a test runs.
struct Census {
    counts: Vec<(String, usize, Arc<AtomicUsize>)>,
    task: JoinHandle<()>,
}

impl Census {
    fn start(site: &Site) -> Self {
        let counts: Vec<_> = site
            .roads()
            .iter()
            .map(|road| (road.proxy.address.clone(), road.bound, Arc::default()))
            .collect();
        let counted = counts.clone();
        let task = tokio::spawn(async move {
            let mut before = vec![HashSet::new(); counted.len()];
            loop {
                for ((address, _, most), before) in counted.iter().zip(&mut before) {
                    let most: &Arc<AtomicUsize> = most;
                    // One that is just being closed is not there at the next look.
                    let now = connections_to(address);
                    let lasting = now.intersection(before).count();
                    most.fetch_max(lasting, Ordering::Relaxed);
                    *before = now;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { counts, task }
    }

    /// There never were more than there may be.
    fn assert_within_bounds(self) {
        self.task.abort();
        for (address, bound, most) in self.counts {
            let most = most.load(Ordering::Relaxed);
            println!("{address}: {most} connections at most, {bound} allowed");
            assert!((1..=bound).contains(&most), "{most} of {bound}");
        }
    }
}

/// Open connections to an address of this machine, at the end of whoever listens there: by whom
/// they were made.
fn connections_to(address: &str) -> HashSet<String> {
    const ESTABLISHED: &str = "01";
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let maker = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let is_here = fields.next() == Some(&local);
        let maker = fields.next()?.to_owned();
        (is_here && fields.next() == Some(ESTABLISHED)).then_some(maker)
    };
    table.lines().filter_map(maker).collect()
}
