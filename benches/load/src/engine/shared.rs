//! What the coordinator and the workers tell each other.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::{
    engine::{Phase, poll::Bell},
    traffic::{End, Status},
};

/// The state of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    phase: AtomicU8,
    is_cut_short: AtomicBool,
    workers: Box<[WorkerBoard]>,
}

/// What one worker shows.
#[derive(Debug)]
struct WorkerBoard {
    bell: Bell,
    /// Its thread's id, once it runs.
    thread: AtomicU32,
    parts: Box<[PartBoard]>,
}

/// What one worker shows of one part of the plan.
#[derive(Debug, Default)]
struct PartBoard {
    flags: AtomicU8,
    live: AtomicUsize,
    messages: AtomicU64,
    deliveries: AtomicU64,
    p99: AtomicU64,
}

const READY: u8 = 1;
const FINISHED: u8 = 2;
const SETTLED: u8 = 4;

/// All workers and parts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) live: usize,
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// The highest of the last interval, in nanoseconds.
    pub(crate) p99: u64,
}

impl Shared {
    pub(crate) fn new(workers: usize, parts: usize) -> anyhow::Result<Self> {
        let board = || {
            anyhow::Ok(WorkerBoard {
                bell: Bell::new()?,
                thread: AtomicU32::new(0),
                parts: (0..parts).map(|_| PartBoard::default()).collect(),
            })
        };
        Ok(Self {
            phase: AtomicU8::new(0),
            is_cut_short: AtomicBool::new(false),
            workers: (0..workers).map(|_| board()).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// Begins a phase, on all workers at once.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        for worker in &self.workers {
            worker.bell.ring();
        }
    }

    /// Ends the run, whatever phase it is in.
    pub(crate) fn finish(&self, end: End) {
        let is_cut_short = end == End::CutShort;
        self.is_cut_short.store(is_cut_short, Ordering::Release);
        self.enter(Phase::Done);
    }

    /// How it has ended, once it is done.
    pub(super) fn end(&self) -> End {
        match self.is_cut_short.load(Ordering::Acquire) {
            true => End::CutShort,
            false => End::InTime,
        }
    }

    pub(super) fn bell(&self, worker: usize) -> &Bell {
        &self.workers[worker].bell
    }

    pub(super) fn began(&self, worker: usize, thread: u32) {
        self.workers[worker].thread.store(thread, Ordering::Release);
    }

    /// The ids of the threads of all workers that run.
    pub(crate) fn threads(&self) -> Vec<u32> {
        let ids = self
            .workers
            .iter()
            .map(|worker| worker.thread.load(Ordering::Acquire));
        ids.filter(|id| *id != 0).collect()
    }

    pub(super) fn show(&self, worker: usize, part: usize, status: &Status) {
        let board = &self.workers[worker].parts[part];
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(status.is_ready, READY)
            | flag(status.is_finished, FINISHED)
            | flag(status.is_settled, SETTLED);
        board.live.store(status.live, Ordering::Relaxed);
        board.messages.store(status.messages, Ordering::Relaxed);
        board.deliveries.store(status.deliveries, Ordering::Relaxed);
        board.p99.store(status.p99, Ordering::Relaxed);
        board.flags.store(flags, Ordering::Release);
    }

    /// A worker of a new phase has not looked yet.
    pub(crate) fn forget_progress(&self) {
        for board in self.workers.iter().flat_map(|worker| &worker.parts) {
            board.flags.store(0, Ordering::Release);
        }
    }

    pub(crate) fn all_ready(&self) -> bool {
        self.all(READY)
    }

    pub(crate) fn all_finished(&self) -> bool {
        self.all(FINISHED)
    }

    pub(crate) fn all_settled(&self) -> bool {
        self.all(SETTLED)
    }

    fn all(&self, flag: u8) -> bool {
        let mut boards = self.workers.iter().flat_map(|worker| &worker.parts);
        boards.all(|board| board.flags.load(Ordering::Acquire) & flag != 0)
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for board in self.workers.iter().flat_map(|worker| &worker.parts) {
            totals.live += board.live.load(Ordering::Relaxed);
            totals.messages += board.messages.load(Ordering::Relaxed);
            totals.deliveries += board.deliveries.load(Ordering::Relaxed);
            totals.p99 = totals.p99.max(board.p99.load(Ordering::Relaxed));
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_have_to_be_ready() {
        let shared = Shared::new(2, 1).unwrap();
        let ready = Status {
            is_ready: true,
            live: 3,
            ..Status::default()
        };
        shared.show(0, 0, &ready);
        assert!(!shared.all_ready());
        shared.show(1, 0, &ready);
        assert!(shared.all_ready() && !shared.all_settled());
        assert_eq!(shared.totals().live, 6);
        shared.forget_progress();
        assert!(!shared.all_ready());
        shared.enter(Phase::Drain);
        assert_eq!(shared.phase(), Phase::Drain);
    }
}
