//! What follows from the log on its own time: projections, timers, and the store-and-forward
//! queue.
//!
//! Sequencers only say that a conversation has grown ([`Tails`]); they never wait for anybody in
//! here. Each projection follows with a durable cursor of its own, so that a slow one delays
//! neither the writer nor the others, and one that died goes on where it was. What is to happen
//! later is a timer in the store, found again after every restart.

mod acks;
mod config;
mod devices;
mod erasure;
mod feed;
mod handle;
mod history;
pub mod payload;
mod projections;
mod projector;
mod reach;
mod reader;
mod rebuild;
mod recent;
mod recovery;
mod scheduled;
mod tails;
mod task;
#[cfg(test)]
mod tests;
mod timers;

pub use config::Config;
pub use devices::InUse;
pub use feed::{Feed, FeedBatch};
pub use handle::{Delivery, MaySend, Parts};
pub use projections::is_urgent;
pub use projector::Projection;
pub use reach::{Places, Reach, reach};
pub use rebuild::{RebuildError, Rebuilt, rebuild};
pub use tails::Tails;
