//! All deadlines of a connection on one timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use quikapp_actors::fanout::{Note, SlotKey};
use tokio::time::{Instant, Sleep, sleep_until};

/// Something is due.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing was heard for the idle timeout.
    Idle,
    /// The token may have expired.
    Expiry,
    /// A channel's delayed note.
    Note(SlotKey, Note),
}

#[derive(Debug)]
struct Delayed {
    due: Instant,
    slot: SlotKey,
    note: Note,
}

#[derive(Debug)]
pub(super) struct Timers {
    idle_timeout: Option<Duration>,
    heard_at: Instant,
    expiry: Option<Instant>,
    /// Rare and few, so in no particular order.
    delayed: Vec<Delayed>,
    /// Armed for the earliest deadline or before it: hearing from the client, the most frequent
    /// change by far, does not touch it.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the sleep wakes. Nothing, if it has to be looked at: never polled, or a deadline came
    /// that may be earlier.
    armed_for: Option<Waker>,
}

impl Timers {
    pub(super) fn new(idle_timeout: Option<Duration>, now: Instant) -> Self {
        Self {
            idle_timeout,
            heard_at: now,
            expiry: None,
            delayed: Vec::new(),
            sleep: None,
            armed_for: None,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(super) fn expire_at(&mut self, expiry: Option<Instant>) {
        self.expiry = expiry;
        self.armed_for = None;
    }

    pub(super) fn delay(&mut self, due: Instant, slot: SlotKey, note: Note) {
        self.delayed.push(Delayed { due, slot, note });
        self.armed_for = None;
    }

    pub(super) fn forget(&mut self, slot: SlotKey) {
        self.delayed.retain(|delayed| delayed.slot != slot);
    }

    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let Some(next) = self.next_deadline() else {
                return Poll::Pending;
            };
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(next)));
            if sleep.deadline() > next || sleep.is_elapsed() {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                self.armed_for = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.armed_for = None;
            if let Some(due) = self.take_due(Instant::now()) {
                return Poll::Ready(due);
            }
        }
    }

    /// Whether polling the sleep could change nothing. A connection is polled for every delivery,
    /// and its timer is hardly ever why.
    pub(super) fn is_armed(&self, cx: &Context<'_>) -> bool {
        let wakes = |waker: &Waker| waker.will_wake(cx.waker());
        self.armed_for.as_ref().is_some_and(wakes)
            && self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let delayed = self.delayed.iter().map(|delayed| delayed.due).min();
        [self.idle_deadline(), self.expiry, delayed]
            .into_iter()
            .flatten()
            .min()
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.idle_timeout.map(|timeout| self.heard_at + timeout)
    }

    fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.expiry.take_if(|expiry| *expiry <= now).is_some() {
            return Some(Due::Expiry);
        }
        let earliest = (0..self.delayed.len())
            .filter(|at| self.delayed[*at].due <= now)
            .min_by_key(|at| self.delayed[*at].due);
        if let Some(at) = earliest {
            let Delayed { slot, note, .. } = self.delayed.remove(at);
            return Some(Due::Note(slot, note));
        }
        let is_idle = self.idle_deadline().is_some_and(|idle| idle <= now);
        is_idle.then(|| {
            self.idle_timeout = None;
            Due::Idle
        })
    }
}
