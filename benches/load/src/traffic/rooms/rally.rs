//! Pairs that play one ball: at one table after the other, there and back.

use super::{Rooms, pace::Tempo};
use crate::{
    clock::{Nanos, from_seconds},
    engine::Phase,
    traffic::Cx,
};

/// Rounds at each table that do not count: more would use up what servers take from one socket.
pub(crate) const WARMUP_ROUNDS: u64 = 100;

/// How far the play is.
#[derive(Debug)]
pub(super) struct Rally {
    /// Rounds that count and are yet to be played.
    left: u64,
    /// Rounds of the warm-up that were played.
    warmed_up: u64,
    /// The least time from one serve to the next.
    pause: Nanos,
    tables: usize,
    table: usize,
    ball: Ball,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ball {
    /// It is to be served, then or as soon as may be.
    Due(Nanos),
    /// It is on its way, since `at`.
    Served { due: Nanos, at: Nanos },
}

impl Rally {
    pub(super) fn new(rounds: u64, rate: Option<f64>) -> Self {
        Self {
            left: rounds,
            warmed_up: 0,
            pause: rate.map_or(0, |rate| from_seconds(1.0 / rate)),
            tables: 1,
            table: 0,
            ball: Ball::Due(0),
        }
    }

    /// Nothing more is served in this phase.
    pub(super) fn is_finished(&self, phase: Phase) -> bool {
        let is_warm = self.warmed_up >= WARMUP_ROUNDS * self.tables as u64;
        self.left == 0 || phase == Phase::Warmup && is_warm
    }

    /// The table at which the ball is served now.
    fn serve(&mut self, now: Nanos, phase: Phase) -> Option<usize> {
        let Ball::Due(due) = self.ball else {
            return None;
        };
        if due > now || !phase.is_playing() || self.is_finished(phase) {
            return None;
        }
        self.ball = Ball::Served { due, at: now };
        Some(self.table % self.tables)
    }

    /// The ball has come back; when it was served.
    fn end_round(&mut self, now: Nanos, phase: Phase) -> Option<Nanos> {
        let Ball::Served { due, at } = self.ball else {
            return None;
        };
        match phase {
            Phase::Measure => self.left = self.left.saturating_sub(1),
            _ => self.warmed_up += 1,
        }
        self.table += 1;
        self.ball = Ball::Due(now.max(self.after(due, at)));
        Some(at)
    }

    /// When a serve may follow one. What was late by less than a pause is made up for, so that the
    /// rate holds; what was later is not, so that no two follow at once.
    fn after(&self, due: Nanos, at: Nanos) -> Nanos {
        let is_late = at >= due + self.pause;
        self.pause + if is_late { at } else { due }
    }

    /// When the ball is served next, where that is known.
    fn due(&self, phase: Phase) -> Option<Nanos> {
        match self.ball {
            Ball::Due(due) if !self.is_finished(phase) => Some(due),
            _ => None,
        }
    }
}

impl Rooms {
    /// Serves if that is due; returns when the next serve is.
    pub(super) fn play_rally(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        let tables: Vec<_> = self.owned().collect();
        let Tempo::Rally(rally) = &mut self.tempo else {
            return None;
        };
        if tables.is_empty() {
            rally.left = 0;
            return None;
        }
        rally.tables = tables.len();
        let serving = rally.serve(cx.now, cx.phase);
        let due = rally.due(cx.phase);
        if let Some(table) = serving {
            // Nobody can be waited for before.
            self.last_arrival = cx.now;
            self.publish(self.publishers[tables[table]][0], cx.now, cx);
        }
        due
    }

    /// The ball has come to a player: back with it, or on to the next table.
    pub(super) fn return_ball(&mut self, at: usize, cx: &mut Cx<'_>) {
        let came_back = self.seats[at].plan.publisher == Some(0);
        if !came_back {
            self.publish(at, cx.now, cx);
            return;
        }
        let Tempo::Rally(rally) = &mut self.tempo else {
            return;
        };
        if let Some(served) = rally.end_round(cx.now, cx.phase) {
            self.recorder.completed_round(served, cx.now);
        }
        self.play_rally(cx);
    }
}
