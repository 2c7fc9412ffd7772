//! Random interleavings: no message is lost or handled twice, order is kept, and never do two
//! tasks work on one entity.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    queue: 4,
    idle: Duration::from_secs(5),
    restarts: 2,
    window: Duration::from_secs(10),
    cool_down: Duration::from_secs(20),
};

#[derive(Debug, Clone, Copy)]
enum Step {
    Send,
    /// The task under way gets on: handles some of its batch, then ends well, badly, or by panic.
    Task {
        handles: usize,
        ends: Ends,
    },
    Tick,
    Pass {
        millis: u64,
    },
    Release,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    Badly,
    ByPanic,
}

#[derive(Debug)]
enum Task {
    Activating,
    Handling(VecDeque<u32>),
    Passivating,
}

#[derive(Debug, Default)]
struct World {
    /// Absent once forgotten.
    core: Option<Core<u32>>,
    now: Duration,
    task: Option<Task>,
    has_state: bool,
    sent: u32,
    outcomes: HashMap<u32, u32>,
    handled: Vec<u32>,
    panics: Vec<Duration>,
    is_stopped: bool,
}

impl World {
    fn tell(&mut self, input: Input<u32>) {
        let Some(core) = &mut self.core else {
            return;
        };
        let effects = core.handle(input, self.now, &BOUNDS);
        for effect in effects {
            match effect {
                Effect::Activate => {
                    assert!(!self.has_state, "activated twice");
                    self.begin(Task::Activating);
                }
                Effect::Handle(batch) => {
                    assert!(self.has_state && !batch.is_empty());
                    self.begin(Task::Handling(batch));
                }
                Effect::Passivate => {
                    assert!(self.has_state);
                    self.begin(Task::Passivating);
                }
                Effect::Refuse(refused, _) => {
                    for message in refused {
                        *self.outcomes.entry(message).or_default() += 1;
                    }
                }
                Effect::Restarted | Effect::Quarantined => assert!(!self.has_state),
                Effect::Forget => {
                    assert!(!self.has_state && self.task.is_none());
                    self.core = None;
                }
            }
        }
    }

    fn begin(&mut self, task: Task) {
        assert!(self.task.is_none(), "two at once");
        self.task = Some(task);
    }

    fn send(&mut self) {
        let message = self.sent;
        self.sent += 1;
        if self.is_stopped && self.core.is_none() {
            // The shard refuses by itself.
            *self.outcomes.entry(message).or_default() += 1;
            return;
        }
        self.core.get_or_insert_with(Core::new);
        self.tell(Input::Message(message));
    }

    fn get_on(&mut self, handles: usize, ends: Ends) {
        match self.task.take() {
            None => {}
            Some(Task::Activating) => match ends {
                Ends::Well => {
                    self.has_state = true;
                    self.tell(Input::Activated);
                }
                Ends::Badly => self.tell(Input::ActivationFailed),
                Ends::ByPanic => self.panic(VecDeque::new()),
            },
            Some(Task::Handling(mut batch)) => {
                let all = batch.len();
                let handles = if ends == Ends::Well {
                    all
                } else {
                    handles % all
                };
                for message in batch.drain(..handles) {
                    self.handled.push(message);
                    *self.outcomes.entry(message).or_default() += 1;
                }
                match batch.pop_front() {
                    None => self.tell(Input::Handled),
                    Some(in_hand) => {
                        *self.outcomes.entry(in_hand).or_default() += 1;
                        self.panic(batch);
                    }
                }
            }
            Some(Task::Passivating) => match ends {
                Ends::Well => {
                    self.has_state = false;
                    self.tell(Input::Passivated);
                }
                Ends::Badly => {
                    // A core that goes lets the state go, too.
                    self.has_state = !self.is_stopped;
                    self.tell(Input::NotPassivated);
                }
                Ends::ByPanic => self.panic(VecDeque::new()),
            },
        }
    }

    fn panic(&mut self, rest: VecDeque<u32>) {
        self.has_state = false;
        self.panics.push(self.now);
        let since = self.now.saturating_sub(BOUNDS.window);
        let recent = self.panics.iter().filter(|at| **at >= since).count();
        self.tell(Input::Panicked { rest });
        let is_quarantined = self
            .core
            .as_ref()
            .is_some_and(|core| core.phase() == Phase::Quarantined);
        let may_go_on = recent <= BOUNDS.restarts || is_quarantined || self.is_stopped;
        assert!(may_go_on || self.core.is_none(), "a loop");
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send => self.send(),
            Step::Task { handles, ends } => self.get_on(handles, ends),
            Step::Tick => self.tell(Input::Tick),
            Step::Pass { millis } => self.now += Duration::from_millis(millis),
            Step::Release => {
                let phase = self.core.as_ref().map(Core::phase);
                if phase == Some(Phase::Quarantined) {
                    self.panics.clear();
                }
                self.tell(Input::Release);
            }
            Step::Stop => {
                self.is_stopped = true;
                self.tell(Input::Stop);
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![
        6 => Just(Ends::Well),
        1 => Just(Ends::Badly),
        2 => Just(Ends::ByPanic),
    ];
    let step = prop_oneof![
        8 => Just(Step::Send),
        8 => (0_usize..4, ends).prop_map(|(handles, ends)| Step::Task { handles, ends }),
        4 => Just(Step::Tick),
        4 => (0_u64..6_000).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Release),
    ];
    let stop = prop_oneof![3 => Just(None), 1 => (0_usize..100).prop_map(Some)];
    (prop::collection::vec(step, 0..100), stop).prop_map(|(mut steps, stop)| {
        if let Some(at) = stop {
            steps.insert(at.min(steps.len()), Step::Stop);
        }
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_message_has_exactly_one_outcome_and_order_is_kept(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        for _ in 0..100 {
            world.get_on(0, Ends::Well);
        }
        for message in 0..world.sent {
            let outcomes = world.outcomes.get(&message).copied();
            prop_assert_eq!(outcomes, Some(1), "message {} in {:?}", message, world);
        }
        prop_assert!(world.handled.is_sorted());
        if world.is_stopped {
            world.tell(Input::Stop);
            world.get_on(0, Ends::Well);
            prop_assert!(world.core.is_none(), "gone");
        }
    }
}
