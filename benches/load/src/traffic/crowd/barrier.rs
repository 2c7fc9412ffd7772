//! Where the crowds of all workers wait for each other, so that a wave is one for all of them: all
//! leave at once, and it ends when the last of all is back.

use parking_lot::Mutex;

use crate::clock::Nanos;

/// One part's waves, for all workers.
#[derive(Debug)]
pub(crate) struct Barrier {
    workers: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Waves that have not begun.
    left: u32,
    /// Those that have, and when the one under way did.
    begun: u32,
    wave: Option<Nanos>,
    /// Workers whose sockets are all there, and when the last of them had them.
    arrived: usize,
    latest: Nanos,
    is_over: bool,
}

/// All workers have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    /// When the wave began that is over now, and when the last was back; none before the first.
    pub(super) wave: Option<(Nanos, Nanos)>,
}

impl Barrier {
    /// For so many workers, and so many waves.
    pub(crate) fn new(workers: usize, waves: u32) -> Self {
        Self {
            workers,
            state: Mutex::new(State {
                left: waves,
                begun: 0,
                wave: None,
                arrived: 0,
                latest: 0,
                is_over: waves == 0,
            }),
        }
    }

    /// The sockets of one more worker are all there, which it says once before each wave and after
    /// the last. The last to say so ends the wave, and begins the next.
    pub(super) fn arrive(&self, now: Nanos) -> Option<Complete> {
        let mut state = self.state.lock();
        state.arrived += 1;
        // Clocks are read before the lock is taken, and not in its order.
        state.latest = state.latest.max(now);
        if state.arrived < self.workers {
            return None;
        }
        state.arrived = 0;
        let latest = state.latest;
        let wave = state.wave.take().map(|began| (began, latest));
        if state.left > 0 {
            state.left -= 1;
            state.begun += 1;
            state.wave = Some(latest);
        } else {
            state.is_over = true;
        }
        Some(Complete { wave })
    }

    /// When the wave of this number (from 1 on) began, if it is under way.
    pub(super) fn began(&self, number: u32) -> Option<Nanos> {
        let state = self.state.lock();
        state.wave.filter(|_| state.begun == number)
    }

    /// There will be no more waves.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().is_over
    }

    /// A worker cannot go on, and nobody has to wait for it.
    pub(super) fn break_off(&self) {
        let mut state = self.state.lock();
        (state.left, state.wave, state.is_over) = (0, None, true);
    }

    /// The workers beside one of them.
    pub(super) fn others(&self, own: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.workers).filter(move |worker| *worker != own)
    }
}
