//! What is counted and timed during a run. Each worker has a recorder for each part of the plan;
//! their records add up, as do those of several generators.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Nanos,
    engine::Phase,
    histogram::{Buckets, Latencies},
    violations::Violations,
};

/// A time that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// From the moment a message was due until a member has it.
    Delivery,
    /// From the moment a round of messages was sent until all members have all of them.
    Round,
    /// From the moment a message was due until its acknowledgement.
    Ack,
    /// From the moment a connection was due until it has joined. Where sockets come back, of those
    /// only.
    Connect,
    /// From the moment a connection was due until an observer sees its person present.
    Presence,
    /// From the moment a connection was due to end until an observer sees that it has.
    Gone,
    /// How late the generator was: from the moment a message was due until it was sent.
    Late,
    /// As much for connections: from the moment the generator was to connect (when the connection
    /// was due, or when there was a place for it) until it did. Of the connections of `Connect`.
    LateConnect,
}

/// What one part of a plan did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was counted.
    pub counters: Counters,
    /// What was timed, for messages that were due in the measured time (connections: always, save
    /// where coming back is what is measured).
    pub latencies: BTreeMap<Measure, Latencies>,
    /// The course of the run, from its first connection on.
    pub intervals: Vec<Interval>,
    /// What the server broke.
    pub violations: Violations,
    /// A socket was refused or lost, or nothing came for too long: it made no sense to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broke_off: bool,
    /// What members of ordered rooms heard, to be compared across workers.
    #[serde(skip)]
    pub(crate) orders: Vec<HeardOrder>,
}

/// What was counted; messages and deliveries in the measured time only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Sockets that the part holds.
    pub sockets: u64,
    /// Connections that were made and joined, in the whole run.
    pub connects: u64,
    /// Connections that were refused with the request to come back later.
    pub deferred: u64,
    /// Sockets that were to stop reading.
    #[serde(default)]
    pub stalled: u64,
    /// Those of them that the server cut.
    #[serde(default)]
    pub cut: u64,
    /// Times that somebody should have left and come back, and nobody was there who could.
    #[serde(default)]
    pub owed: u64,
    /// Deliveries and acknowledgements, of messages of the whole run, that were under way when a
    /// socket closed or the run was cut short: whether they would have come is not known. What a
    /// later message of the same sender has overtaken is not under way, but lost.
    #[serde(default)]
    pub unknown: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages received.
    pub deliveries: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Rounds completed.
    pub rounds: u64,
}

/// A fraction of the run's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Connections that were made and joined.
    pub connects: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages received.
    pub deliveries: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// The part's main latency, of what arrived in this interval.
    pub latencies: Buckets,
}

/// The order in which a member heard the messages of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeardOrder {
    pub(crate) room: u32,
    pub(crate) digest: u64,
}

impl Record {
    pub(crate) fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        for (measure, latencies) in &other.latencies {
            let sum = self.latencies.entry(*measure);
            sum.or_insert_with(Latencies::precise).add(latencies);
        }
        self.add_intervals(&other.intervals, 0);
        self.violations.merge(&other.violations);
        self.broke_off |= other.broke_off;
        self.orders.extend_from_slice(&other.orders);
    }

    /// Adds intervals of a run that began so many intervals later.
    pub(crate) fn add_intervals(&mut self, intervals: &[Interval], later: usize) {
        let needed = later + intervals.len();
        if self.intervals.len() < needed {
            self.intervals.resize(needed, Interval::default());
        }
        for (sum, interval) in self.intervals[later..].iter_mut().zip(intervals) {
            sum.connects += interval.connects;
            sum.messages += interval.messages;
            sum.deliveries += interval.deliveries;
            sum.acknowledged += interval.acknowledged;
            sum.latencies.add(&interval.latencies);
        }
    }
}

impl Counters {
    fn add(&mut self, other: &Self) {
        self.sockets += other.sockets;
        self.connects += other.connects;
        self.deferred += other.deferred;
        self.stalled += other.stalled;
        self.cut += other.cut;
        self.owed += other.owed;
        self.unknown += other.unknown;
        self.messages += other.messages;
        self.deliveries += other.deliveries;
        self.acknowledged += other.acknowledged;
        self.rounds += other.rounds;
    }
}

/// Fills a [`Record`].
#[derive(Debug)]
pub(crate) struct Recorder {
    main: Measure,
    length: Nanos,
    phase: Phase,
    /// The measured time, as far as it is known.
    window: Option<(Nanos, Option<Nanos>)>,
    current: Interval,
    /// The main latency of the current interval.
    recent: Latencies,
    /// What is shown while it runs.
    shown: Shown,
    pub(crate) record: Record,
}

/// What is shown while it runs: counted in all phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shown {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    /// Of the main latency in the last interval that had any.
    pub(crate) p99: Nanos,
}

impl Recorder {
    /// Records intervals of `length`, and in each of them the latency `main`.
    pub(crate) fn new(main: Measure, length: Nanos) -> Self {
        Self {
            main,
            length: length.max(1),
            phase: Phase::Connect,
            window: None,
            current: Interval::default(),
            recent: Latencies::coarse(),
            shown: Shown::default(),
            record: Record::default(),
        }
    }

    /// Time has passed.
    pub(crate) fn advance(&mut self, phase: Phase, now: Nanos) {
        if phase != self.phase {
            self.phase = phase;
            match (phase, self.window) {
                (Phase::Measure, _) => self.window = Some((now, None)),
                (Phase::Drain | Phase::Done, Some((start, None))) => {
                    self.window = Some((start, Some(now)));
                }
                _ => {}
            }
        }
        while (self.record.intervals.len() as u64 + 1) * self.length <= now {
            self.end_interval();
        }
    }

    /// The measured time ends with this phase: what was due in it and has not been done is late.
    pub(crate) fn ends_measuring(&self, phase: Phase) -> bool {
        self.phase == Phase::Measure && phase == Phase::Drain
    }

    fn end_interval(&mut self) {
        let mut interval = std::mem::take(&mut self.current);
        if self.recent.count() > 0 {
            interval.latencies = Buckets::of(&self.recent);
            self.shown.p99 = self.recent.quantile(0.99);
            self.recent.clear();
        }
        self.record.intervals.push(interval);
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown
    }

    pub(crate) fn sent(&mut self) {
        self.current.messages += 1;
        self.shown.messages += 1;
        if self.phase == Phase::Measure {
            self.record.counters.messages += 1;
        }
    }

    /// A message that had its moment was sent.
    pub(crate) fn sent_on_schedule(&mut self, due: Nanos, now: Nanos) {
        self.sent();
        self.time(Measure::Late, due, now);
    }

    pub(crate) fn delivered(&mut self, due: Nanos, now: Nanos) {
        self.current.deliveries += 1;
        self.shown.deliveries += 1;
        if self.phase == Phase::Measure {
            self.record.counters.deliveries += 1;
        }
        self.time(Measure::Delivery, due, now);
    }

    pub(crate) fn acknowledged(&mut self, due: Nanos, now: Nanos) {
        self.current.acknowledged += 1;
        if self.phase == Phase::Measure {
            self.record.counters.acknowledged += 1;
        }
        self.time(Measure::Ack, due, now);
    }

    pub(crate) fn completed_round(&mut self, sent: Nanos, now: Nanos) {
        if self.phase == Phase::Measure {
            self.record.counters.rounds += 1;
        }
        self.time(Measure::Round, sent, now);
    }

    /// A connection was made of those that are there throughout.
    pub(crate) fn connected(&mut self, due: Nanos, late: Nanos, now: Nanos) {
        self.count_connect();
        self.keep(Measure::Connect, now.saturating_sub(due));
        self.keep(Measure::LateConnect, late);
    }

    /// A connection was made where coming back is what is measured: not how all came before.
    pub(crate) fn came_back(&mut self, due: Nanos, late: Nanos, now: Nanos) {
        self.count_connect();
        self.time(Measure::Connect, due, now);
        self.time(Measure::LateConnect, due, due + late);
    }

    fn count_connect(&mut self) {
        self.current.connects += 1;
        self.record.counters.connects += 1;
    }

    pub(crate) fn seen_present(&mut self, due: Nanos, now: Nanos) {
        self.time(Measure::Presence, due, now);
    }

    pub(crate) fn seen_gone(&mut self, due: Nanos, now: Nanos) {
        self.time(Measure::Gone, due, now);
    }

    /// Keeps a time if the message was due in the measured time, whenever it came.
    fn time(&mut self, measure: Measure, due: Nanos, now: Nanos) {
        let latency = now.saturating_sub(due);
        let is_measured = self
            .window
            .is_some_and(|(start, end)| due >= start && end.is_none_or(|end| due < end));
        if is_measured {
            self.keep(measure, latency);
        } else if measure == self.main {
            self.recent.record(latency);
        }
    }

    fn keep(&mut self, measure: Measure, latency: Nanos) {
        if measure == self.main {
            self.recent.record(latency);
        }
        let latencies = self.record.latencies.entry(measure);
        latencies.or_insert_with(Latencies::precise).record(latency);
    }

    /// The record, with the interval that has begun.
    pub(crate) fn finish(mut self) -> Record {
        self.end_interval();
        self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(record: &Record, measure: Measure) -> u64 {
        record.latencies.get(&measure).map_or(0, Latencies::count)
    }

    #[test]
    fn only_what_was_due_in_the_measured_time_counts() {
        let mut recorder = Recorder::new(Measure::Delivery, 100);
        recorder.advance(Phase::Warmup, 50);
        recorder.delivered(50, 60);
        recorder.advance(Phase::Measure, 100);
        recorder.delivered(90, 110);
        recorder.delivered(110, 150);
        recorder.advance(Phase::Drain, 200);
        recorder.delivered(190, 950);
        recorder.delivered(210, 960);
        let record = recorder.finish();
        assert_eq!(count(&record, Measure::Delivery), 2, "due at 110 and 190");
        assert_eq!(record.counters.deliveries, 2, "arrived at 110 and 150");
    }

    #[test]
    fn the_course_of_the_run_is_kept() {
        let mut recorder = Recorder::new(Measure::Delivery, 100);
        for (at, latency) in [(0, 5), (120, 20), (130, 20), (310, 7)] {
            recorder.advance(Phase::Warmup, at);
            recorder.delivered(at - latency.min(at), at);
        }
        let record = recorder.finish();
        let counts: Vec<_> = record.intervals.iter().map(|i| i.deliveries).collect();
        assert_eq!(counts, [1, 2, 0, 1]);
        assert_eq!(record.intervals[1].latencies.quantile_us(1.0), Some(0.02));
        assert_eq!(record.intervals[2].latencies.quantile_us(1.0), None);
    }

    #[test]
    fn records_add_up() {
        let record = |due| {
            let mut recorder = Recorder::new(Measure::Ack, 100);
            recorder.advance(Phase::Measure, 0);
            recorder.sent_on_schedule(due, due + 1);
            recorder.acknowledged(due, due + 9);
            recorder.connected(0, 2, 7);
            recorder.finish()
        };
        let mut sum = record(3);
        sum.add(&record(4));
        sum.add_intervals(&record(5).intervals, 2);
        assert_eq!(sum.counters.messages, 2);
        assert_eq!(sum.counters.connects, 2);
        assert_eq!(count(&sum, Measure::Ack), 2);
        let counts: Vec<_> = sum.intervals.iter().map(|i| i.acknowledged).collect();
        assert_eq!(counts, [2, 0, 1]);
    }
}
