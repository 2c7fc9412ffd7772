//! Who leaves when, by a schedule that waits for nobody: where nobody is there who could leave, the
//! next to come leaves late, and is due when the schedule said so.

use std::collections::VecDeque;

use crate::{
    clock::{Nanos, from_seconds},
    stages::{Arrivals, Schedule, Share, Stages},
};

/// Those of a worker's seats that leave and come back, one after the other.
#[derive(Debug)]
pub(crate) struct Churn {
    stages: Stages,
    share: Share,
    seats: Vec<usize>,
    next: usize,
    course: Option<Course>,
    /// When somebody should have left, and has not yet.
    owed: VecDeque<Nanos>,
    /// So many of those, from the first on, found nobody there who could.
    found_nobody: usize,
}

/// The schedule, once it has begun.
#[derive(Debug)]
struct Course {
    origin: Nanos,
    schedule: Schedule,
    due: Option<Nanos>,
}

/// A seat leaves, and is due back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) seat: usize,
    pub(crate) due: Nanos,
    /// Nobody was there who could have left when it was due.
    pub(crate) was_owed: bool,
}

impl Leave {
    /// When the generator was to let it leave: when it was due, or now if nobody could before.
    pub(crate) fn was_to(&self, now: Nanos) -> Nanos {
        if self.was_owed { now } else { self.due }
    }
}

impl Churn {
    pub(crate) fn new(stages: Stages, share: Share, seats: Vec<usize>) -> Self {
        Self {
            stages,
            share,
            seats,
            next: 0,
            course: None,
            owed: VecDeque::new(),
            found_nobody: 0,
        }
    }

    /// The next who leaves now, if any; the schedule begins with the first call.
    pub(crate) fn next(&mut self, now: Nanos, is_live: impl Fn(usize) -> bool) -> Option<Leave> {
        self.advance(now);
        let due = *self.owed.front()?;
        let count = self.seats.len();
        let mut places = (self.next..self.next + count).map(|at| at % count);
        let Some(at) = places.find(|at| is_live(self.seats[*at])) else {
            self.found_nobody = self.owed.len();
            return None;
        };
        self.next = at + 1;
        self.owed.pop_front();
        let was_owed = self.found_nobody > 0;
        self.found_nobody = self.found_nobody.saturating_sub(1);
        Some(Leave {
            seat: self.seats[at],
            due,
            was_owed,
        })
    }

    /// When somebody leaves next by the schedule.
    pub(crate) fn due(&self) -> Option<Nanos> {
        self.course.as_ref()?.due
    }

    /// Those who should have left, and have not.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.len() as u64
    }

    /// What is due now is owed.
    fn advance(&mut self, now: Nanos) {
        let course = self.course.get_or_insert_with(|| {
            let stages = self.stages.clone();
            let schedule = Schedule::new(stages, Arrivals::Even, 0, self.share);
            Course::new(schedule, now)
        });
        while let Some(due) = course.due.filter(|due| *due <= now) {
            self.owed.push_back(due);
            course.step();
        }
    }
}

impl Course {
    fn new(schedule: Schedule, origin: Nanos) -> Self {
        let mut course = Self {
            origin,
            schedule,
            due: None,
        };
        course.step();
        course
    }

    fn step(&mut self) {
        let next = self.schedule.next();
        self.due = next.map(|due| self.origin + from_seconds(due.at));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::SECOND;

    fn churn(seats: Vec<usize>) -> Churn {
        let share = Share { which: 0, of: 1 };
        Churn::new("2".parse().unwrap(), share, seats)
    }

    #[test]
    fn who_is_away_is_passed_over() {
        let mut churn = churn(vec![1, 2, 3]);
        let mut left = |now, away: usize| {
            let leave = churn.next(now, |seat| seat != away).unwrap();
            assert!(!leave.was_owed);
            (leave.seat, leave.due)
        };
        assert_eq!(left(5, 1), (2, 5));
        assert_eq!(left(5 + SECOND, 2), (3, 5 + SECOND / 2));
        assert_eq!(left(5 + SECOND, 3), (1, 5 + SECOND));
        assert_eq!(churn.next(5 + SECOND, |_| true), None);
        assert_eq!(churn.due(), Some(5 + SECOND / 2 * 3));
    }

    #[test]
    fn what_nobody_could_do_is_owed() {
        let mut churn = churn(vec![4]);
        assert_eq!(churn.next(SECOND, |_| false), None);
        assert_eq!(churn.next(2 * SECOND, |_| false), None);
        assert_eq!(churn.owed(), 3);
        let leave = churn.next(2 * SECOND, |_| true).unwrap();
        assert!(leave.was_owed && leave.due == SECOND);
        assert_eq!(churn.owed(), 2);
    }
}
