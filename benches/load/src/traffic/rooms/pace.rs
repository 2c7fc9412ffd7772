//! When messages are sent.

use super::{Rooms, rally::Rally};
use crate::{
    clock::{Nanos, from_seconds},
    engine::Phase,
    stages::{Arrivals, Schedule, Share, Stages},
    traffic::Cx,
};

/// What a message waits for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pace {
    /// For nothing: messages have their moments (open loop).
    Open {
        stages: Stages,
        arrivals: Arrivals,
        seed: u64,
    },
    /// For everybody to have the last so many (closed loop).
    Rounds { in_flight: u32 },
    /// For its sender's last one to be acknowledged (closed loop).
    Answers { window: u32 },
    /// For the other's message: so many times there and back, in one room after the other; if there
    /// is a rate, no more often per second.
    Rally { rounds: u64, rate: Option<f64> },
}

/// How far the play is.
#[derive(Debug)]
pub(super) enum Tempo {
    Open {
        schedule: Option<Schedule>,
        /// The moment of the schedule's 0, and the message that is due next.
        origin: Nanos,
        next: Option<(u64, Nanos)>,
        measured: bool,
    },
    Rounds {
        in_flight: u32,
        /// For each room, when its round began and how many it has had.
        rounds: Vec<(Nanos, u64)>,
        has_begun: bool,
    },
    Answers {
        window: u32,
        has_begun: bool,
    },
    Rally(Rally),
}

impl Tempo {
    pub(super) fn new(pace: &Pace, rooms: usize) -> Self {
        match *pace {
            Pace::Open { .. } => Self::Open {
                schedule: None,
                origin: 0,
                next: None,
                measured: false,
            },
            Pace::Rounds { in_flight } => Self::Rounds {
                in_flight,
                rounds: vec![(0, 0); rooms],
                has_begun: false,
            },
            Pace::Answers { window } => Self::Answers {
                window,
                has_begun: false,
            },
            Pace::Rally { rounds, rate } => Self::Rally(Rally::new(rounds, rate)),
        }
    }

    pub(super) fn waits_for_rooms(&self) -> bool {
        matches!(self, Self::Rounds { .. })
    }

    pub(super) fn waits_for_answers(&self) -> bool {
        matches!(self, Self::Answers { .. })
    }

    pub(super) fn is_rally(&self) -> bool {
        matches!(self, Self::Rally(_))
    }

    /// There will be no more messages in this phase.
    pub(super) fn is_finished(&self, phase: Phase) -> bool {
        match self {
            Self::Open { next, measured, .. } => *measured && next.is_none(),
            Self::Rally(rally) => rally.is_finished(phase),
            Self::Rounds { .. } | Self::Answers { .. } => false,
        }
    }
}

impl Rooms {
    /// Sends what is due; returns when more will be.
    pub(super) fn play(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        if !cx.phase.is_playing() {
            return None;
        }
        match &mut self.tempo {
            Tempo::Open { .. } => return self.play_schedule(cx),
            Tempo::Rounds { has_begun, .. } => {
                if !std::mem::replace(has_begun, true) {
                    self.last_arrival = cx.now;
                    let rooms: Vec<_> = self.owned().collect();
                    for room in rooms {
                        self.play_round(room, cx);
                    }
                }
                for room in self.hall.take_complete(self.plan.worker) {
                    self.end_round(room as usize, cx);
                }
            }
            Tempo::Answers { window, has_begun } => {
                let window = *window;
                if !std::mem::replace(has_begun, true) {
                    self.last_arrival = cx.now;
                    for seat in 0..self.seats.len() {
                        (0..window).for_each(|_| self.publish(seat, cx.now, cx));
                    }
                }
            }
            Tempo::Rally(_) => return self.play_rally(cx),
        }
        None
    }

    /// Sends the messages whose moment has come. The first rate is kept up until the measured
    /// time begins; there the schedule begins anew.
    fn play_schedule(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        self.set_schedule(cx);
        self.send_due(cx.now, cx);
        match &self.tempo {
            Tempo::Open { next, .. } => next.map(|(_, due)| due),
            _ => None,
        }
    }

    /// Sends what was due in the measured time and has not been sent when that ends: it is late,
    /// and is in the latencies as what it is.
    pub(super) fn send_rest(&mut self, cx: &mut Cx<'_>) {
        if self.recorder.ends_measuring(cx.phase) {
            self.send_due(cx.now.saturating_sub(1), cx);
        }
    }

    /// Sends what the schedule has for the time until then, this moment included.
    fn send_due(&mut self, until: Nanos, cx: &mut Cx<'_>) {
        while let Some((number, due)) = self.next_scheduled(until) {
            let room = (number % self.publishers.len() as u64) as usize;
            let turn = number / self.publishers.len() as u64;
            let publishers = &self.publishers[room];
            // Rooms of other workers have no publishers here.
            if publishers.is_empty() {
                continue;
            }
            let seat = publishers[(turn % publishers.len() as u64) as usize];
            self.publish(seat, due, cx);
        }
    }

    fn set_schedule(&mut self, cx: &Cx<'_>) {
        const ALL: Share = Share { which: 0, of: 1 };
        let Pace::Open {
            stages,
            arrivals,
            seed,
        } = &self.plan.pace
        else {
            return;
        };
        let Tempo::Open {
            schedule,
            origin,
            next,
            measured,
        } = &mut self.tempo
        else {
            return;
        };
        let is_measured = cx.phase == Phase::Measure;
        if schedule.is_none() || is_measured != *measured {
            let stages = match is_measured {
                true => stages.clone(),
                false => stages.opening(),
            };
            let mut new = Schedule::new(stages, *arrivals, *seed, ALL);
            *origin = cx.now;
            *measured = is_measured;
            *next = new
                .next()
                .map(|due| (due.number, *origin + from_seconds(due.at)));
            *schedule = Some(new);
        }
    }

    fn next_scheduled(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let Tempo::Open {
            schedule,
            origin,
            next,
            ..
        } = &mut self.tempo
        else {
            return None;
        };
        let (number, due) = next.filter(|(_, due)| *due <= now)?;
        let following = schedule.as_mut().and_then(Iterator::next);
        *next = following.map(|due| (due.number, *origin + from_seconds(due.at)));
        Some((number, due))
    }

    /// The next publisher of a room sends a round of messages.
    fn play_round(&mut self, room: usize, cx: &mut Cx<'_>) {
        let Tempo::Rounds {
            in_flight, rounds, ..
        } = &mut self.tempo
        else {
            return;
        };
        let in_flight = *in_flight;
        let (began, count) = &mut rounds[room];
        *began = cx.now;
        let turn = *count as usize % self.publishers[room].len();
        *count += 1;
        let seat = self.publishers[room][turn];
        for _ in 0..in_flight {
            self.publish(seat, cx.now, cx);
        }
    }

    fn end_round(&mut self, room: usize, cx: &mut Cx<'_>) {
        let Tempo::Rounds { rounds, .. } = &self.tempo else {
            return;
        };
        let (began, _) = rounds[room];
        self.recorder.completed_round(began, cx.now);
        self.play_round(room, cx);
    }
}
