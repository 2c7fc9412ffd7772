//! Promises of the whole system, kept by the real binary. One file per promise.
#![allow(clippy::unwrap_used)]

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/reference_app/mod.rs"]
#[allow(unreachable_pub, reason = "shared with the conformance test")]
mod reference_app;
mod support;
#[path = "../support/toxiproxy.rs"]
mod toxiproxy;
mod tree;

mod addresses;
mod architecture;
mod audit;
mod bench_elsewhere;
mod bench_over_tls;
mod bench_progress;
mod command_line;
mod crowds;
mod devices;
mod durability;
mod erasure;
mod faults;
mod later;
mod metrics;
mod notify;
mod operation;
mod overview;
mod people;
mod rebuild;
mod redis;
mod shared_directory;
mod start_and_stop;
mod strangers;
