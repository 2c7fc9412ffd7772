//! Plays as scripts: a faithful server in a few lines, and ones that are not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{clock::SECOND, stages::Arrivals};

const MEMBERS: usize = 3;

/// A play of one worker, and a server that can be told to misbehave.
struct Script {
    rooms: Box<Rooms>,
    now: Nanos,
    phase: Phase,
    effects: Vec<Effect>,
}

/// What the server does with one delivery.
#[derive(Clone, Copy, PartialEq)]
enum Treatment {
    Deliver,
    Drop,
    Double,
    Alter,
}

fn script(pace: Pace, rooms: u32, acknowledged: bool) -> Script {
    script_beside(0, pace, rooms, acknowledged)
}

/// With so many seats in the first room that stop reading, behind all others.
fn script_beside(stalled: u32, pace: Pace, rooms: u32, acknowledged: bool) -> Script {
    let plans = vec![
        RoomPlan {
            members: MEMBERS as u32,
            publishers: 2,
            hears_itself: true,
            owner: 0
        };
        rooms as usize
    ];
    let seats = (0..rooms).flat_map(|room| {
        (0..MEMBERS as u32).map(move |member| SeatPlan {
            room,
            publisher: (member < 2).then_some(member),
            stalls: false,
        })
    });
    let seats = seats.chain((0..stalled).map(|_| SeatPlan {
        room: 0,
        publisher: None,
        stalls: true,
    }));
    let plan = RoomsPlan {
        run: 9,
        worker: 0,
        seats: seats.collect(),
        pace,
        opening: Pacing::AtMost {
            first: 100,
            again: 100,
        },
        acknowledged,
        is_lenient: false,
        patience: SECOND,
        interval: SECOND,
        main: Measure::Delivery,
    };
    let mut script = Script {
        rooms: Box::new(Rooms::new(plan, Arc::new(Hall::new(&plans, 1)))),
        now: 1,
        phase: Phase::Connect,
        effects: Vec::new(),
    };
    script.tick();
    for seat in 0..script.rooms.seats.len() {
        script.input(seat, Input::Live { due: 0, late: 0 });
    }
    assert!(script.status().is_ready);
    script.effects.clear();
    script
}

impl Script {
    fn cx(&mut self) -> (&mut Rooms, Cx<'_>) {
        let cx = Cx {
            now: self.now,
            phase: self.phase,
            effects: &mut self.effects,
        };
        (&mut self.rooms, cx)
    }

    fn tick(&mut self) {
        self.next_tick();
    }

    /// When there will be more to do.
    fn next_tick(&mut self) -> Option<Nanos> {
        let (rooms, mut cx) = self.cx();
        rooms.tick(&mut cx)
    }

    fn input(&mut self, seat: usize, input: Input<'_>) {
        let (rooms, mut cx) = self.cx();
        rooms.handle(seat, input, &mut cx);
    }

    fn status(&mut self) -> Status {
        let (rooms, cx) = self.cx();
        rooms.status(&cx)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.tick();
    }

    fn published(&mut self) -> Vec<(usize, u64, Mark)> {
        let effects = std::mem::take(&mut self.effects);
        let published = effects.into_iter().filter_map(|effect| match effect {
            Effect::Publish {
                seat,
                reference,
                mark,
            } => Some((seat, reference, mark)),
            _ => None,
        });
        published.collect()
    }

    /// Delivers to all members of the message's room; `treat` decides for the first of them.
    fn deliver(&mut self, mark: &Mark, treat: Treatment) {
        let mut content = Vec::new();
        mark.write(64, &mut content);
        for member in 0..MEMBERS {
            let seat = mark.room as usize * MEMBERS + member;
            let treat = if member == 0 {
                treat
            } else {
                Treatment::Deliver
            };
            let mut copy = content.clone();
            if treat == Treatment::Alter {
                *copy.last_mut().unwrap() = b'y';
            }
            let times = match treat {
                Treatment::Drop => 0,
                Treatment::Double => 2,
                Treatment::Deliver | Treatment::Alter => 1,
            };
            for _ in 0..times {
                self.hear(seat, &copy, None);
            }
        }
    }

    fn hear(&mut self, seat: usize, content: &[u8], seq: Option<u64>) {
        self.input(seat, Input::Delivery { content, seq });
    }

    fn finish(self) -> Record {
        self.rooms.finish(End::InTime)
    }
}

fn kinds(record: &Record) -> Vec<(Kind, u64)> {
    let kinds = record.violations.iter();
    kinds.map(|(kind, broken)| (kind, broken.count)).collect()
}

#[test]
fn a_round_waits_for_everybody() {
    let mut script = script(Pace::Rounds { in_flight: 2 }, 1, false);
    script.enter(Phase::Measure);
    let first = script.published();
    assert_eq!(first.len(), 2);
    script.now += 1000;
    script.deliver(&first[0].2, Treatment::Deliver);
    script.tick();
    assert_eq!(script.published(), [], "the second has not arrived");
    script.deliver(&first[1].2, Treatment::Deliver);
    script.tick();
    let second = script.published();
    assert_eq!(second[0].0, 1, "the next publisher's turn");
    assert_eq!(second[0].2.n, 1);
    script.now += 1;
    script.enter(Phase::Drain);
    assert!(!script.status().is_settled);
    for (_, _, mark) in &second {
        script.deliver(mark, Treatment::Deliver);
    }
    assert!(script.status().is_settled);
    let record = script.finish();
    assert_eq!(kinds(&record), []);
    assert_eq!(record.counters.messages, 4);
    assert_eq!(record.counters.deliveries, 6, "those of the measured time");
    assert_eq!(record.latencies[&Measure::Delivery].count(), 12);
    assert_eq!(record.latencies[&Measure::Round].count(), 1);
}

#[test]
fn what_the_server_does_wrong_is_found() {
    for (treatment, expected) in [
        (Treatment::Deliver, vec![]),
        (Treatment::Drop, vec![(Kind::Lost, 1)]),
        (Treatment::Double, vec![(Kind::Duplicate, 1)]),
        (Treatment::Alter, vec![(Kind::Lost, 1), (Kind::Altered, 1)]),
    ] {
        let mut script = script(Pace::Rounds { in_flight: 3 }, 1, false);
        script.enter(Phase::Measure);
        let marks: Vec<Mark> = script.published().iter().map(|sent| sent.2).collect();
        script.phase = Phase::Drain;
        script.deliver(&marks[0], Treatment::Deliver);
        script.deliver(&marks[1], treatment);
        script.deliver(&marks[2], Treatment::Deliver);
        assert_eq!(kinds(&script.finish()), expected);
    }
}

#[test]
fn disorder_and_foreign_messages_are_found() {
    let mut script = script(Pace::Rounds { in_flight: 2 }, 2, false);
    script.enter(Phase::Measure);
    let marks: Vec<Mark> = script.published().iter().map(|sent| sent.2).collect();
    script.phase = Phase::Drain;
    for at in [1, 0, 2, 3] {
        script.deliver(&marks[at], Treatment::Deliver);
    }
    let mut other_room = Vec::new();
    marks[2].write(64, &mut other_room);
    script.hear(0, &other_room, None);
    script.hear(0, b"something else", None);
    let found = kinds(&script.finish());
    assert_eq!(found, [(Kind::OutOfOrder, 3), (Kind::Foreign, 2)]);
}

#[test]
fn the_open_loop_counts_from_the_moment_a_message_was_due() {
    let pace = Pace::Open {
        stages: "10:1s".parse().unwrap(),
        arrivals: Arrivals::Even,
        seed: 1,
    };
    let mut script = script(pace, 1, false);
    script.enter(Phase::Measure);
    assert_eq!(script.published().len(), 1, "the first is due at once");
    let start = script.now;
    // The generator is held up for half a second: five messages are late, not left out.
    script.now += SECOND / 2;
    script.tick();
    let late: Vec<Nanos> = script
        .published()
        .iter()
        .map(|sent| sent.2.at - start)
        .collect();
    assert_eq!(late, [1, 2, 3, 4, 5].map(|n| n * SECOND / 10));
    script.now += 10 * SECOND;
    script.tick();
    assert_eq!(script.published().len(), 4);
    assert!(script.status().is_finished);
    let record = script.finish();
    assert!(record.latencies[&Measure::Late].max_us() > 9e6);
}

fn ten_per_second() -> Pace {
    Pace::Open {
        stages: "10".parse().unwrap(),
        arrivals: Arrivals::Even,
        seed: 1,
    }
}

#[test]
fn what_was_due_when_the_measured_time_ends_is_late_and_not_left_out() {
    let mut script = script(ten_per_second(), 1, false);
    script.enter(Phase::Measure);
    let mut sent = script.published();
    assert_eq!(sent.len(), 1);
    let start = script.now;
    // The generator is held up for half a second, in which the measured time ends.
    script.now += SECOND / 2;
    script.enter(Phase::Drain);
    sent.extend(script.published());
    let due: Vec<Nanos> = sent.iter().map(|sent| sent.2.at - start).collect();
    assert_eq!(due, [0, 1, 2, 3, 4].map(|n| n * SECOND / 10));
    assert!(!script.status().is_settled, "they are awaited");
    script.now += SECOND;
    script.tick();
    assert_eq!(script.published(), [], "the measured time is over");
    for (_, _, mark) in &sent {
        script.deliver(mark, Treatment::Deliver);
    }
    assert!(script.status().is_settled);
    let record = script.finish();
    assert_eq!(kinds(&record), []);
    assert_eq!(record.counters.messages, 5);
    assert_eq!(record.latencies[&Measure::Late].count(), 5);
    let delivered = &record.latencies[&Measure::Delivery];
    assert_eq!(delivered.count(), 5 * MEMBERS as u64);
    assert!(delivered.max_us() > 1.49e6, "the first, after 1.5 s");
}

#[test]
fn delays_of_both_sides_are_in_every_percentile() {
    let mut script = script(ten_per_second(), 1, true);
    script.enter(Phase::Measure);
    let mut sent = script.published();
    // The generator sends five of six messages late; then the server stalls for a second.
    script.now += SECOND / 2;
    script.tick();
    sent.extend(script.published());
    assert_eq!(sent.len(), 6);
    script.now += SECOND;
    for ((seat, reference, mark), seq) in sent.into_iter().zip(1..) {
        for member in 0..MEMBERS {
            script.hear(member, &content(&mark), Some(seq));
        }
        script.input(seat, answer(reference, seq));
    }
    let record = script.finish();
    for measure in [Measure::Delivery, Measure::Ack] {
        let latencies = &record.latencies[&measure];
        let quantiles = [0.01, 0.5, 1.0].map(|quantile| latencies.quantile_us(quantile) / 1e6);
        for (found, expected) in quantiles.into_iter().zip([1.0, 1.2, 1.5]) {
            let is_near = (found - expected).abs() < 0.01;
            assert!(is_near, "{measure:?}: {quantiles:?}");
        }
    }
}

#[test]
fn a_sender_waits_for_its_acknowledgement() {
    let mut script = script(Pace::Answers { window: 1 }, 1, true);
    script.enter(Phase::Measure);
    let sent = script.published();
    assert_eq!(sent.len(), 2, "each publisher");
    let (seat, reference, mark) = sent[0];
    script.now += 500;
    script.hear(seat, &content(&mark), Some(4));
    script.input(seat, answer(reference, 4));
    let next = script.published();
    assert_eq!((next.len(), next[0].0, next[0].2.n), (1, seat, 2));
    // The server acknowledges as another entry than it delivers.
    let (_, reference, mark) = next[0];
    script.hear(seat, &content(&mark), Some(5));
    script.input(seat, answer(reference, 6));
    // A refusal is a fault of its own, and nobody waits for the message.
    let (seat, reference, _) = sent[1];
    script.input(
        seat,
        Input::Answer {
            reference,
            outcome: Err("no".to_owned()),
        },
    );
    let record = script.finish();
    assert_eq!(record.counters.acknowledged, 2);
    assert_eq!(record.violations.count(Kind::Altered), 1);
    assert_eq!(record.violations.count(Kind::Refused), 1);
    let digests: Vec<_> = record.orders.iter().map(|order| order.digest).collect();
    assert_eq!(digests[1], digests[2], "both heard nothing");
    assert_ne!(digests[0], digests[1]);
}

fn content(mark: &Mark) -> Vec<u8> {
    let mut content = Vec::new();
    mark.write(64, &mut content);
    content
}

fn answer(reference: u64, seq: u64) -> Input<'static> {
    let outcome = Ok(Answer { seq: Some(seq) });
    Input::Answer { reference, outcome }
}

#[test]
fn seqs_rise() {
    let mut script = script(Pace::Answers { window: 2 }, 1, true);
    script.enter(Phase::Measure);
    let sent = script.published();
    script.hear(2, &content(&sent[0].2), Some(8));
    script.hear(2, &content(&sent[1].2), Some(8));
    assert_eq!(script.finish().violations.count(Kind::OutOfOrder), 1);
}

#[test]
fn a_rally_goes_there_and_back_and_on_to_the_next_table() {
    let mut script = script(
        Pace::Rally {
            rounds: 2,
            rate: None,
        },
        2,
        false,
    );
    script.enter(Phase::Measure);
    let mut seats = Vec::new();
    for _ in 0..4 {
        let sent = script.published();
        assert_eq!(sent.len(), 1, "one ball");
        seats.push(sent[0].0);
        script.now += 10;
        script.deliver(&sent[0].2, Treatment::Deliver);
    }
    assert_eq!(seats, [0, 1, 3, 4]);
    assert_eq!(script.published(), []);
    assert!(script.status().is_finished);
    let record = script.finish();
    assert_eq!(kinds(&record), []);
    assert_eq!(record.counters.rounds, 2);
}

/// Plays one round at the only table; the moment of its serve.
fn play_round(script: &mut Script) -> Nanos {
    let served = script.now;
    for _ in 0..2 {
        let sent = script.published();
        assert_eq!(sent.len(), 1, "one ball");
        script.now += 10;
        script.deliver(&sent[0].2, Treatment::Deliver);
    }
    served
}

fn rally(rounds: u64, rate: Option<f64>) -> Script {
    script(Pace::Rally { rounds, rate }, 1, false)
}

#[test]
fn a_rally_warms_up_only_for_so_long_that_no_socket_says_too_much() {
    let mut script = rally(2, None);
    script.enter(Phase::Warmup);
    for _ in 0..WARMUP_ROUNDS {
        assert!(!script.status().is_finished);
        play_round(&mut script);
    }
    assert!(script.status().is_finished);
    script.tick();
    assert_eq!(script.published(), [], "until it counts");
    script.enter(Phase::Measure);
    assert!(!script.status().is_finished);
    play_round(&mut script);
    play_round(&mut script);
    assert!(script.status().is_finished);
    let record = script.finish();
    assert_eq!((kinds(&record), record.counters.rounds), (vec![], 2));
}

#[test]
fn a_rally_goes_no_faster_than_is_said() {
    let pause = SECOND / 10;
    let mut script = rally(5, Some(10.0));
    script.now = SECOND;
    script.enter(Phase::Measure);
    let mut due = play_round(&mut script);
    // A little late, in time, and very late.
    for late in [pause / 4, 0, 7 * pause] {
        assert_eq!(script.published(), [], "it waits");
        due += pause;
        assert_eq!(script.next_tick(), Some(due));
        script.now = due + late;
        script.tick();
        play_round(&mut script);
    }
    assert_eq!(script.published(), [], "not two at once");
    assert_eq!(script.next_tick(), Some(due + 8 * pause));
    assert!(!script.status().is_finished);
}

#[test]
fn who_stops_reading_is_neither_waited_for_nor_missed_when_cut() {
    let mut script = script_beside(1, Pace::Rounds { in_flight: 1 }, 1, false);
    script.enter(Phase::Warmup);
    let stalled = MEMBERS;
    let effects = script.effects.clone();
    assert!(
        effects.contains(&Effect::Stall { seat: stalled }),
        "{effects:?}"
    );
    script.enter(Phase::Measure);
    let sent = script.published();
    // What was under way when it stopped.
    script.hear(stalled, &content(&sent[0].2), None);
    script.deliver(&sent[0].2, Treatment::Deliver);
    script.tick();
    let next = script.published();
    assert_eq!(next.len(), 1, "the round is complete without it");
    let why = "cut".to_owned();
    script.input(stalled, Input::Gone { why });
    let status = script.status();
    assert_eq!((status.live, status.is_finished), (MEMBERS, false));
    script.deliver(&next[0].2, Treatment::Deliver);
    let record = script.finish();
    assert_eq!(kinds(&record), []);
    assert_eq!((record.counters.deliveries, record.counters.cut), (6, 1));
}

#[test]
fn who_is_lost_before_it_stops_reading_is_missed() {
    let mut script = script_beside(1, Pace::Rounds { in_flight: 1 }, 1, false);
    let why = "the server closed".to_owned();
    script.input(MEMBERS, Input::Gone { why });
    assert_eq!(kinds(&script.finish()), [(Kind::Closed, 1)]);
}

#[test]
fn a_play_that_stalls_or_loses_a_socket_ends() {
    let mut stalled = script(Pace::Rounds { in_flight: 1 }, 1, false);
    stalled.enter(Phase::Measure);
    stalled.now += 2 * SECOND;
    stalled.tick();
    let status = stalled.status();
    assert!(status.is_finished && status.is_settled);
    assert_eq!(stalled.finish().violations.count(Kind::Lost), 3);

    let mut lonely = script(Pace::Rounds { in_flight: 1 }, 1, false);
    let why = "the server closed".to_owned();
    lonely.input(2, Input::Gone { why });
    assert!(lonely.status().is_finished);
    assert_eq!(kinds(&lonely.finish()), [(Kind::Closed, 1)]);
}

/// Three messages of the first publisher, of which all have heard the first.
fn one_of_three_heard() -> (Script, Vec<Mark>) {
    let mut script = script(Pace::Rounds { in_flight: 3 }, 1, false);
    script.enter(Phase::Measure);
    let marks: Vec<Mark> = script.published().iter().map(|sent| sent.2).collect();
    script.deliver(&marks[0], Treatment::Deliver);
    (script, marks)
}

fn gone() -> Input<'static> {
    let why = "the server closed".to_owned();
    Input::Gone { why }
}

#[test]
fn what_was_under_way_when_a_socket_closed_is_unknown_and_not_lost() {
    for closed in 0..MEMBERS {
        let (mut script, _) = one_of_three_heard();
        script.input(closed, gone());
        let record = script.finish();
        assert_eq!(kinds(&record), [(Kind::Closed, 1)]);
        assert_eq!(record.counters.unknown, 6, "two messages, to each member");
    }
}

#[test]
fn what_a_later_message_overtook_is_lost_whatever_closes() {
    let (mut script, marks) = one_of_three_heard();
    let last = content(&marks[2]);
    script.hear(0, &last, None);
    script.input(2, gone());
    let record = script.finish();
    assert_eq!(kinds(&record), [(Kind::Lost, 1), (Kind::Closed, 1)]);
    assert_eq!(record.counters.unknown, 4, "two to each of the others");
}

#[test]
fn what_was_under_way_when_a_run_was_cut_short_is_unknown() {
    let (heard, _) = one_of_three_heard();
    let record = heard.rooms.finish(End::CutShort);
    assert_eq!((kinds(&record), record.counters.unknown), (vec![], 6));

    let mut script = script(Pace::Answers { window: 1 }, 1, true);
    script.enter(Phase::Measure);
    let sent = script.published();
    script.input(sent[0].0, answer(sent[0].1, 4));
    let record = script.rooms.finish(End::CutShort);
    // Who was answered has sent another one.
    let expected = 3 * MEMBERS as u64 + 2;
    assert_eq!(
        (kinds(&record), record.counters.unknown),
        (vec![], expected)
    );
}

/// Its socket is on another worker, which alone breaks off: here all have the time to arrive.
#[test]
fn what_a_sender_whose_socket_closed_sent_last_is_unknown_to_others() {
    let (mut script, _) = one_of_three_heard();
    script.rooms.hall.rooms[0].close(0);
    script.now += 2 * SECOND;
    script.tick();
    assert!(script.status().is_finished);
    let record = script.finish();
    assert_eq!((kinds(&record), record.counters.unknown), (vec![], 6));
}
