//! Registers beside the log: receipts, unread marks, drafts, mutes, and the cursors of devices.
//!
//! [`Registers`] is the handle. The first change is written at once; what follows within a short
//! window is merged, per person and register, and written together. A change is persisted, then
//! broadcast, then acknowledged.

mod coalesce;
mod flush;
mod handle;
pub mod payload;
#[cfg(test)]
mod tests;

pub use handle::{Change, Mark, Registers};
