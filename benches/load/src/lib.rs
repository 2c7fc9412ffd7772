//! The load tester behind `quikapp bench`.
//!
//! It loads a server that speaks Phoenix Channels, socket.io, centrifuge's JSON protocol or plain
//! WebSocket, checks that everything arrived exactly once, unaltered and in order, and reports
//! what that cost. A run that finds a loss, a duplicate or a refusal fails, whatever its figures.
//!
//! [`Plan`] (pure) says what to do; worker threads carry it out (`engine`), moved by state
//! machines that know no sockets (`traffic`) in the words of a `protocol`; each fills a `record`,
//! and records add up to a [`Report`], over workers and over machines. docs/benchmarking.md is
//! for those who use it.

mod clock;
mod command;
mod engine;
mod frames;
mod histogram;
mod http;
mod identity;
mod mark;
mod meter;
mod plan;
mod progress;
mod protocol;
mod record;
mod report;
mod run;
mod stages;
mod target;
mod tls;
mod traffic;
mod violations;
mod world;

pub use command::{Args, Outcome, execute, plan, run};
pub use engine::Phase;
pub use histogram::{Buckets, Latencies};
pub use identity::Auth;
pub use meter::Usage;
pub use plan::{Header, Plan, RunOptions, Scenario, Settings, TargetOptions};
pub use protocol::Language;
pub use record::{Counters, Interval, Measure, Record};
pub use report::{
    Comparison, Figure, Generator, Outcome as ThresholdOutcome, PartReport, Ratio, Report, Run,
    SCHEMA, Sample, Server, Span, SpanUsage, Thread, Threshold, Tls, Unit, compare, merge,
};
pub use stages::{Arrivals, Stages};
pub use violations::{Broken, Kind, Violations};
