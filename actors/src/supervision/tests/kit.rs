//! Actors that write a journal of their lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Notify, oneshot};

use crate::supervision::{ChildSpec, Down, Handle};

#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    work: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
}

impl Journal {
    fn write(&self, line: String) {
        self.lines.lock().push(line);
    }

    /// Waits until the journal says this.
    pub(super) async fn reads(&self, expected: &str) {
        let read = || self.lines.lock().join(" ");
        for _ in 0..5_000 {
            if read() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the journal reads {:?}, not {expected:?}", read());
    }

    /// Hands some work over, and counts it if it was taken.
    pub(super) fn hand(&self, handle: &Handle<Say>) -> Result<(), Down> {
        handle.cast(Say::Work)?;
        self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn work(&self) -> usize {
        self.work.load(Ordering::SeqCst)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

pub(super) enum Say {
    Ask {
        reply_to: oneshot::Sender<&'static str>,
    },
    Panic,
    /// Panics, once it may, with a caller in hand.
    PanicWith {
        reply_to: oneshot::Sender<&'static str>,
        go: Arc<Notify>,
    },
    Hold(Arc<Notify>),
    Work,
    Leave,
}

impl Say {
    pub(super) fn ask(reply_to: oneshot::Sender<&'static str>) -> Self {
        Self::Ask { reply_to }
    }
}

impl ractor::Message for Say {}

pub(super) struct Worker {
    name: &'static str,
    journal: Journal,
    start: Start,
}

/// How a start goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    Well,
    Takes(Duration),
    Panics,
    Hangs,
}

impl Actor for Worker {
    type Msg = Say;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Say>, (): ()) -> Result<(), ActorProcessingErr> {
        match self.start {
            Start::Well => {}
            Start::Takes(time) => tokio::time::sleep(time).await,
            Start::Panics => panic!("in the start of {}", self.name),
            Start::Hangs => std::future::pending().await,
        }
        self.journal.write(format!("+{}", self.name));
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Say>,
        message: Say,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Say::Ask { reply_to } => {
                let _ = reply_to.send(self.name);
            }
            Say::Panic => panic!("as asked"),
            Say::PanicWith { reply_to, go } => {
                let _held = reply_to;
                go.notified().await;
                panic!("with a caller waiting");
            }
            Say::Hold(go) => go.notified().await,
            Say::Work => {
                self.journal.work.fetch_add(1, Ordering::SeqCst);
            }
            Say::Leave => myself.stop(None),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Say>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.journal.write(format!("-{}", self.name));
        Ok(())
    }
}

pub(super) fn actor(name: &'static str, handle: &Handle<Say>, journal: &Journal) -> ChildSpec {
    starting(name, handle, journal, |_| Start::Well)
}

/// One whose starts, counted from 0, go as is said.
pub(super) fn starting(
    name: &'static str,
    handle: &Handle<Say>,
    journal: &Journal,
    how: impl Fn(usize) -> Start + Send + Sync + 'static,
) -> ChildSpec {
    let (journal, starts) = (journal.clone(), AtomicUsize::new(0));
    ChildSpec::actor(name, "worker", handle, move || {
        let worker = Worker {
            name,
            journal: journal.clone(),
            start: how(starts.fetch_add(1, Ordering::SeqCst)),
        };
        (worker, ())
    })
}

/// All of whose starts but the n-th go well.
pub(super) fn all_but(nth: usize, how: Start) -> impl Fn(usize) -> Start + Send + Sync + 'static {
    move |start| if start == nth { how } else { Start::Well }
}

/// Waits for something to become true.
pub(super) async fn until(mut is_true: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is_true() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it did not become true");
}
