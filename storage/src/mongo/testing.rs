//! For tests alone: mutants of the adapter, which the tests must catch, and a place at which a
//! test can let something happen between two writes.

use std::sync::Arc;

use tokio::sync::Notify;

/// A way of being wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Acknowledges what was inserted without moving the tail under its epoch.
    SkipConfirm,
    /// Moves the tail first, and then inserts.
    CountThenInsert,
}

/// A step after which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Of a creation: the pair is held.
    Held,
    /// Of a creation: the conversation is there, its members are not.
    Made,
    /// Of a redaction: one entry more is redacted.
    Redacted,
    /// Of an append: everything was looked up, nothing is written.
    Checked,
    /// The entries are inserted.
    Inserted,
    /// What follows from them is done.
    Applied,
    /// The tail was moved.
    Confirmed,
}

/// What is different in a test. By default nothing is.
#[derive(Debug, Clone, Default)]
pub struct Testing {
    /// A mutant.
    pub mutant: Option<Mutant>,
    /// What comes to a step stops behind it.
    pub pause: Option<Pause>,
}

/// Stops whatever comes to a step behind it, until it is told to go on, or cancelled.
#[derive(Debug, Clone)]
pub struct Pause {
    behind: Step,
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Pause {
    /// Behind a step.
    pub fn behind(step: Step) -> Self {
        Self {
            behind: step,
            reached: Arc::default(),
            go_on: Arc::default(),
        }
    }

    /// Waits until something has come there.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }
}

impl Testing {
    /// Stops here, if a test wants it.
    pub(super) async fn done(&self, step: Step) {
        if let Some(pause) = &self.pause
            && pause.behind == step
        {
            pause.reached.notify_one();
            pause.go_on.notified().await;
        }
    }
}
