//! The model: what the entity answers is what the store says, after any interleaving of writes,
//! questions that are overtaken by writes, writes of other processes that raise no count here,
//! failed reads, and passivations.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CONVERSATIONS: u8 = 6;
const NOW: i64 = 1_800_000_000_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody writes to a conversation, or the person reads it.
    Write {
        conversation: u8,
        unread: u64,
    },
    /// The person joins or leaves.
    Move {
        conversation: u8,
    },
    /// The queue grows or shrinks.
    Queue {
        count: u64,
    },
    /// As `Write` or `Move`, by another process: no count is raised here.
    Elsewhere {
        conversation: u8,
        unread: u64,
    },
    ElsewhereMove {
        conversation: u8,
    },
    Later {
        ms: i64,
    },
    /// A question under way stops after so many effects: the store failed.
    Fail {
        after: usize,
    },
    /// A question during which something is written after so many effects.
    Overtaken {
        after: usize,
        conversation: u8,
        unread: u64,
    },
    Passivate,
    Ask,
}

fn step() -> impl Strategy<Value = Step> {
    let conversation = 0..CONVERSATIONS;
    prop_oneof![
        4 => (conversation.clone(), 0..5_u64)
            .prop_map(|(conversation, unread)| Step::Write { conversation, unread }),
        2 => conversation.clone().prop_map(|conversation| Step::Move { conversation }),
        1 => (0..9_u64).prop_map(|count| Step::Queue { count }),
        1 => (conversation.clone(), 0..5_u64)
            .prop_map(|(conversation, unread)| Step::Elsewhere { conversation, unread }),
        1 => conversation.clone().prop_map(|conversation| Step::ElsewhereMove { conversation }),
        2 => (0..2 * FRESH).prop_map(|ms| Step::Later { ms }),
        1 => (0..6_usize).prop_map(|after| Step::Fail { after }),
        2 => (0..6_usize, conversation, 0..5_u64).prop_map(|(after, conversation, unread)| {
            Step::Overtaken { after, conversation, unread }
        }),
        1 => Just(Step::Passivate),
        4 => Just(Step::Ask),
    ]
}

/// The store, and the counts that writers raise.
#[derive(Default)]
struct World {
    unread: BTreeMap<u8, u64>,
    member: BTreeMap<u8, bool>,
    queued: u64,
    counts: BTreeMap<u8, u64>,
    person: u64,
    now: i64,
    /// When another process last wrote, if it is not certain to be known.
    elsewhere: Option<i64>,
}

/// The shell: it remembers which conversations it watches.
#[derive(Default)]
struct Shell {
    core: Core,
    watched: Vec<u8>,
}

fn id(conversation: u8) -> ConversationId {
    ConversationId::from_stored(conversation.to_string())
}

fn number(id: &ConversationId) -> u8 {
    id.as_str().parse().expect("a number")
}

impl World {
    fn write(&mut self, conversation: u8, unread: u64) {
        self.unread.insert(conversation, unread);
        *self.counts.entry(conversation).or_default() += 1;
    }

    fn turn(&mut self, conversation: u8) {
        let is_member = self.member.entry(conversation).or_default();
        *is_member = !*is_member;
    }

    fn now(&self) -> Timestamp {
        Timestamp(NOW + self.now)
    }

    fn answer(&self, effect: Effect, watched: &mut Vec<u8>) -> Vec<Input> {
        match effect {
            Effect::ReadMemberships => {
                let member = self.member.iter().filter(|(_, is_member)| **is_member);
                vec![Input::Memberships(member.map(|(it, _)| id(*it)).collect())]
            }
            Effect::Watch(ids) => {
                watched.extend(ids.iter().map(number));
                Vec::new()
            }
            Effect::Unwatch(ids) => {
                watched.retain(|it| !ids.contains(&id(*it)));
                Vec::new()
            }
            Effect::Count(ids) => {
                let tally = |id: ConversationId| {
                    let unread = self.unread.get(&number(&id)).copied();
                    let unread = unread.unwrap_or_default();
                    let tally = Tally {
                        unread,
                        ..Tally::default()
                    };
                    Input::Counted(id, tally)
                };
                ids.into_iter().map(tally).collect()
            }
            Effect::ReadWaiting => vec![Input::Waiting {
                queue: PendingQueue {
                    total: self.queued,
                    conversations: Vec::new(),
                },
                devices: Vec::new(),
            }],
            Effect::Measure(_) => Vec::new(),
        }
    }
}

impl Shell {
    fn look(&self, world: &World) -> Input {
        let count = |it: &u8| (id(*it), world.counts.get(it).copied().unwrap_or_default());
        Input::Look {
            person: world.person,
            conversations: self.watched.iter().map(count).collect(),
        }
    }

    /// A question, up to so many effects; before the one named, something happens.
    fn refresh(&mut self, world: &mut World, most: usize, at: usize, happens: impl Fn(&mut World)) {
        let mut run = 0;
        for _ in 0..2 {
            let mut effects = self.core.handle(self.look(world), world.now());
            while !effects.is_empty() {
                let mut next = Vec::new();
                for effect in effects {
                    if run == at {
                        happens(world);
                    }
                    if run == most {
                        return;
                    }
                    run += 1;
                    for input in world.answer(effect, &mut self.watched) {
                        next.extend(self.core.handle(input, world.now()));
                    }
                }
                effects = next;
            }
        }
    }
}

/// Whether what another process wrote is certain to be included.
fn is_certain(world: &World) -> bool {
    world.elsewhere.is_none_or(|at| world.now >= at + FRESH)
}

fn check(shell: &Shell, world: &World) -> Result<(), TestCaseError> {
    let shown = shell
        .core
        .overview(&[], &Registered::default(), world.now());
    let member = world.member.iter().filter(|(_, is_member)| **is_member);
    let unread = member.map(|(it, _)| world.unread.get(it).copied().unwrap_or_default());
    let expected: Vec<u64> = unread.filter(|unread| *unread > 0).collect();
    let listed: Vec<u64> = shown.conversations.iter().map(|it| it.unread).collect();
    prop_assert_eq!(&listed, &expected);
    prop_assert_eq!(shown.badge, expected.iter().sum::<u64>());
    prop_assert_eq!(shown.pending.count, world.queued);
    Ok(())
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut world, mut shell) = (World::default(), Shell::default());
    for step in steps {
        match step {
            Step::Write {
                conversation,
                unread,
            } => world.write(conversation, unread),
            Step::Move { conversation } => {
                world.turn(conversation);
                world.person += 1;
            }
            Step::Queue { count } => {
                world.queued = count;
                world.person += 1;
            }
            Step::Elsewhere {
                conversation,
                unread,
            } => {
                world.unread.insert(conversation, unread);
                world.elsewhere = Some(world.now);
            }
            Step::ElsewhereMove { conversation } => {
                world.turn(conversation);
                world.elsewhere = Some(world.now);
            }
            Step::Later { ms } => world.now += ms,
            Step::Fail { after } => shell.refresh(&mut world, after, usize::MAX, |_| ()),
            Step::Overtaken {
                after,
                conversation,
                unread,
            } => {
                let written = |world: &mut World| world.write(conversation, unread);
                shell.refresh(&mut world, usize::MAX, after, written);
            }
            Step::Passivate => shell = Shell::default(),
            Step::Ask => {
                shell.refresh(&mut world, usize::MAX, usize::MAX, |_| ());
                if is_certain(&world) {
                    check(&shell, &world)?;
                }
            }
        }
        let at_most = world.member.values().filter(|it| **it).count();
        prop_assert!(shell.watched.len() <= usize::from(CONVERSATIONS).max(at_most));
    }
    world.now += 2 * FRESH;
    shell.refresh(&mut world, usize::MAX, usize::MAX, |_| ());
    check(&shell, &world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_answer_is_what_the_store_says(steps in prop::collection::vec(step(), 1..60)) {
        play(steps)?;
    }
}
