//! Rooms whose members hear what some of them publish: fan-out, chat and ping-pong are paces of
//! the same play. Every member checks what it hears; nothing is forgotten at the end.

mod hall;
mod pace;
mod rally;
mod seat;

use std::sync::Arc;

pub(crate) use hall::{Hall, RoomPlan};
pub(crate) use pace::Pace;
pub(crate) use rally::WARMUP_ROUNDS;

use crate::{
    clock::Nanos,
    engine::Phase,
    mark::{Mark, Unmarked},
    protocol::{Answer, FIRST_REFERENCE},
    record::{Measure, Record, Recorder},
    traffic::{Cx, Effect, End, Input, Opening, Pacing, Status, Traffic},
    violations::{Kind, Violations},
};
use pace::Tempo;
use seat::Seat;

/// One worker's part of the play.
#[derive(Debug, Clone)]
pub(crate) struct RoomsPlan {
    /// Tells this run's messages from any other's.
    pub(crate) run: u32,
    pub(crate) worker: usize,
    pub(crate) seats: Vec<SeatPlan>,
    pub(crate) pace: Pace,
    pub(crate) opening: Pacing,
    /// Publications are answered, and all members hear them in one order.
    pub(crate) acknowledged: bool,
    /// Other things that happen on the topic are no fault.
    pub(crate) is_lenient: bool,
    /// How long nothing may arrive while something is due.
    pub(crate) patience: Nanos,
    /// Length of the intervals of the record.
    pub(crate) interval: Nanos,
    pub(crate) main: Measure,
}

/// A member of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeatPlan {
    pub(crate) room: u32,
    /// Its number among the room's publishers.
    pub(crate) publisher: Option<u32>,
    /// It stops reading once all are there: what it hears until then does not count.
    pub(crate) stalls: bool,
}

/// The play on one worker.
pub(crate) struct Rooms {
    plan: RoomsPlan,
    hall: Arc<Hall>,
    seats: Vec<Seat>,
    /// For every room, the seats of its publishers; empty for rooms of other workers.
    publishers: Vec<Vec<usize>>,
    opening: Opening,
    tempo: Tempo,
    recorder: Recorder,
    violations: Violations,
    has_begun: bool,
    /// Those who were to stop reading have.
    has_stalled: bool,
    live: usize,
    /// Publications whose answer is awaited.
    unanswered: usize,
    last_arrival: Nanos,
    /// A socket was refused or lost, or nothing came for too long: it makes no sense to go on.
    is_broken: bool,
    /// For the former: what is under way then does not get the time to arrive.
    is_cut_short: bool,
}

impl Rooms {
    pub(crate) fn new(plan: RoomsPlan, hall: Arc<Hall>) -> Self {
        let mut publishers = vec![Vec::new(); hall.rooms.len()];
        for (at, seat) in plan.seats.iter().enumerate() {
            if seat.publisher.is_some() {
                publishers[seat.room as usize].push(at);
            }
        }
        let seats = plan.seats.iter().map(|seat| {
            let senders = hall.rooms[seat.room as usize].sent.len();
            Seat::new(*seat, u32::try_from(senders).unwrap_or(u32::MAX))
        });
        Self {
            seats: seats.collect(),
            publishers,
            opening: Opening::new(plan.opening.clone()),
            tempo: Tempo::new(&plan.pace, hall.rooms.len()),
            recorder: Recorder::new(plan.main, plan.interval),
            violations: Violations::default(),
            has_begun: false,
            has_stalled: false,
            live: 0,
            unanswered: 0,
            last_arrival: 0,
            is_broken: false,
            is_cut_short: false,
            plan,
            hall,
        }
    }

    fn publish(&mut self, at: usize, due: Nanos, cx: &mut Cx<'_>) {
        let seat = &mut self.seats[at];
        let Some(sender) = seat.plan.publisher else {
            return;
        };
        seat.sent += 1;
        let mark = Mark {
            run: self.plan.run,
            room: seat.plan.room,
            sender,
            n: seat.sent,
            at: due,
        };
        self.hall.rooms[mark.room as usize].expect(sender, mark.n);
        if self.plan.acknowledged {
            seat.unanswered.push_back((mark.n, due));
            self.unanswered += 1;
        }
        match self.plan.pace {
            Pace::Open { .. } => self.recorder.sent_on_schedule(due, cx.now),
            _ => self.recorder.sent(),
        }
        cx.effects.push(Effect::Publish {
            seat: at,
            reference: FIRST_REFERENCE + u64::from(mark.n),
            mark,
        });
    }

    /// A member hears a message.
    fn hear(&mut self, at: usize, content: &[u8], seq: Option<u64>, cx: &mut Cx<'_>) {
        let seat = &mut self.seats[at];
        let mark = match Mark::read(content) {
            Ok(mark) if mark.run == self.plan.run && mark.room == seat.plan.room => mark,
            Ok(mark) => {
                let room = seat.plan.room;
                let example = || format!("a member of room {room} heard {mark:?}");
                return self.violations.add(Kind::Foreign, 1, example);
            }
            Err(Unmarked::Broken) => {
                return self.violations.add(Kind::Altered, 1, || excerpt(content));
            }
            Err(Unmarked::Missing) => {
                return self.violations.add(Kind::Foreign, 1, || excerpt(content));
            }
        };
        let room = &self.hall.rooms[mark.room as usize];
        let is_counted = seat.hear(&mark, seq, room.hears_itself, &mut self.violations);
        if !is_counted {
            return;
        }
        self.last_arrival = cx.now;
        self.recorder.delivered(mark.at, cx.now);
        if room.arrived() && self.tempo.waits_for_rooms() {
            self.hall.completed(mark.room, self.plan.worker, cx);
        }
        if self.tempo.is_rally() && self.seats[at].plan.publisher != Some(mark.sender) {
            self.return_ball(at, cx);
        }
    }

    fn answered(
        &mut self,
        at: usize,
        reference: u64,
        outcome: Result<Answer, String>,
        cx: &mut Cx<'_>,
    ) {
        let seat = &mut self.seats[at];
        let n = u32::try_from(reference.saturating_sub(FIRST_REFERENCE)).unwrap_or(0);
        let waits = seat.unanswered.iter().position(|(sent, _)| *sent == n);
        let due = waits.and_then(|waits| seat.unanswered.remove(waits));
        if due.is_some() {
            self.unanswered -= 1;
        }
        self.last_arrival = cx.now;
        match outcome {
            Ok(answer) => {
                let Some((_, due)) = due else { return };
                seat.acknowledged(answer.seq, &mut self.violations);
                self.recorder.acknowledged(due, cx.now);
            }
            Err(why) => {
                self.violations.add(Kind::Refused, 1, || why);
                if let Some(sender) = seat.plan.publisher {
                    self.hall.rooms[seat.plan.room as usize].refused(sender, n);
                }
            }
        }
        if self.tempo.waits_for_answers() && cx.phase.is_playing() {
            self.publish(at, cx.now, cx);
        }
    }

    fn break_off(&mut self, at: usize, kind: Kind, why: String) {
        let seat = &mut self.seats[at];
        if std::mem::take(&mut seat.is_live) {
            self.live -= 1;
        }
        seat.is_gone = true;
        let room = &self.hall.rooms[seat.plan.room as usize];
        if let Some(sender) = seat.plan.publisher {
            room.close(sender);
        }
        self.recorder.record.counters.unknown += seat.under_way(room);
        self.violations.add(kind, 1, || why);
        self.is_broken = true;
        self.is_cut_short = true;
    }

    /// A stalled reader is gone: what it is there for.
    fn cut(&mut self, at: usize) {
        self.recorder.record.counters.cut += 1;
        self.seats[at].is_live = false;
        self.live -= 1;
    }

    fn stall(&mut self, effects: &mut Vec<Effect>) {
        let seats = self.seats.iter().enumerate();
        let stalling = seats.filter(|(_, seat)| seat.plan.stalls && seat.is_live);
        effects.extend(stalling.map(|(seat, _)| Effect::Stall { seat }));
    }

    fn owned(&self) -> impl Iterator<Item = usize> {
        let rooms = self.publishers.iter().enumerate();
        rooms.filter_map(|(room, publishers)| (!publishers.is_empty()).then_some(room))
    }

    fn has_outstanding(&self) -> bool {
        self.unanswered > 0
            || self
                .owned()
                .any(|room| self.hall.rooms[room].is_expecting())
    }
}

impl Traffic for Rooms {
    fn handle(&mut self, seat: usize, input: Input<'_>, cx: &mut Cx<'_>) {
        match input {
            Input::Live { due, late } => {
                self.opening.ended();
                self.seats[seat].is_live = true;
                self.live += 1;
                self.recorder.connected(due, late, cx.now);
            }
            Input::Delivery { .. } if self.seats[seat].plan.stalls => {}
            Input::Delivery { content, seq } => self.hear(seat, content, seq, cx),
            Input::Answer { reference, outcome } => self.answered(seat, reference, outcome, cx),
            Input::Refused {
                due,
                retry_after: Some(after),
                ..
            } => {
                self.opening.ended();
                self.opening.retry(seat, cx.now + after, due);
                self.recorder.record.counters.deferred += 1;
            }
            Input::Refused { why, .. } => self.break_off(seat, Kind::Refused, why),
            Input::Gone { .. } if self.has_stalled && self.seats[seat].plan.stalls => {
                self.cut(seat);
            }
            Input::Gone { why } => self.break_off(seat, Kind::Closed, why),
            Input::Other(what) if !self.plan.is_lenient => {
                self.violations.add(Kind::Foreign, 1, || what);
            }
            Input::Other(_) | Input::Pong | Input::PresenceState(_) | Input::PresenceDiff(_) => {}
        }
    }

    fn tick(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        self.send_rest(cx);
        self.recorder.advance(cx.phase, cx.now);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.opening.begin(0..self.seats.len(), cx.now);
        }
        if cx.phase.is_playing() && !std::mem::replace(&mut self.has_stalled, true) {
            self.stall(cx.effects);
        }
        let opening = self.opening.tick(cx.now, cx.effects);
        let playing = self.play(cx);
        let waited = cx.now.saturating_sub(self.last_arrival);
        let is_closed_loop = !matches!(self.plan.pace, Pace::Open { .. });
        if cx.phase.is_playing()
            && is_closed_loop
            && waited > self.plan.patience
            && self.has_outstanding()
        {
            self.is_broken = true;
        }
        [opening, playing].into_iter().flatten().min()
    }

    fn status(&self, cx: &Cx<'_>) -> Status {
        let shown = self.recorder.shown();
        Status {
            live: self.live,
            messages: shown.messages,
            deliveries: shown.deliveries,
            p99: shown.p99,
            is_ready: self.live == self.seats.len() || self.is_broken,
            is_finished: self.is_broken || self.tempo.is_finished(cx.phase),
            is_settled: self.is_broken || (cx.phase > Phase::Measure && !self.has_outstanding()),
        }
    }

    fn finish(self: Box<Self>, end: End) -> Record {
        let Self {
            seats,
            hall,
            mut violations,
            recorder,
            plan,
            is_broken,
            is_cut_short,
            ..
        } = *self;
        let is_cut_short = is_cut_short || end == End::CutShort;
        let mut record = recorder.finish();
        record.broke_off = is_broken;
        record.counters.sockets = seats.len() as u64;
        record.counters.stalled = seats.iter().filter(|seat| seat.plan.stalls).count() as u64;
        let heard = |seat: &&Seat| !seat.is_gone && !seat.plan.stalls;
        for seat in seats.iter().filter(heard) {
            let room = &hall.rooms[seat.plan.room as usize];
            let under_way = seat.check_complete(room, is_cut_short, &mut violations);
            record.counters.unknown += under_way;
            if plan.acknowledged {
                record.orders.push(seat.heard_order());
            }
        }
        record.violations = violations;
        record
    }
}

/// What was heard instead of a message of this run.
fn excerpt(content: &[u8]) -> String {
    String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests;
