//! The life of one entity: inputs and the time in, effects out. Pure.
//!
//! ```text
//!            first message           activated                idle
//!  (nothing) ─────────────▶ Activating ────────▶ Active ◀──────────▶ Passivating ─▶ Gone
//!                 ▲  │ panic      ▲               │ panic  failed        │ a message waits
//!                 │  ▼            └───────────────┼──────────────────────┘
//!              Fallen ◀───────────────────────────┘
//!                 │ once too often
//!                 ▼
//!            Quarantined ── its time is over, or released ──▶ Fallen
//! ```

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripts;

use std::{collections::VecDeque, time::Duration};

/// What bounds a life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) queue: usize,
    pub(super) idle: Duration,
    pub(super) restarts: usize,
    pub(super) window: Duration,
    pub(super) cool_down: Duration,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Input<M> {
    /// A message has come.
    Message(M),
    /// The state is there.
    Activated,
    /// The store could not say.
    ActivationFailed,
    /// Everything that was handed over has been handled.
    Handled,
    /// Activating, handling or passivating panicked, with these not begun yet.
    Panicked { rest: VecDeque<M> },
    /// Time to see whether anything is due.
    Tick,
    /// The state is written, and let go.
    Passivated,
    /// It could not be written, and is still there.
    NotPassivated,
    /// Somebody lets it out of quarantine.
    Release,
    /// Finish what is there, and go.
    Stop,
}

/// Why a message is not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The queue is full.
    Overloaded,
    /// It is in quarantine, for so long still.
    Quarantined(Duration),
    /// It could not be brought up, or goes.
    Unavailable,
}

/// What to do about it, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect<M> {
    /// Make the state from the store.
    Activate,
    /// Handle these, one after the other.
    Handle(VecDeque<M>),
    /// Write the state, and let it go.
    Passivate,
    /// These are not handled.
    Refuse(VecDeque<M>, Why),
    /// It panicked and will be started again.
    Restarted,
    /// It panicked once too often.
    Quarantined,
    /// Nothing is left to remember.
    Forget,
}

/// Where a life stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Activating,
    Active,
    Passivating,
    Fallen,
    Quarantined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Activating,
    Active {
        is_busy: bool,
    },
    Passivating,
    /// It panicked, and nobody has written to it since.
    Fallen,
    Quarantined {
        until: Duration,
    },
}

/// One entity's life. Made for its first message.
#[derive(Debug)]
pub(super) struct Core<M> {
    state: State,
    queue: VecDeque<M>,
    last_used: Duration,
    /// When it panicked, within the window.
    panics: VecDeque<Duration>,
    is_stopping: bool,
}

impl<M> Core<M> {
    /// A life that begins with its first message.
    pub(super) fn new() -> Self {
        Self {
            state: State::Fallen,
            queue: VecDeque::new(),
            last_used: Duration::ZERO,
            panics: VecDeque::new(),
            is_stopping: false,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Activating => Phase::Activating,
            State::Active { .. } => Phase::Active,
            State::Passivating => Phase::Passivating,
            State::Fallen => Phase::Fallen,
            State::Quarantined { .. } => Phase::Quarantined,
        }
    }

    pub(super) fn handle(
        &mut self,
        input: Input<M>,
        now: Duration,
        bounds: &Bounds,
    ) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        match input {
            Input::Message(message) => self.message(message, now, bounds, &mut effects),
            Input::Activated | Input::Handled => {
                self.last_used = now;
                self.state = State::Active { is_busy: false };
                self.go_on(&mut effects);
            }
            Input::NotPassivated if self.is_stopping => self.fall(&mut effects),
            Input::NotPassivated => {
                self.last_used = now;
                self.state = State::Active { is_busy: false };
                self.go_on(&mut effects);
            }
            Input::ActivationFailed => {
                self.refuse_all(Why::Unavailable, &mut effects);
                self.fall(&mut effects);
            }
            Input::Panicked { rest } => self.panicked(rest, now, bounds, &mut effects),
            Input::Tick => self.tick(now, bounds, &mut effects),
            Input::Passivated => self.fall(&mut effects),
            Input::Release => {
                if let State::Quarantined { .. } = self.state {
                    self.panics.clear();
                    self.fall(&mut effects);
                }
            }
            Input::Stop => {
                self.is_stopping = true;
                self.tick(now, bounds, &mut effects);
            }
        }
        effects
    }

    /// Whether a message would be taken now.
    pub(super) fn admits(&mut self, now: Duration, bounds: &Bounds) -> Result<(), Why> {
        self.cool_down(now, bounds);
        match self.state {
            State::Quarantined { until } => Err(Why::Quarantined(until - now)),
            _ if self.is_stopping => Err(Why::Unavailable),
            _ if self.queue.len() >= bounds.queue => Err(Why::Overloaded),
            _ => Ok(()),
        }
    }

    fn message(
        &mut self,
        message: M,
        now: Duration,
        bounds: &Bounds,
        effects: &mut Vec<Effect<M>>,
    ) {
        if let Err(why) = self.admits(now, bounds) {
            return effects.push(Effect::Refuse(VecDeque::from([message]), why));
        }
        self.queue.push_back(message);
        self.last_used = now;
        match self.state {
            State::Fallen => self.fall(effects),
            _ => self.go_on(effects),
        }
    }

    /// An active entity handles what waits, or goes if it is to.
    fn go_on(&mut self, effects: &mut Vec<Effect<M>>) {
        if self.state != (State::Active { is_busy: false }) {
            return;
        }
        if !self.queue.is_empty() {
            self.state = State::Active { is_busy: true };
            effects.push(Effect::Handle(std::mem::take(&mut self.queue)));
        } else if self.is_stopping {
            self.state = State::Passivating;
            effects.push(Effect::Passivate);
        }
    }

    /// The state is gone: begin anew if anybody waits, else remember only what must be.
    fn fall(&mut self, effects: &mut Vec<Effect<M>>) {
        if !self.queue.is_empty() {
            self.state = State::Activating;
            return effects.push(Effect::Activate);
        }
        self.state = State::Fallen;
        if self.panics.is_empty() || self.is_stopping {
            effects.push(Effect::Forget);
        }
    }

    fn panicked(
        &mut self,
        mut rest: VecDeque<M>,
        now: Duration,
        bounds: &Bounds,
        effects: &mut Vec<Effect<M>>,
    ) {
        rest.append(&mut self.queue);
        self.queue = rest;
        self.panics.push_back(now);
        self.forget_panics(now, bounds);
        if self.panics.len() > bounds.restarts {
            let until = now + bounds.cool_down;
            self.state = State::Quarantined { until };
            effects.push(Effect::Quarantined);
            self.refuse_all(Why::Quarantined(bounds.cool_down), effects);
            if self.is_stopping {
                effects.push(Effect::Forget);
            }
            return;
        }
        effects.push(Effect::Restarted);
        self.fall(effects);
    }

    fn tick(&mut self, now: Duration, bounds: &Bounds, effects: &mut Vec<Effect<M>>) {
        self.cool_down(now, bounds);
        match self.state {
            State::Active { is_busy: false } => {
                let is_idle = now.saturating_sub(self.last_used) >= bounds.idle;
                if self.queue.is_empty() && (is_idle || self.is_stopping) {
                    self.state = State::Passivating;
                    effects.push(Effect::Passivate);
                }
            }
            State::Fallen => {
                self.forget_panics(now, bounds);
                self.fall(effects);
            }
            State::Quarantined { .. } if self.is_stopping => effects.push(Effect::Forget),
            State::Activating
            | State::Active { is_busy: true }
            | State::Passivating
            | State::Quarantined { .. } => {}
        }
    }

    /// After its time an entity is on probation: the next panic puts it back.
    fn cool_down(&mut self, now: Duration, bounds: &Bounds) {
        if let State::Quarantined { until } = self.state
            && now >= until
        {
            self.state = State::Fallen;
            self.panics = VecDeque::from(vec![now; bounds.restarts]);
        }
    }

    fn forget_panics(&mut self, now: Duration, bounds: &Bounds) {
        while let Some(first) = self.panics.front()
            && now.saturating_sub(*first) > bounds.window
        {
            self.panics.pop_front();
        }
    }

    fn refuse_all(&mut self, why: Why, effects: &mut Vec<Effect<M>>) {
        if !self.queue.is_empty() {
            effects.push(Effect::Refuse(std::mem::take(&mut self.queue), why));
        }
    }
}
