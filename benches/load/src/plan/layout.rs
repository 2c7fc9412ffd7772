//! Who sits where: rooms, people and sockets, shared out over the workers.

use std::ops::Range;

use super::{Plan, Scenario};
use crate::{
    mark::mix,
    plan::Words,
    record::Measure,
    stages::Stages,
    traffic::{Pace, RoomPlan},
};

/// Sockets that one person may have; servers limit them.
pub(super) const SOCKETS_PER_PERSON: usize = 32;

/// Messages per second that one socket may send; servers limit them.
const RATE_PER_SENDER: f64 = 100.0;

/// What a QuikApp takes from one socket at once, unless it is set otherwise.
pub(super) const PUSH_BURST: u64 = 1000;

/// What it takes per second from then on.
pub(super) const PUSH_RATE: u64 = 200;

/// All parts of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) parts: Vec<Part>,
    /// People in all.
    pub(crate) people: usize,
    /// Sockets in all.
    pub(crate) sockets: usize,
}

/// One part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) scenario: &'static str,
    pub(crate) main: Measure,
    pub(crate) words: Words,
    pub(crate) play: Play,
    pub(crate) body: usize,
    /// Its people, as places among all people.
    pub(crate) people: Range<usize>,
    pub(crate) rooms: usize,
    pub(crate) seats: Vec<Seat>,
    pub(crate) society: Society,
}

/// What people belong to beside what the part is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Society {
    /// Groups that each person is in.
    pub(crate) memberships: usize,
    /// Further people who never connect.
    pub(crate) offline: usize,
    /// A path to ask for as each person once all are connected.
    pub(crate) visit: Option<String>,
}

/// What the part does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Play {
    Rooms {
        rooms: Vec<RoomPlan>,
        pace: Pace,
        acknowledged: bool,
    },
    Crowd {
        reconnects: u32,
        churn: Option<Stages>,
    },
    Presence {
        observers: usize,
        churn: Stages,
    },
}

/// A socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) worker: usize,
    pub(crate) room: usize,
    pub(crate) publisher: Option<u32>,
    /// It stops reading once all are there.
    pub(crate) stalls: bool,
    /// Its place among all people.
    pub(crate) person: usize,
}

impl Layout {
    pub(crate) fn of(plan: &Plan) -> Self {
        let (mut parts, mut people, mut sockets) = (Vec::new(), 0, 0);
        for (number, (scenario, name)) in plan.parts.iter().zip(plan.part_names()).enumerate() {
            let part = lay_out(plan, number, scenario, name, people);
            people = part.people.end;
            sockets += part.seats.len();
            parts.push(part);
        }
        Self {
            parts,
            people,
            sockets,
        }
    }
}

impl Part {
    /// The people of a room.
    pub(crate) fn people_of(&self, room: usize) -> impl Iterator<Item = usize> {
        let seats = self.seats.iter().filter(move |seat| seat.room == room);
        seats.map(|seat| seat.person)
    }
}

fn lay_out(
    plan: &Plan,
    number: usize,
    scenario: &Scenario,
    name: String,
    first_person: usize,
) -> Part {
    let words = Words::new(scenario, &plan.target);
    let workers = plan.run.threads;
    let shape = Shape::of(scenario);
    let people = first_person..first_person + shape.people;
    let seats = shape.seats(workers, &people);
    let rooms = shape.room_plans(&seats, workers, words.hears_itself);
    let (play, body) = play(plan, number, scenario, &rooms);
    Part {
        name,
        scenario: scenario.name(),
        main: scenario.main_measure(),
        words,
        play,
        body,
        people,
        rooms: shape.rooms.len(),
        seats,
        society: society(scenario),
    }
}

fn society(scenario: &Scenario) -> Society {
    match scenario {
        Scenario::Idle(o) => Society {
            memberships: o.memberships,
            offline: o.offline,
            visit: o.visit.clone(),
        },
        _ => Society::default(),
    }
}

/// Of what is random in a part: another one on each of several generators, which would send at the
/// same moments otherwise.
fn seed(plan: &Plan, number: usize) -> u64 {
    let name = plan.run.name_among_others().unwrap_or_default().bytes();
    let named = name.fold(plan.run.seed, |state, byte| mix(state ^ u64::from(byte)));
    mix(named ^ mix(number as u64))
}

/// What the part does, and with messages of how many bytes.
fn play(plan: &Plan, number: usize, scenario: &Scenario, rooms: &[RoomPlan]) -> (Play, usize) {
    let pace = |rate: &Option<Stages>, arrivals, otherwise| match rate {
        Some(stages) => Pace::Open {
            stages: stages.clone(),
            arrivals,
            seed: seed(plan, number),
        },
        None => otherwise,
    };
    let in_rooms = |pace, acknowledged| Play::Rooms {
        rooms: rooms.to_vec(),
        pace,
        acknowledged,
    };
    let rounds = |in_flight| Pace::Rounds { in_flight };
    match scenario {
        Scenario::Fanout(o) => {
            let pace = pace(&o.rate, o.arrivals, rounds(o.in_flight));
            (in_rooms(pace, false), o.body)
        }
        Scenario::Rooms(o) => {
            let pace = pace(&o.rate, o.arrivals, rounds(o.in_flight));
            (in_rooms(pace, false), o.body)
        }
        Scenario::Chat(o) => {
            let closed = Pace::Answers { window: o.window };
            (in_rooms(pace(&o.rate, o.arrivals, closed), true), o.body)
        }
        Scenario::Pingpong(o) => {
            // Every worker plays a ball of its own.
            let threads = plan.run.threads as u64;
            let rally = Pace::Rally {
                rounds: o.rounds.div_ceil(threads),
                rate: o.rate.map(|rate| rate / threads as f64),
            };
            (in_rooms(rally, false), o.body)
        }
        Scenario::Storm(o) => {
            let (reconnects, churn) = (o.reconnects, o.churn.clone());
            (Play::Crowd { reconnects, churn }, 0)
        }
        Scenario::Presence(o) => {
            let (observers, churn) = (o.observers, o.churn.clone());
            (Play::Presence { observers, churn }, 0)
        }
        Scenario::Idle(_) | Scenario::Mixed(_) => (
            Play::Crowd {
                reconnects: 0,
                churn: None,
            },
            0,
        ),
    }
}

/// How large a part is.
struct Shape {
    /// Members of each room who hear and are heard.
    rooms: Vec<usize>,
    /// Members of each room beside those, who stop reading.
    stalled: usize,
    /// How many of a room's members publish.
    publishers: usize,
    people: usize,
    /// A large room may be spread over all workers.
    may_spread: bool,
    /// A room is one person's.
    is_personal: bool,
}

impl Shape {
    fn of(scenario: &Scenario) -> Self {
        let uniform = |rooms: usize, members: usize, publishers: usize, people: usize| Self {
            rooms: vec![members; rooms],
            stalled: 0,
            publishers,
            people,
            may_spread: false,
            is_personal: false,
        };
        let few = |sockets: usize| sockets.div_ceil(SOCKETS_PER_PERSON).max(1);
        match scenario {
            Scenario::Fanout(o) => {
                let rate = o.rate.as_ref().map_or(0.0, Stages::peak);
                let senders = o.senders.max((rate / RATE_PER_SENDER).ceil() as usize);
                let people = few(o.members + o.stalled).max(senders.min(o.members));
                Self {
                    may_spread: true,
                    stalled: o.stalled,
                    ..uniform(1, o.members, senders, people)
                }
            }
            Scenario::Rooms(o) => Self {
                may_spread: true,
                ..uniform(o.rooms, o.members, o.senders, few(o.rooms * o.members))
            },
            Scenario::Chat(o) => {
                let rooms = o.conversations.clamp(1, o.senders);
                let (each, more) = (o.senders / rooms, o.senders % rooms);
                Self {
                    rooms: (0..rooms).map(|at| each + usize::from(at < more)).collect(),
                    ..uniform(0, 0, o.senders, o.senders)
                }
            }
            Scenario::Pingpong(o) => uniform(o.pairs, 2, 2, o.pairs * 2),
            Scenario::Idle(o) if o.memberships > 0 => {
                let people = o.people();
                let (each, more) = (o.sockets / people, o.sockets % people);
                Self {
                    rooms: (0..people)
                        .map(|at| each + usize::from(at < more))
                        .collect(),
                    is_personal: true,
                    ..uniform(0, 0, 0, people)
                }
            }
            Scenario::Idle(o) => crowd(o.sockets, o.people),
            Scenario::Storm(o) => crowd(o.sockets, o.people),
            Scenario::Presence(o) => Self {
                may_spread: true,
                ..uniform(1, o.people, 0, o.people)
            },
            Scenario::Mixed(_) => uniform(0, 0, 0, 0),
        }
    }

    fn seats(&self, workers: usize, people: &Range<usize>) -> Vec<Seat> {
        let spread = self.may_spread && self.rooms.len() < workers;
        let mut seats = Vec::new();
        for (room, &members) in self.rooms.iter().enumerate() {
            let mut publishers = 0..u32::try_from(self.publishers).unwrap_or(u32::MAX);
            let owner = room % workers;
            for member in 0..members + self.stalled {
                let stalls = member >= members;
                let worker = if spread { member % workers } else { owner };
                // All publishers of a room are on one worker, which paces them.
                let publishes = worker == owner && !stalls;
                let person = match self.is_personal {
                    true => room,
                    false => seats.len() % people.len().max(1),
                };
                seats.push(Seat {
                    worker,
                    room,
                    publisher: publishes.then(|| publishers.next()).flatten(),
                    stalls,
                    person: people.start + person,
                });
            }
        }
        seats
    }

    fn room_plans(&self, seats: &[Seat], workers: usize, hears_itself: bool) -> Vec<RoomPlan> {
        let mut publishers = vec![0; self.rooms.len()];
        for seat in seats.iter().filter(|seat| seat.publisher.is_some()) {
            publishers[seat.room] += 1;
        }
        let rooms = self.rooms.iter().zip(publishers).enumerate();
        rooms
            .map(|(room, (&members, publishers))| RoomPlan {
                members: u32::try_from(members).unwrap_or(u32::MAX),
                publishers,
                hears_itself,
                owner: room % workers,
            })
            .collect()
    }
}

/// Sockets of a silent topic, spread over all workers.
fn crowd(sockets: usize, people: Option<usize>) -> Shape {
    Shape {
        rooms: vec![sockets],
        stalled: 0,
        publishers: 0,
        people: people.unwrap_or(sockets.div_ceil(10)).clamp(1, sockets),
        may_spread: true,
        is_personal: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::{
        RunOptions, TargetOptions,
        scenario::{Chat, Fanout, Idle, Mixed, Rooms},
    };
    use crate::stages::Arrivals;

    fn layout(threads: usize, parts: Vec<Scenario>) -> Layout {
        let run = RunOptions {
            threads: Some(threads),
            ..RunOptions::default()
        };
        Layout::of(&Plan::new(None, TargetOptions::default(), &run, parts).unwrap())
    }

    #[test]
    fn a_large_room_is_spread_and_its_publishers_are_not() {
        let fanout = Fanout {
            members: 100,
            senders: 7,
            ..Fanout::default()
        };
        let layout = layout(3, vec![Scenario::Fanout(fanout)]);
        let seats = &layout.parts[0].seats;
        assert_eq!(seats.iter().filter(|seat| seat.worker == 1).count(), 33);
        let publishers: Vec<_> = seats.iter().filter(|s| s.publisher.is_some()).collect();
        assert_eq!(publishers.len(), 7);
        assert!(publishers.iter().all(|seat| seat.worker == 0));
        let Play::Rooms { rooms, .. } = &layout.parts[0].play else {
            panic!("{layout:?}")
        };
        assert_eq!((rooms[0].members, rooms[0].publishers), (100, 7));
    }

    #[test]
    fn who_stalls_is_neither_waited_for_nor_publishes() {
        let fanout = Fanout {
            members: 3,
            senders: 16,
            stalled: 2,
            ..Fanout::default()
        };
        let layout = layout(1, vec![Scenario::Fanout(fanout)]);
        let seats = &layout.parts[0].seats;
        let publishes = seats.iter().map(|seat| seat.publisher.is_some());
        assert_eq!(
            publishes.collect::<Vec<_>>(),
            [true, true, true, false, false]
        );
        assert!(
            seats
                .iter()
                .all(|seat| seat.stalls != seat.publisher.is_some())
        );
        let Play::Rooms { rooms, .. } = &layout.parts[0].play else {
            panic!("{layout:?}")
        };
        assert_eq!((rooms[0].members, rooms[0].publishers), (3, 3));
    }

    #[test]
    fn generators_send_at_moments_of_their_own() {
        let seed_of = |generator: Option<&str>| {
            let run = RunOptions {
                generator: generator.map(str::to_owned),
                ..RunOptions::default()
            };
            let rooms = Rooms {
                rate: "100".parse().ok(),
                ..Rooms::default()
            };
            let parts = vec![Scenario::Rooms(rooms)];
            let plan = Plan::new(None, TargetOptions::default(), &run, parts).unwrap();
            match Layout::of(&plan).parts.remove(0).play {
                Play::Rooms {
                    pace: Pace::Open { seed, .. },
                    ..
                } => seed,
                other => panic!("{other:?}"),
            }
        };
        let seeds = [None, Some("east"), Some("west")].map(seed_of);
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
        assert_eq!(seed_of(Some("east")), seeds[1], "the same again");
    }

    #[test]
    fn the_seed_fixes_what_is_random() {
        let laid_out = |seed| {
            let run = RunOptions {
                seed: Some(seed),
                threads: Some(2),
                ..RunOptions::default()
            };
            let mixed = Mixed {
                sockets: 200,
                ..Mixed::default()
            };
            let mut parts = Scenario::Mixed(mixed).expand();
            if let Scenario::Rooms(rooms) = &mut parts[1] {
                rooms.arrivals = Arrivals::Poisson;
            }
            Layout::of(&Plan::new(None, TargetOptions::default(), &run, parts).unwrap())
        };
        let seeds = |layout: &Layout| -> Vec<u64> {
            let plays = layout.parts.iter().map(|part| &part.play);
            let seeds = plays.filter_map(|play| match play {
                Play::Rooms {
                    pace: Pace::Open { seed, .. },
                    ..
                } => Some(*seed),
                _ => None,
            });
            seeds.collect()
        };
        let (one, other) = (laid_out(7), laid_out(8));
        assert_eq!(one, laid_out(7), "the same people at the same places");
        let [rooms, chat] = seeds(&one)[..] else {
            panic!("{one:?}")
        };
        assert_ne!(rooms, chat, "parts do not send at the same moments");
        for (seed, another) in seeds(&one).into_iter().zip(seeds(&other)) {
            assert_ne!(seed, another);
        }
        // Beside the moments nothing is random.
        let seats = |layout: &Layout| -> Vec<_> {
            let parts = layout.parts.iter();
            parts.map(|part| part.seats.clone()).collect()
        };
        assert_eq!(seats(&one), seats(&other));
    }

    #[test]
    fn small_rooms_stay_together() {
        let rooms = Rooms {
            rooms: 4,
            members: 3,
            senders: 2,
            ..Rooms::default()
        };
        let layout = layout(2, vec![Scenario::Rooms(rooms)]);
        for seat in &layout.parts[0].seats {
            assert_eq!(seat.worker, seat.room % 2);
        }
    }

    #[test]
    fn people_with_memberships_join_their_own_topics() {
        let idle = Idle {
            sockets: 7,
            people: Some(3),
            memberships: 20,
            ..Idle::default()
        };
        let layout = layout(2, vec![Scenario::Idle(idle)]);
        let part = &layout.parts[0];
        assert!(part.words.is_personal);
        assert_eq!((part.rooms, part.society.memberships), (3, 20));
        assert!(part.seats.iter().all(|seat| seat.person == seat.room));
        let sizes = [0, 1, 2].map(|room| part.people_of(room).count());
        assert_eq!(sizes, [3, 2, 2]);
    }

    #[test]
    fn people_are_shared_out() {
        let chat = Chat {
            senders: 10,
            conversations: 3,
            ..Chat::default()
        };
        let idle = Idle {
            sockets: 100,
            ..Idle::default()
        };
        let parts = vec![Scenario::Chat(chat), Scenario::Idle(idle)];
        let layout = layout(1, parts);
        assert_eq!((layout.people, layout.sockets), (20, 110));
        let sizes = [0, 1, 2].map(|room| layout.parts[0].people_of(room).count());
        assert_eq!(sizes, [4, 3, 3]);
        let people = layout.parts[1].seats.iter().map(|seat| seat.person);
        assert_eq!(people.clone().min(), Some(10));
        assert_eq!(people.max(), Some(19));
    }
}
