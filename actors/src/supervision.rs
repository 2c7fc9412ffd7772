//! Supervision: who starts what again, how often, and what happens when that does not help.
//!
//! A [`Supervisor`] keeps children that are described by [`ChildSpec`]s: actors, tasks, and further
//! supervisors. It decides by a pure core; the actor around the core only starts and stops. A child
//! that was started again is reached through the same [`Handle`]. ractor's own handler of
//! supervision events dies with the first child, and its `stop` drops what is queued: here a
//! supervisor outlives its children, and an orderly stop drains them, the last started first.
//!
//! ractor's mailboxes are unbounded: whoever hands a [`Handle`] to many senders admits before it
//! (a semaphore, a bounded queue), and tells [`ChildSpec::queue`] how much waits.

mod child;
mod core;
mod handle;
mod shell;
mod spec;
mod task;
#[cfg(test)]
mod tests;
mod tree;

pub use child::{ChildSpec, Stopping};
pub use handle::{Down, Handle, Lost};
pub use shell::{Ending, StartError, Supervisor};
pub use spec::{Backoff, Intensity, Restart, Strategy, SupervisorSpec};
pub(crate) use task::panic_text;
pub(crate) use tree::age_ms;
pub use tree::{NodeState, TreeNode};
