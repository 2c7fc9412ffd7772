//! A power cut: `kill -9`, and everything that was not synced is gone.

use tempfile::tempdir;

use super::sized;
use crate::support::{Load, Plan, PowerCut};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_power_cut() {
    let dir = tempdir().unwrap();
    let power = PowerCut::prepare(dir.path());
    let mut server = power.start(&[]).await;
    let mut load = Load::start(Plan::new("power cut"), dir.path(), &[&server]).await;
    for round in 0..sized(3, 20) {
        load.acknowledges(40 + load.random(80)).await;
        if round == 1 {
            load.erases_somebody(&server).await;
        }
        load.fault("power cut");
        server.kill().await;
        println!("{} writes were taken back", power.happens());
        server = power.start(&[]).await;
        load.servers_are(&[&server]);
    }
    load.acknowledges(40).await;
    load.passes(&server).await;
}
