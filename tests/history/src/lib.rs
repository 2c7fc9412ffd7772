//! Whether what clients saw keeps the promises of delivery.
//!
//! A history is a file of [`Event`]s, one JSON object a line, in the order in which they happened:
//! what clients asked for and were answered, what their devices were delivered, which faults were
//! injected; and at the end what the log and the views derived from it say. [`check`] reads it
//! once and tells every broken promise with the lines that show it.
//!
//! It takes time linear in the history. In memory it holds some hundred bytes for each entry of
//! the logs and for each operation that has not been answered, and a few words for each device in
//! each conversation: O(entries + in flight), however many deliveries there are.

mod checker;
mod conversation;
mod device;
mod ephemeral;
mod erasure;
mod event;
mod fold;
mod marks;
mod person;
mod read;
mod thread;
mod verdict;

pub use checker::Checker;
pub use event::{Change, Event, Kind, Line, Mark, MemberSince};
pub use read::{HistoryError, check};
pub use verdict::{Class, Counts, Rule, Verdict, Violation};
