//! Connecting seats: some at a time, or by a schedule; again where the server asked for it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::{
    clock::{Nanos, from_seconds},
    stages::{Arrivals, Schedule, Share, Stages},
    traffic::Effect,
};

/// How fast seats are connected.
#[derive(Debug, Clone)]
pub(crate) enum Pacing {
    /// So many handshakes are under way at a time.
    AtMost {
        first: usize,
        /// When all come back at once.
        again: usize,
    },
    /// At these rates, however long the server takes.
    Rate(Stages),
}

/// Seats that are to be connected.
#[derive(Debug)]
pub(crate) struct Opening {
    pacing: Pacing,
    /// Those who come back at once are due together, whenever their turn comes.
    waiting: VecDeque<(usize, Option<Nanos>)>,
    limit: usize,
    under_way: usize,
    schedule: Option<Schedule>,
    origin: Nanos,
    next_due: Option<Nanos>,
    later: BinaryHeap<Reverse<(Nanos, usize, Nanos)>>,
}

impl Opening {
    pub(crate) fn new(pacing: Pacing) -> Self {
        Self {
            pacing,
            waiting: VecDeque::new(),
            limit: usize::MAX,
            under_way: 0,
            schedule: None,
            origin: 0,
            next_due: None,
            later: BinaryHeap::new(),
        }
    }

    /// Seats to connect for the first time, by the schedule from its start. Without one each is due
    /// when its turn comes.
    pub(crate) fn begin(&mut self, seats: impl IntoIterator<Item = usize>, now: Nanos) {
        if let Pacing::AtMost { first, .. } = self.pacing {
            self.limit = first;
        }
        self.waiting
            .extend(seats.into_iter().map(|seat| (seat, None)));
        self.restart(now);
    }

    /// Seats that all come back now, or by the schedule from its start. Without one all are due
    /// now: what waits for its turn is late.
    pub(crate) fn come_back(&mut self, seats: impl IntoIterator<Item = usize>, now: Nanos) {
        if let Pacing::AtMost { again, .. } = self.pacing {
            self.limit = again;
        }
        self.waiting
            .extend(seats.into_iter().map(|seat| (seat, Some(now))));
        self.restart(now);
    }

    fn restart(&mut self, now: Nanos) {
        self.origin = now;
        if let Pacing::Rate(stages) = &self.pacing {
            let all = Share { which: 0, of: 1 };
            let mut schedule = Schedule::new(stages.clone(), Arrivals::Even, 0, all);
            self.next_due = schedule.next().map(|due| now + from_seconds(due.at));
            self.schedule = Some(schedule);
        }
    }

    /// A handshake has ended, well or not.
    pub(crate) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// To be connected at `at`: the server asked for another attempt, or somebody has left who was
    /// due then. The seat keeps the moment at which it was due.
    pub(crate) fn retry(&mut self, seat: usize, at: Nanos, due: Nanos) {
        self.later.push(Reverse((at, seat, due)));
    }

    /// Nothing waits, is under way, or comes back later.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0 && self.later.is_empty()
    }

    /// Connects what is due; returns when more will be.
    pub(crate) fn tick(&mut self, now: Nanos, effects: &mut Vec<Effect>) -> Option<Nanos> {
        while let Some(&Reverse((at, seat, due))) = self.later.peek()
            && at <= now
        {
            self.later.pop();
            self.open(seat, due, at, effects);
        }
        match self.pacing {
            Pacing::AtMost { .. } => {
                while self.under_way < self.limit
                    && let Some((seat, due)) = self.waiting.pop_front()
                {
                    let due = due.unwrap_or(now);
                    // Without a limit nobody waits for a place.
                    let at = if self.limit == usize::MAX { due } else { now };
                    self.open(seat, due, at, effects);
                }
            }
            Pacing::Rate(_) => self.open_scheduled(now, effects),
        }
        let retry = self.later.peek().map(|Reverse((at, ..))| *at);
        let due = self.next_due.filter(|_| !self.waiting.is_empty());
        [retry, due].into_iter().flatten().min()
    }

    fn open_scheduled(&mut self, now: Nanos, effects: &mut Vec<Effect>) {
        while let Some(due) = self.next_due
            && due <= now
            && let Some((seat, _)) = self.waiting.pop_front()
        {
            self.open(seat, due, due, effects);
            let next = self.schedule.as_mut().and_then(Iterator::next);
            // Stages that end before everybody is connected: the rest at once.
            self.next_due = Some(next.map_or(now, |next| self.origin + from_seconds(next.at)));
        }
    }

    fn open(&mut self, seat: usize, due: Nanos, at: Nanos, effects: &mut Vec<Effect>) {
        self.under_way += 1;
        effects.push(Effect::Open { seat, due, at });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::SECOND;

    fn opened(opening: &mut Opening, now: Nanos) -> Vec<(usize, Nanos)> {
        let mut effects = Vec::new();
        opening.tick(now, &mut effects);
        let opened = effects.iter().map(|effect| match effect {
            Effect::Open { seat, due, .. } => (*seat, *due),
            other => panic!("{other:?}"),
        });
        opened.collect()
    }

    /// How late the generator was for each, if it connected them now.
    fn lateness(opening: &mut Opening, now: Nanos) -> Vec<Nanos> {
        let mut effects = Vec::new();
        opening.tick(now, &mut effects);
        let late = effects.iter().map(|effect| match effect {
            Effect::Open { at, .. } => now - at,
            other => panic!("{other:?}"),
        });
        late.collect()
    }

    #[test]
    fn what_the_generator_is_late_by_is_not_waiting_for_others() {
        let mut by_rate = Opening::new(Pacing::Rate("2".parse().unwrap()));
        by_rate.begin(0..3, 0);
        assert_eq!(lateness(&mut by_rate, 7), [7]);
        assert_eq!(lateness(&mut by_rate, SECOND + 9), [SECOND / 2 + 9, 9]);
        // Due together, and one after the other has its turn; or all at once.
        let mut in_turn = at_most(1, 1);
        in_turn.come_back(0..2, 5);
        assert_eq!(lateness(&mut in_turn, 5), [0]);
        in_turn.ended();
        assert_eq!(lateness(&mut in_turn, 50), [0]);
        let mut at_once = at_most(1, usize::MAX);
        at_once.come_back(0..2, 5);
        assert_eq!(lateness(&mut at_once, 8), [3, 3]);
        // The server named a moment.
        let mut asked = at_most(1, 1);
        asked.retry(7, 50, 0);
        assert_eq!(lateness(&mut asked, 60), [10]);
    }

    fn at_most(first: usize, again: usize) -> Opening {
        Opening::new(Pacing::AtMost { first, again })
    }

    #[test]
    fn so_many_at_a_time() {
        let mut opening = at_most(2, 2);
        opening.begin(0..3, 5);
        assert_eq!(opened(&mut opening, 5), [(0, 5), (1, 5)]);
        assert_eq!(opened(&mut opening, 6), []);
        opening.ended();
        assert_eq!(opened(&mut opening, 7), [(2, 7)]);
        opening.ended();
        assert!(!opening.is_done());
        opening.ended();
        assert!(opening.is_done());
    }

    #[test]
    fn those_who_come_back_at_once_are_due_at_once() {
        let mut opening = at_most(1, 1);
        opening.come_back(0..2, 5);
        assert_eq!(opened(&mut opening, 5), [(0, 5)]);
        opening.ended();
        assert_eq!(opened(&mut opening, 9), [(1, 5)], "it waited for its turn");
        let mut opening = at_most(1, usize::MAX);
        opening.come_back(0..3, 5);
        assert_eq!(opened(&mut opening, 5), [(0, 5), (1, 5), (2, 5)]);
    }

    #[test]
    fn by_a_schedule_whatever_the_server_does() {
        let mut opening = Opening::new(Pacing::Rate("2:1s".parse().unwrap()));
        opening.begin(0..4, SECOND);
        let half = SECOND / 2;
        assert_eq!(opened(&mut opening, SECOND), [(0, SECOND)]);
        assert_eq!(opened(&mut opening, SECOND + half - 1), []);
        let late = opened(&mut opening, SECOND + half + 5);
        assert_eq!(late[0], (1, SECOND + half), "due before it was opened");
        let rest = opened(&mut opening, 3 * SECOND);
        let due: Vec<_> = late[1..].iter().chain(&rest).map(|(_, due)| *due).collect();
        assert_eq!(due, [SECOND + half + 5; 2], "the stages have ended");
    }

    #[test]
    fn again_later() {
        let mut opening = at_most(1, 1);
        opening.begin([7], 0);
        opened(&mut opening, 0);
        opening.ended();
        opening.retry(7, 50, 0);
        assert!(!opening.is_done());
        assert_eq!(opened(&mut opening, 49), []);
        assert_eq!(opened(&mut opening, 50), [(7, 0)]);
    }
}
