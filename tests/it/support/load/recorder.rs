//! The file that a history is written to.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use quikapp_history::{Change, Event, Mark};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::super::Guest;

/// The reason of a client that gave up waiting.
pub(crate) const NO_ANSWER: &str = "no answer";

/// Writes events in the order in which they happen.
pub(crate) struct Recorder {
    file: Mutex<BufWriter<File>>,
    began: Instant,
    ops: AtomicU64,
    /// How many attempts were acknowledged.
    pub(crate) acknowledged: watch::Sender<u64>,
    /// How many were refused.
    pub(crate) refused: watch::Sender<u64>,
    /// What clients were told instead of what they asked for, and how often.
    told: Mutex<BTreeMap<String, u64>>,
}

/// An outcome of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    Ok {
        seq: Option<u64>,
        id: Option<String>,
    },
    Refused(String),
    Unknown,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Self {
        Self {
            file: Mutex::new(BufWriter::new(File::create(path).unwrap())),
            began: Instant::now(),
            ops: AtomicU64::new(0),
            acknowledged: watch::Sender::new(0),
            refused: watch::Sender::new(0),
            told: Mutex::default(),
        }
    }

    /// Writes an event, given the time.
    pub(crate) fn record(&self, event: impl FnOnce(u64) -> Event) {
        // The lock makes the order of the file that of the times.
        let mut file = self.file.lock();
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        serde_json::to_writer(&mut *file, &event(at)).unwrap();
        file.write_all(b"\n").unwrap();
    }

    /// Notes why something was not done; nothing where no answer came.
    pub(crate) fn was_told(&self, response: Option<&Value>) {
        let reason = match response {
            Some(response) => response["reason"].as_str().unwrap_or("no reason"),
            None => NO_ANSWER,
        };
        *self.told.lock().entry(reason.to_owned()).or_default() += 1;
    }

    /// Every reason so far, with how often it was given.
    pub(crate) fn told(&self) -> BTreeMap<String, u64> {
        self.told.lock().clone()
    }

    pub(crate) fn flush(&self) {
        self.file.lock().flush().unwrap();
    }

    /// Writes an attempt, given the time and its number; the number.
    fn attempt(&self, event: impl FnOnce(u64, u64) -> Event) -> u64 {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        self.record(|at| event(at, op));
        op
    }

    /// An attempt for an entry; its number.
    pub(crate) fn invoke(&self, person: &Guest, conversation: &str, key: &str) -> u64 {
        self.attempt(|at, op| Event::Invoke {
            at,
            op,
            user: person.id.clone(),
            conversation: conversation.to_owned(),
            key: key.to_owned(),
        })
    }

    /// An attempt to change a membership; its number.
    pub(crate) fn invoke_member(&self, person: &Guest, conversation: &str, change: Change) -> u64 {
        self.attempt(|at, op| Event::InvokeMember {
            at,
            op,
            user: person.id.clone(),
            conversation: conversation.to_owned(),
            change,
        })
    }

    /// An attempt to say something that is not kept; its number.
    pub(crate) fn say(&self, person: &Guest, conversation: &str, key: &str) -> u64 {
        self.attempt(|at, op| Event::Say {
            at,
            op,
            user: person.id.clone(),
            conversation: conversation.to_owned(),
            key: key.to_owned(),
        })
    }

    /// A device was shown something that is not kept.
    pub(crate) fn heard(&self, device: &str, conversation: &str, (user, key): (String, String)) {
        self.record(|at| Event::Heard {
            at,
            device: device.to_owned(),
            conversation: conversation.to_owned(),
            user,
            key,
        });
    }

    /// An attempt to set a mark; its number.
    pub(crate) fn mark(&self, person: &Guest, conversation: &str, mark: Mark, seq: u64) -> u64 {
        self.attempt(|at, op| Event::Mark {
            at,
            op,
            user: person.id.clone(),
            conversation: conversation.to_owned(),
            mark,
            seq,
        })
    }

    /// The outcome of an attempt for an entry, or to change a membership. These are counted.
    pub(crate) fn outcome(&self, op: u64, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Ok { .. } => Some(&self.acknowledged),
            Outcome::Refused(_) => Some(&self.refused),
            Outcome::Unknown => None,
        };
        self.beside(op, outcome);
        if let Some(counter) = counter {
            counter.send_modify(|count| *count += 1);
        }
    }

    /// The outcome of an attempt for something that is not in the log.
    pub(crate) fn beside(&self, op: u64, outcome: Outcome) {
        self.record(|at| match outcome {
            Outcome::Ok { seq, id } => Event::Ok { at, op, seq, id },
            Outcome::Refused(reason) => Event::Fail { at, op, reason },
            Outcome::Unknown => Event::Unknown { at, op },
        });
    }
}
