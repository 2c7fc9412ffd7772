//! Sockets that join and say nothing: how fast they come, how they come back, what they cost.

mod barrier;

use std::sync::Arc;

pub(crate) use barrier::Barrier;

use crate::{
    clock::Nanos,
    engine::Phase,
    record::{Measure, Record, Recorder},
    stages::{Share, Stages},
    traffic::{Churn, Cx, Effect, End, Input, Opening, Pacing, Status, Traffic},
    violations::{Kind, Violations},
};

/// How many sockets are asked at the end whether they still live.
const PROBED: usize = 100;

/// One worker's part of the crowd.
#[derive(Debug, Clone)]
pub(crate) struct CrowdPlan {
    pub(crate) worker: usize,
    pub(crate) seats: usize,
    pub(crate) opening: Pacing,
    pub(crate) waves: Waves,
    /// Other things may be heard.
    pub(crate) is_lenient: bool,
    pub(crate) interval: Nanos,
}

/// What happens while it is measured.
#[derive(Debug, Clone)]
pub(crate) enum Waves {
    /// Nothing.
    Calm,
    /// All leave at once and come back: those of all workers, as often as is said there.
    Reconnects(Arc<Barrier>),
    /// One after the other leaves and comes back.
    Churn(Stages, Share),
}

/// The crowd on one worker.
pub(crate) struct Crowd {
    plan: CrowdPlan,
    opening: Opening,
    is_live: Vec<bool>,
    live: usize,
    has_begun: bool,
    /// Waves that it has taken part in.
    waves: u32,
    /// It is complete, and has said so.
    has_arrived: bool,
    churn: Option<Churn>,
    /// Sockets whose answer is awaited, once they have been asked.
    unproven: Option<usize>,
    recorder: Recorder,
    violations: Violations,
    is_broken: bool,
}

impl Crowd {
    pub(crate) fn new(plan: CrowdPlan) -> Self {
        Self {
            opening: Opening::new(plan.opening.clone()),
            is_live: vec![false; plan.seats],
            live: 0,
            has_begun: false,
            waves: 0,
            has_arrived: false,
            churn: match &plan.waves {
                Waves::Churn(stages, share) => {
                    let seats = (0..plan.seats).collect();
                    Some(Churn::new(stages.clone(), *share, seats))
                }
                Waves::Calm | Waves::Reconnects(_) => None,
            },
            unproven: None,
            recorder: Recorder::new(Measure::Connect, plan.interval),
            violations: Violations::default(),
            is_broken: false,
            plan,
        }
    }

    /// The next wave, when everybody is back from the last, on all workers.
    fn reconnect(&mut self, barrier: &Barrier, cx: &mut Cx<'_>) {
        if self.opening.is_done() && !std::mem::replace(&mut self.has_arrived, true) {
            self.arrive(barrier, cx);
        }
        let Some(began) = barrier.began(self.waves + 1) else {
            return;
        };
        self.waves += 1;
        self.has_arrived = false;
        for seat in 0..self.plan.seats {
            self.leave(seat, cx);
        }
        self.opening.come_back(0..self.plan.seats, began);
    }

    fn arrive(&mut self, barrier: &Barrier, cx: &mut Cx<'_>) {
        let Some(complete) = barrier.arrive(cx.now) else {
            return;
        };
        if let Some((began, ended)) = complete.wave {
            self.recorder.completed_round(began, ended);
        }
        let others = barrier.others(self.plan.worker);
        cx.effects
            .extend(others.map(|worker| Effect::Wake { worker }));
    }

    /// One after the other leaves who was due until then, and comes back at once.
    fn churn(&mut self, until: Nanos, cx: &mut Cx<'_>) -> Option<Nanos> {
        let mut churn = self.churn.take()?;
        while let Some(leave) = churn.next(until, |seat| self.is_live[seat]) {
            self.leave(leave.seat, cx);
            self.opening
                .retry(leave.seat, leave.was_to(cx.now), leave.due);
        }
        let due = churn.due();
        self.churn = Some(churn);
        due
    }

    fn leave(&mut self, seat: usize, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.is_live[seat]) {
            self.live -= 1;
            cx.effects.push(Effect::Close { seat });
        }
    }

    fn probe(&mut self, cx: &mut Cx<'_>) {
        let step = self.plan.seats.div_ceil(PROBED).max(1);
        let seats = (0..self.plan.seats).step_by(step);
        let live: Vec<_> = seats.filter(|seat| self.is_live[*seat]).collect();
        self.unproven = Some(live.len());
        cx.effects
            .extend(live.into_iter().map(|seat| Effect::Probe { seat }));
    }

    fn break_off(&mut self, seat: usize, kind: Kind, why: String) {
        if std::mem::take(&mut self.is_live[seat]) {
            self.live -= 1;
        }
        self.violations.add(kind, 1, || why);
        self.is_broken = true;
        if let Waves::Reconnects(barrier) = &self.plan.waves {
            barrier.break_off();
        }
    }
}

impl Traffic for Crowd {
    fn handle(&mut self, seat: usize, input: Input<'_>, cx: &mut Cx<'_>) {
        match input {
            Input::Live { due, late } => {
                self.opening.ended();
                self.is_live[seat] = true;
                self.live += 1;
                match self.plan.waves {
                    Waves::Calm => self.recorder.connected(due, late, cx.now),
                    _ => self.recorder.came_back(due, late, cx.now),
                }
            }
            Input::Refused {
                due,
                retry_after: Some(after),
                ..
            } => {
                self.opening.ended();
                self.opening.retry(seat, cx.now + after, due);
                self.recorder.record.counters.deferred += 1;
            }
            Input::Refused { why, .. } => {
                self.opening.ended();
                self.break_off(seat, Kind::Refused, why);
            }
            Input::Gone { why } => self.break_off(seat, Kind::Closed, why),
            Input::Pong => self.unproven = self.unproven.map(|left| left.saturating_sub(1)),
            Input::Delivery { .. } | Input::Other(_) if self.plan.is_lenient => {}
            Input::Delivery { content, .. } => {
                let text = String::from_utf8_lossy(content).into_owned();
                self.violations.add(Kind::Foreign, 1, || text);
            }
            Input::Other(what) => self.violations.add(Kind::Foreign, 1, || what),
            Input::Answer { .. } | Input::PresenceState(_) | Input::PresenceDiff(_) => {}
        }
    }

    fn tick(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        if self.recorder.ends_measuring(cx.phase) && !self.is_broken {
            self.churn(cx.now.saturating_sub(1), cx);
        }
        self.recorder.advance(cx.phase, cx.now);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.opening.begin(0..self.plan.seats, cx.now);
        }
        let mut churning = None;
        if cx.phase == Phase::Measure && !self.is_broken {
            match &self.plan.waves {
                Waves::Calm => {}
                Waves::Reconnects(barrier) => self.reconnect(&Arc::clone(barrier), cx),
                Waves::Churn(..) => churning = self.churn(cx.now, cx),
            }
        }
        let opening = self.opening.tick(cx.now, cx.effects);
        if cx.phase == Phase::Drain && self.unproven.is_none() && self.opening.is_done() {
            self.probe(cx);
        }
        [opening, churning].into_iter().flatten().min()
    }

    fn status(&self, _cx: &Cx<'_>) -> Status {
        let is_over = match &self.plan.waves {
            Waves::Reconnects(barrier) => barrier.is_over(),
            Waves::Calm | Waves::Churn(..) => false,
        };
        let shown = self.recorder.shown();
        Status {
            live: self.live,
            messages: shown.messages,
            deliveries: shown.deliveries,
            p99: shown.p99,
            is_ready: self.is_broken || self.live == self.plan.seats,
            is_finished: self.is_broken || is_over,
            is_settled: self.is_broken || (self.unproven == Some(0) && self.opening.is_done()),
        }
    }

    fn finish(mut self: Box<Self>, _end: End) -> Record {
        if let Some(silent @ 1..) = self.unproven {
            let example = || format!("{silent} sockets did not answer a ping");
            self.violations.add(Kind::Closed, silent as u64, example);
        }
        let absent = (self.plan.seats - self.live) as u64;
        if absent > 0 && !self.is_broken {
            let example = || format!("{absent} sockets did not come back");
            self.violations.add(Kind::Refused, absent, example);
        }
        let mut record = self.recorder.finish();
        record.broke_off = self.is_broken;
        record.counters.sockets = self.plan.seats as u64;
        record.counters.owed = self.churn.as_ref().map_or(0, Churn::owed);
        record.violations = self.violations;
        record
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::SECOND;

    fn reconnects(waves: u32) -> Waves {
        Waves::Reconnects(Arc::new(Barrier::new(1, waves)))
    }

    struct Script {
        crowd: Box<Crowd>,
        now: Nanos,
        phase: Phase,
    }

    impl Script {
        fn new(waves: Waves) -> Self {
            Self::on(0, waves)
        }

        fn on(worker: usize, waves: Waves) -> Self {
            let plan = CrowdPlan {
                worker,
                is_lenient: false,
                seats: 3,
                opening: Pacing::AtMost {
                    first: 10,
                    again: 10,
                },
                waves,
                interval: SECOND,
            };
            let crowd = Box::new(Crowd::new(plan));
            let (now, phase) = (1, Phase::Connect);
            let mut script = Self { crowd, now, phase };
            script.come(&[0, 1, 2]);
            assert!(script.status().is_ready);
            script
        }

        fn tick(&mut self) -> Vec<Effect> {
            let mut effects = Vec::new();
            let mut cx = Cx {
                now: self.now,
                phase: self.phase,
                effects: &mut effects,
            };
            self.crowd.tick(&mut cx);
            effects
        }

        fn input(&mut self, seat: usize, input: Input<'_>) {
            let mut cx = Cx {
                now: self.now,
                phase: self.phase,
                effects: &mut Vec::new(),
            };
            self.crowd.handle(seat, input, &mut cx);
        }

        fn status(&self) -> Status {
            self.crowd.status(&Cx {
                now: self.now,
                phase: self.phase,
                effects: &mut Vec::new(),
            })
        }

        /// These are connected in this tick, and join.
        fn come(&mut self, expected: &[usize]) {
            self.come_due(expected, 0);
        }

        /// They were due then, or later.
        fn come_due(&mut self, expected: &[usize], at: Nanos) {
            let opened: Vec<_> = self
                .tick()
                .into_iter()
                .filter_map(|effect| match effect {
                    Effect::Open { seat, due, .. } => Some((seat, due)),
                    _ => None,
                })
                .collect();
            let seats: Vec<_> = opened.iter().map(|(seat, _)| *seat).collect();
            assert_eq!(seats, expected);
            for (seat, due) in opened {
                assert!(due >= at, "{seat}: {due}");
                self.input(seat, Input::Live { due, late: 0 });
            }
        }
    }

    #[test]
    fn all_leave_and_come_back() {
        let mut script = Script::new(reconnects(2));
        script.phase = Phase::Measure;
        for _ in 0..2 {
            assert!(!script.status().is_finished);
            script.now += SECOND;
            script.come(&[0, 1, 2]);
        }
        script.come(&[]);
        assert!(script.status().is_finished);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.counters.connects, 9);
        assert_eq!(record.counters.rounds, 2);
        assert!(record.violations.is_empty());
    }

    #[test]
    fn a_wave_is_one_for_all_workers() {
        let barrier = Arc::new(Barrier::new(2, 2));
        let script = |worker| Script::on(worker, Waves::Reconnects(Arc::clone(&barrier)));
        let (mut fast, mut slow) = (script(0), script(1));
        (fast.phase, slow.phase) = (Phase::Measure, Phase::Measure);
        assert_eq!(fast.tick(), [], "it waits for the other");
        let mut begun = 5;
        for wave in 1..=2 {
            slow.now = begun;
            let effects = slow.tick();
            assert!(effects.contains(&Effect::Wake { worker: 0 }), "{effects:?}");
            assert!(effects.contains(&Effect::Close { seat: 2 }), "{effects:?}");
            // The others' wave is the same, and due when it began.
            fast.now = begun + 3;
            fast.come_due(&[0, 1, 2], begun);
            fast.now = begun + 10;
            assert_eq!(fast.tick(), [], "wave {wave} is not over");
            assert!(!fast.status().is_finished && !slow.status().is_finished);
            begun += SECOND;
            slow.now = begun;
            for seat in 0..3 {
                let (due, late) = (begun - SECOND, 0);
                slow.input(seat, Input::Live { due, late });
            }
        }
        slow.tick();
        assert!(fast.status().is_finished && slow.status().is_finished);
        let mut sum = fast.crowd.finish(End::InTime);
        sum.add(&slow.crowd.finish(End::InTime));
        assert!(sum.violations.is_empty());
        assert_eq!((sum.counters.connects, sum.counters.rounds), (18, 2));
        let rounds = &sum.latencies[&Measure::Round];
        assert_eq!(rounds.count(), 2);
        assert!((rounds.quantile_us(0.0) / 1e6 - 1.0).abs() < 0.01, "of all");
    }

    #[test]
    fn who_broke_off_is_not_waited_for() {
        let barrier = Arc::new(Barrier::new(2, 2));
        let script = |worker| Script::on(worker, Waves::Reconnects(Arc::clone(&barrier)));
        let (mut one, mut other) = (script(0), script(1));
        (one.phase, other.phase) = (Phase::Measure, Phase::Measure);
        one.tick();
        let why = "closed".to_owned();
        other.input(1, Input::Gone { why });
        assert_eq!(one.tick(), []);
        assert!(one.status().is_finished && other.status().is_finished);
    }

    #[test]
    fn the_calm_before_is_not_the_storm() {
        let mut script = Script::new(reconnects(1));
        script.phase = Phase::Measure;
        script.now += SECOND;
        script.come(&[0, 1, 2]);
        script.come(&[]);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.counters.connects, 6);
        assert_eq!(record.latencies[&Measure::Connect].count(), 3);
    }

    #[test]
    fn one_after_the_other_leaves() {
        let share = Share { which: 0, of: 1 };
        let mut script = Script::new(Waves::Churn("2".parse().unwrap(), share));
        script.phase = Phase::Measure;
        script.come(&[0]);
        script.now += SECOND;
        script.come(&[1, 2]);
        assert_eq!(script.crowd.finish(End::InTime).counters.connects, 6);
    }

    #[test]
    fn the_generator_is_late_where_nobody_else_is() {
        let share = Share { which: 0, of: 1 };
        let mut script = Script::new(Waves::Churn("2".parse().unwrap(), share));
        script.phase = Phase::Measure;
        let begin = script.now;
        let opened = |script: &mut Script| {
            let effects = script.tick().into_iter();
            let opened = effects.filter_map(|effect| match effect {
                Effect::Open { seat, due, at } => Some((seat, due - begin, at - begin)),
                _ => None,
            });
            opened.collect::<Vec<_>>()
        };
        let half = SECOND / 2;
        assert_eq!(opened(&mut script), [(0, 0, 0)]);
        // It was busy with something else for a second: two were to leave meanwhile.
        script.now += SECOND;
        let late = opened(&mut script);
        assert_eq!(late, [(1, half, half), (2, SECOND, SECOND)]);
        // All three are on their way back for two seconds more, which is the server's delay.
        script.now += 2 * SECOND;
        assert_eq!(opened(&mut script), []);
        let (due, late) = (begin, SECOND / 4);
        script.input(0, Input::Live { due, late });
        assert_eq!(opened(&mut script), [(0, 3 * half, 3 * SECOND)]);
        let record = script.crowd.finish(End::InTime);
        let late = &record.latencies[&Measure::LateConnect];
        assert_eq!(late.count(), 1, "not how all came in the beginning");
        assert!((late.max_us() / 0.25e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn who_was_due_when_the_measured_time_ends_leaves_late() {
        let share = Share { which: 0, of: 1 };
        let mut script = Script::new(Waves::Churn("2".parse().unwrap(), share));
        script.phase = Phase::Measure;
        script.come(&[0]);
        script.now += SECOND;
        script.phase = Phase::Drain;
        let due = script.now - SECOND / 2;
        script.come_due(&[1], due);
        script.now += SECOND;
        script.come(&[]);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.counters.owed, 0);
        let back = &record.latencies[&Measure::Connect];
        assert_eq!(back.count(), 2);
        assert!((back.max_us() / 0.5e6 - 1.0).abs() < 0.01, "it left late");
    }

    #[test]
    fn who_could_not_leave_in_time_comes_back_late() {
        let share = Share { which: 0, of: 1 };
        let mut script = Script::new(Waves::Churn("2".parse().unwrap(), share));
        script.phase = Phase::Measure;
        let begin = script.now;
        let open = |effects: Vec<Effect>| {
            let opened = effects.into_iter().filter_map(|effect| match effect {
                Effect::Open { seat, due, .. } => Some((seat, due - begin)),
                _ => None,
            });
            opened.collect::<Vec<_>>()
        };
        // All three leave, and the server keeps them waiting for three seconds.
        let half = SECOND / 2;
        let mut first = open(script.tick());
        script.now += SECOND;
        first.extend(open(script.tick()));
        assert_eq!(first, [(0, 0), (1, half), (2, SECOND)]);
        script.now += 2 * SECOND;
        assert_eq!(open(script.tick()), []);
        for (seat, due) in first {
            let due = begin + due;
            script.input(seat, Input::Live { due, late: 0 });
        }
        let owed = open(script.tick());
        assert_eq!(owed, [(0, 3 * half), (1, 4 * half), (2, 5 * half)]);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.counters.owed, 1, "due after three seconds");
    }

    #[test]
    fn a_refusal_is_a_fault_unless_the_server_names_a_time() {
        let mut script = Script::new(reconnects(1));
        script.phase = Phase::Measure;
        let opened = script.tick();
        assert!(opened.contains(&Effect::Close { seat: 1 }));
        let due = script.now;
        for (seat, retry_after) in [(0, Some(SECOND)), (1, Some(SECOND)), (2, None)] {
            let why = "503".to_owned();
            script.input(
                seat,
                Input::Refused {
                    why,
                    due,
                    retry_after,
                },
            );
        }
        assert_eq!(script.tick(), []);
        script.now += SECOND;
        script.come(&[0, 1]);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.counters.deferred, 2);
        assert_eq!(record.violations.count(Kind::Refused), 1);
    }

    #[test]
    fn in_the_end_the_sockets_are_asked() {
        let mut script = Script::new(Waves::Calm);
        script.phase = Phase::Drain;
        assert_eq!(script.tick().len(), 3);
        for seat in [0, 2] {
            script.input(seat, Input::Pong);
        }
        assert!(!script.status().is_settled);
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.violations.count(Kind::Closed), 1);
    }

    #[test]
    fn silence_is_checked() {
        let mut script = Script::new(Waves::Calm);
        script.input(
            0,
            Input::Delivery {
                content: b"x",
                seq: None,
            },
        );
        let why = "closed".to_owned();
        script.input(1, Input::Gone { why });
        let record = script.crowd.finish(End::InTime);
        assert_eq!(record.violations.count(Kind::Foreign), 1);
        assert_eq!(record.violations.count(Kind::Closed), 1);
    }
}
