//! People come to a topic that shows who is there, leave it and come back; observers see each of
//! them, and in the end exactly those who are there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    clock::Nanos,
    engine::Phase,
    record::{Measure, Record, Recorder},
    stages::{Share, Stages},
    traffic::{Churn, Cx, Effect, End, Input, Opening, Pacing, Status, Traffic},
    violations::{Kind, Violations},
};

/// One worker's part.
#[derive(Debug, Clone)]
pub(crate) struct PresencePlan {
    /// The people of this worker's seats, as numbers of the stage.
    pub(crate) people: Vec<usize>,
    /// The first so many people observe, and stay.
    pub(crate) observers: usize,
    pub(crate) opening: Pacing,
    /// How many leave and come back each second.
    pub(crate) churn: Stages,
    pub(crate) share: Share,
    pub(crate) interval: Nanos,
}

/// What is true, for all workers.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The number of the person whom the server calls so.
    numbers: HashMap<String, usize>,
    people: Vec<Person>,
}

#[derive(Debug, Default)]
struct Person {
    is_there: AtomicBool,
    /// When each of its connections was due, one after the other; at the same moment the one
    /// before was due to go. Observers may be several connections behind.
    dues: Mutex<Vec<Nanos>>,
}

impl Person {
    fn due(&self, connection: usize) -> Option<Nanos> {
        self.dues.lock().get(connection).copied()
    }
}

impl Stage {
    pub(crate) fn new(users: impl Iterator<Item = String>) -> Self {
        let numbers: HashMap<String, usize> = users.zip(0..).collect();
        let people = (0..numbers.len()).map(|_| Person::default()).collect();
        Self { numbers, people }
    }
}

/// One connection's entry of a person.
#[derive(Deserialize)]
struct Meta {
    phx_ref: String,
}

#[derive(Deserialize)]
struct Entry {
    metas: Vec<Meta>,
}

#[derive(Deserialize)]
struct Diff {
    #[serde(default)]
    joins: HashMap<String, Entry>,
    #[serde(default)]
    leaves: HashMap<String, Entry>,
}

/// What an observer sees.
#[derive(Debug, Default)]
struct View(BTreeMap<String, Seen>);

/// What an observer has seen of one person.
#[derive(Debug, Default)]
struct Seen {
    /// The refs of the connections by which it is there now.
    refs: Vec<String>,
    /// So many of its connections have come.
    came: usize,
    /// And so many have gone.
    went: usize,
}

impl View {
    /// Those who are shown.
    fn people(&self) -> impl Iterator<Item = &String> {
        let shown = self.0.iter().filter(|(_, seen)| !seen.refs.is_empty());
        shown.map(|(user, _)| user)
    }

    fn shows(&self, user: &str) -> bool {
        self.0.get(user).is_some_and(|seen| !seen.refs.is_empty())
    }

    /// All who are there when the observer comes: nobody has left before.
    fn replace(&mut self, state: HashMap<String, Entry>) {
        self.0.clear();
        self.join(state, |_, _| {});
    }

    /// Calls `on` for each new connection, with the number of those of that person before.
    fn join(&mut self, joins: HashMap<String, Entry>, mut on: impl FnMut(&str, usize)) {
        for (user, entry) in joins {
            let seen = self.0.entry(user.clone()).or_default();
            for Meta { phx_ref } in entry.metas {
                if !seen.refs.contains(&phx_ref) {
                    seen.refs.push(phx_ref);
                    on(&user, seen.came);
                    seen.came += 1;
                }
            }
        }
    }

    /// Calls `on` for each connection that has gone, with the number of those before.
    fn leave(&mut self, leaves: HashMap<String, Entry>, mut on: impl FnMut(&str, usize)) {
        for (user, entry) in leaves {
            let Some(seen) = self.0.get_mut(&user) else {
                continue;
            };
            for Meta { phx_ref } in entry.metas {
                if let Some(at) = seen.refs.iter().position(|kept| *kept == phx_ref) {
                    seen.refs.remove(at);
                    on(&user, seen.went);
                    seen.went += 1;
                }
            }
        }
    }
}

/// The people and observers on one worker.
pub(crate) struct Presence {
    plan: PresencePlan,
    stage: Arc<Stage>,
    /// Of the seats that observe.
    views: HashMap<usize, View>,
    opening: Opening,
    is_live: Vec<bool>,
    live: usize,
    has_begun: bool,
    churn: Churn,
    recorder: Recorder,
    violations: Violations,
    is_broken: bool,
}

impl Presence {
    pub(crate) fn new(plan: PresencePlan, stage: Arc<Stage>) -> Self {
        let seats = 0..plan.people.len();
        let (observing, leaving): (Vec<_>, Vec<_>) =
            seats.partition(|seat| plan.people[*seat] < plan.observers);
        let views = observing.into_iter().map(|seat| (seat, View::default()));
        Self {
            views: views.collect(),
            churn: Churn::new(plan.churn.clone(), plan.share, leaving),
            stage,
            opening: Opening::new(plan.opening.clone()),
            is_live: vec![false; plan.people.len()],
            live: 0,
            has_begun: false,
            recorder: Recorder::new(Measure::Presence, plan.interval),
            violations: Violations::default(),
            is_broken: false,
            plan,
        }
    }

    fn person(&self, seat: usize) -> &Person {
        &self.stage.people[self.plan.people[seat]]
    }

    fn observe(&mut self, seat: usize, diff: &RawValue, now: Nanos) {
        let Some(view) = self.views.get_mut(&seat) else {
            return;
        };
        let diff: Diff = match serde_json::from_str(diff.get()) {
            Ok(diff) => diff,
            Err(error) => {
                let example = || format!("{error}: {diff}");
                return self.violations.add(Kind::Presence, 1, example);
            }
        };
        let (stage, recorder) = (&self.stage, &mut self.recorder);
        let due = |user: &str, connection| {
            let number = stage.numbers.get(user)?;
            stage.people[*number].due(connection)
        };
        // As phoenix.js does: who comes and goes in one diff is there in between.
        view.join(diff.joins, |user, came| {
            if let Some(due) = due(user, came) {
                recorder.seen_present(due, now);
            }
        });
        view.leave(diff.leaves, |user, went| {
            if let Some(due) = due(user, went + 1) {
                recorder.seen_gone(due, now);
            }
        });
    }

    fn replace(&mut self, seat: usize, state: &RawValue) {
        let Some(view) = self.views.get_mut(&seat) else {
            return;
        };
        match serde_json::from_str(state.get()) {
            Ok(state) => view.replace(state),
            Err(error) => self
                .violations
                .add(Kind::Presence, 1, || format!("{error}: {state}")),
        }
    }

    /// People leave who were due until then by the schedule, and come back at once; observers stay.
    fn churn(&mut self, until: Nanos, cx: &mut Cx<'_>) -> Option<Nanos> {
        while let Some(leave) = self.churn.next(until, |seat| self.is_live[seat]) {
            let (seat, due) = (leave.seat, leave.due);
            self.is_live[seat] = false;
            self.live -= 1;
            let person = self.person(seat);
            person.is_there.store(false, Ordering::Release);
            person.dues.lock().push(due);
            match leave.was_owed {
                // The server's delay, and not the generator's.
                true => self.recorder.sent(),
                false => self.recorder.sent_on_schedule(due, cx.now),
            }
            cx.effects.push(Effect::Close { seat });
            self.opening.retry(seat, leave.was_to(cx.now), due);
        }
        self.churn.due()
    }

    /// Connects who is due; returns when more will be.
    fn open(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        let before = cx.effects.len();
        let next = self.opening.tick(cx.now, cx.effects);
        for effect in &cx.effects[before..] {
            if let Effect::Open { seat, due, .. } = *effect {
                let mut dues = self.person(seat).dues.lock();
                if dues.is_empty() {
                    dues.push(due);
                }
            }
        }
        next
    }

    fn break_off(&mut self, seat: usize, kind: Kind, why: String) {
        if std::mem::take(&mut self.is_live[seat]) {
            self.live -= 1;
        }
        self.violations.add(kind, 1, || why);
        self.is_broken = true;
    }

    /// People whom a view shows wrongly: missing, and not there.
    fn differences(&self, view: &View) -> (Vec<&str>, Vec<String>) {
        let is_there = |number: usize| self.stage.people[number].is_there.load(Ordering::Acquire);
        let missing = self
            .stage
            .numbers
            .iter()
            .filter(|(user, number)| is_there(**number) && !view.shows(user))
            .map(|(user, _)| user.as_str());
        let ghosts = view.people().filter(|user| {
            let number = self.stage.numbers.get(*user);
            !number.is_some_and(|number| is_there(*number))
        });
        (missing.collect(), ghosts.cloned().collect())
    }

    fn sees_the_truth(&self) -> bool {
        self.views.values().all(|view| {
            let (missing, ghosts) = self.differences(view);
            missing.is_empty() && ghosts.is_empty()
        })
    }
}

impl Traffic for Presence {
    fn handle(&mut self, seat: usize, input: Input<'_>, cx: &mut Cx<'_>) {
        match input {
            Input::Live { due, late } => {
                self.opening.ended();
                self.is_live[seat] = true;
                self.live += 1;
                self.person(seat).is_there.store(true, Ordering::Release);
                self.recorder.came_back(due, late, cx.now);
            }
            Input::PresenceDiff(diff) => self.observe(seat, diff, cx.now),
            Input::PresenceState(state) => self.replace(seat, state),
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
            Input::Gone { why } => self.break_off(seat, Kind::Closed, why),
            Input::Delivery { content, .. } => {
                let text = String::from_utf8_lossy(content).into_owned();
                self.violations.add(Kind::Foreign, 1, || text);
            }
            Input::Other(_) | Input::Answer { .. } | Input::Pong => {}
        }
    }

    fn tick(&mut self, cx: &mut Cx<'_>) -> Option<Nanos> {
        if self.recorder.ends_measuring(cx.phase) && !self.is_broken {
            self.churn(cx.now.saturating_sub(1), cx);
        }
        self.recorder.advance(cx.phase, cx.now);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.opening.begin(0..self.plan.people.len(), cx.now);
        }
        let is_measured = cx.phase == Phase::Measure && !self.is_broken;
        let churning = is_measured.then(|| self.churn(cx.now, cx)).flatten();
        let opening = self.open(cx);
        [opening, churning].into_iter().flatten().min()
    }

    fn status(&self, cx: &Cx<'_>) -> Status {
        let is_done = self.opening.is_done() && self.live == self.plan.people.len();
        let shown = self.recorder.shown();
        Status {
            live: self.live,
            messages: shown.messages,
            deliveries: shown.deliveries,
            p99: shown.p99,
            is_ready: self.is_broken || is_done,
            is_finished: self.is_broken,
            is_settled: self.is_broken
                || (cx.phase > Phase::Measure && is_done && self.sees_the_truth()),
        }
    }

    fn finish(mut self: Box<Self>, _end: End) -> Record {
        for view in self.views.values().filter(|_| !self.is_broken) {
            let (missing, ghosts) = self.differences(view);
            let wrong = missing.len() + ghosts.len();
            if wrong > 0 {
                let example = || {
                    let some = |people: Vec<&str>| people[..people.len().min(3)].join(", ");
                    let ghosts = ghosts.iter().map(String::as_str).collect();
                    format!("not shown: {}; not there: {}", some(missing), some(ghosts))
                };
                let mut found = Violations::default();
                found.add(Kind::Presence, wrong as u64, example);
                self.violations.merge(&found);
            }
        }
        let mut record = self.recorder.finish();
        record.broke_off = self.is_broken;
        record.counters.sockets = self.plan.people.len() as u64;
        record.counters.owed = self.churn.owed();
        record.violations = self.violations;
        record
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json, value::to_raw_value};

    use super::*;
    use crate::clock::SECOND;

    /// People, each by one connection of this ref.
    type Shown<'a> = [(&'a str, &'a str)];

    fn entries(shown: &Shown<'_>) -> Value {
        let entry = |(user, phx_ref): &(&str, &str)| {
            let metas = json!([{ "phx_ref": phx_ref }]);
            ((*user).to_owned(), json!({ "metas": metas }))
        };
        Value::Object(shown.iter().map(entry).collect())
    }

    fn state(shown: &Shown<'_>) -> Box<RawValue> {
        to_raw_value(&entries(shown)).unwrap()
    }

    fn diff(joins: &Shown<'_>, leaves: &Shown<'_>) -> Box<RawValue> {
        let diff = json!({ "joins": entries(joins), "leaves": entries(leaves) });
        to_raw_value(&diff).unwrap()
    }

    fn presence() -> Box<Presence> {
        let users = ["a", "b", "c"].map(str::to_owned).into_iter();
        let plan = PresencePlan {
            people: vec![0, 1, 2],
            observers: 1,
            opening: Pacing::AtMost { first: 9, again: 9 },
            churn: "1".parse().unwrap(),
            share: Share { which: 0, of: 1 },
            interval: SECOND,
        };
        Box::new(Presence::new(plan, Arc::new(Stage::new(users))))
    }

    fn cx(now: Nanos, phase: Phase, effects: &mut Vec<Effect>) -> Cx<'_> {
        Cx {
            now,
            phase,
            effects,
        }
    }

    /// All three have come, and these are shown to the observer, which is the first.
    fn begun(shown: &Shown<'_>) -> Box<Presence> {
        let (mut presence, mut effects) = (presence(), Vec::new());
        let mut now = cx(1, Phase::Connect, &mut effects);
        presence.tick(&mut now);
        for seat in 0..3 {
            presence.handle(seat, Input::Live { due: 1, late: 0 }, &mut now);
        }
        presence.handle(0, Input::PresenceState(&state(shown)), &mut now);
        presence
    }

    /// In this second of the measured time: who is due leaves, and comes back at once. Who left.
    fn pass(presence: &mut Presence, second: u64) -> Vec<usize> {
        pass_in(Phase::Measure, presence, second)
    }

    fn pass_in(phase: Phase, presence: &mut Presence, second: u64) -> Vec<usize> {
        let (mut effects, mut left) = (Vec::new(), Vec::new());
        let mut now = cx(second * SECOND, phase, &mut effects);
        presence.tick(&mut now);
        for effect in std::mem::take(now.effects) {
            match effect {
                Effect::Close { seat } => left.push(seat),
                Effect::Open { seat, due, .. } => {
                    presence.handle(seat, Input::Live { due, late: 0 }, &mut now);
                }
                _ => {}
            }
        }
        left
    }

    #[test]
    fn an_observer_sees_who_is_there() {
        let (mut presence, mut effects) = (begun(&[("a", "1")]), Vec::new());
        let come = diff(&[("b", "2"), ("c", "3")], &[]);
        let mut now = cx(1, Phase::Connect, &mut effects);
        presence.handle(0, Input::PresenceDiff(&come), &mut now);
        let status = presence.status(&cx(2, Phase::Drain, &mut Vec::new()));
        assert!(status.is_settled);

        // The observer stays; the next one leaves and comes back, and the diff says so.
        let mut effects = Vec::new();
        let mut now = cx(SECOND, Phase::Measure, &mut effects);
        presence.tick(&mut now);
        assert!(now.effects.contains(&Effect::Close { seat: 1 }));
        now.now = 2 * SECOND;
        let (due, late) = (SECOND, 0);
        presence.handle(1, Input::Live { due, late }, &mut now);
        let back = diff(&[("b", "4")], &[("b", "2")]);
        presence.handle(0, Input::PresenceDiff(&back), &mut now);
        assert!(presence.sees_the_truth());
        let record = presence.finish(End::InTime);
        assert!(record.violations.is_empty());
        let seen = &record.latencies[&Measure::Presence];
        assert_eq!(seen.count(), 1, "not how all came in the beginning");
        assert_eq!(record.latencies[&Measure::Gone].count(), 1);
        assert_eq!(record.latencies[&Measure::Connect].count(), 1);
        assert!((seen.max_us() / 1e6 - 1.0).abs() < 0.01, "since it was due");
    }

    #[test]
    fn an_observer_may_be_several_connections_behind() {
        let mut presence = begun(&[("a", "1"), ("b", "2"), ("c", "3")]);
        // One leaves each second, and comes back at once; for four seconds no diff comes.
        for second in 1..=4 {
            pass(&mut presence, second);
        }
        let mut effects = Vec::new();
        let mut now = cx(5 * SECOND, Phase::Drain, &mut effects);
        presence.tick(&mut now);
        for (join, leave) in [("4", "2"), ("5", "4")] {
            let back = diff(&[("b", join)], &[("b", leave)]);
            presence.handle(0, Input::PresenceDiff(&back), &mut now);
        }
        let record = presence.finish(End::InTime);
        let near = |us: f64, seconds: f64| (us / 1e6 / seconds - 1.0).abs() < 0.01;
        for measure in [Measure::Presence, Measure::Gone] {
            let seen = &record.latencies[&measure];
            assert_eq!(seen.count(), 2);
            // Due after one second and after three.
            assert!(near(seen.max_us(), 4.0) && near(seen.quantile_us(0.5), 2.0));
        }
    }

    #[test]
    fn every_tick_of_the_schedule_is_a_leave() {
        let mut presence = begun(&[]);
        let left: Vec<_> = (1..=30)
            .flat_map(|second| pass(&mut presence, second))
            .collect();
        assert_eq!(left.len(), 30);
        assert!(!left.contains(&0), "observers stay");
        let record = presence.finish(End::InTime);
        assert_eq!((record.counters.messages, record.counters.owed), (30, 0));
    }

    #[test]
    fn who_was_due_when_the_measured_time_ends_leaves_late() {
        let mut presence = begun(&[]);
        assert_eq!(pass(&mut presence, 1), [1]);
        assert_eq!(pass_in(Phase::Drain, &mut presence, 3), [2]);
        assert_eq!(pass_in(Phase::Drain, &mut presence, 9), Vec::<usize>::new());
        let record = presence.finish(End::InTime);
        assert_eq!((record.counters.messages, record.counters.owed), (2, 0));
    }

    #[test]
    fn ghosts_and_missing_people_are_found() {
        let presence = begun(&[("a", "1"), ("b", "2"), ("z", "3")]);
        let record = presence.finish(End::InTime);
        assert_eq!(record.violations.count(Kind::Presence), 2);
        let (_, broken) = record.violations.iter().next().unwrap();
        assert_eq!(broken.examples, ["not shown: c; not there: z"]);
    }
}
