//! Random lives of random children: whatever happens, a supervisor never does the impossible, and
//! once the world is quiet everybody is where they should be.
#![allow(clippy::unwrap_used)]

use proptest::{prelude::*, strategy::Strategy};

use super::{
    super::spec::{Backoff, Intensity, Restart, Strategy as How},
    *,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    None,
    Starting,
    Running,
    Stopping,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The n-th start or stop under way comes to its end; a start fails if `bad`.
    Settle { nth: usize, bad: bool },
    /// The n-th running child ends by itself.
    End { nth: usize, exit: Exit },
    /// The n-th wait is over.
    Wait { nth: usize },
    /// Time passes.
    Pass { millis: u64 },
    /// One child more.
    Add { restart: Restart },
}

struct World {
    core: Core,
    now: Duration,
    restart: Vec<Restart>,
    lives: Vec<Life>,
    has_run: Vec<bool>,
    /// Ended by itself, or never came up: nobody need start it.
    is_done: Vec<bool>,
    waits: Vec<u64>,
    /// When a child failed that had to be started again.
    failures: Vec<Duration>,
    intensity: Intensity,
    is_up: bool,
    is_over: bool,
}

impl World {
    fn new(how: How, restart: Vec<Restart>) -> Self {
        let intensity = Intensity {
            restarts: 4,
            within: Duration::from_secs(10),
        };
        let mut core = Core::new(how, intensity, Backoff::default());
        let actions = core.begin(&restart);
        let count = restart.len();
        let mut world = Self {
            core,
            now: Duration::ZERO,
            restart,
            lives: vec![Life::None; count],
            has_run: vec![false; count],
            is_done: vec![false; count],
            waits: Vec::new(),
            failures: Vec::new(),
            intensity,
            is_up: false,
            is_over: false,
        };
        world.obey(actions);
        world
    }

    fn tell(&mut self, event: Event) {
        let actions = self.core.handle(event, self.now);
        self.obey(actions);
    }

    fn obey(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.is_over, "{action:?} after the end");
            match action {
                Action::Start { child, again } => {
                    assert_eq!(self.lives[child], Life::None, "started twice");
                    assert!(!self.is_too_much(), "gave up too late");
                    assert_eq!(again, self.has_run[child]);
                    self.lives[child] = Life::Starting;
                    self.is_done[child] = false;
                }
                Action::Stop { child } => {
                    assert_eq!(
                        self.lives[child],
                        Life::Running,
                        "stopped what does not run"
                    );
                    let is_last_to_stop = self.lives[child + 1..]
                        .iter()
                        .all(|life| *life != Life::Stopping);
                    assert!(is_last_to_stop, "out of order");
                    self.lives[child] = Life::Stopping;
                }
                Action::Wait { ticket, .. } => self.waits.push(ticket),
                Action::Up => self.is_up = true,
                Action::Refuse { child } => {
                    assert!(!self.has_run[child]);
                    self.is_done[child] = true;
                }
                Action::Escalate | Action::Finish => {
                    assert!(self.lives.iter().all(|life| *life == Life::None));
                    self.is_over = true;
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Settle { nth, bad } => self.settle(nth, bad),
            Step::End { nth, exit } => self.end(nth, exit),
            Step::Wait { nth } if !self.waits.is_empty() => {
                let ticket = self.waits.remove(nth % self.waits.len());
                self.tell(Event::Waited { ticket });
            }
            Step::Wait { .. } => {}
            Step::Pass { millis } => self.now += Duration::from_millis(millis),
            Step::Add { restart } if self.lives.len() < 8 && self.is_up && !self.is_over => {
                self.restart.push(restart);
                self.lives.push(Life::None);
                self.has_run.push(false);
                self.is_done.push(false);
                let (_, actions) = self.core.add(restart);
                self.obey(actions);
            }
            Step::Add { .. } => {}
        }
    }

    fn pick(&self, nth: usize, which: impl Fn(Life) -> bool) -> Option<usize> {
        let places: Vec<_> = (0..self.lives.len())
            .filter(|place| which(self.lives[*place]))
            .collect();
        (!places.is_empty()).then(|| places[nth % places.len()])
    }

    fn settle(&mut self, nth: usize, bad: bool) {
        let is_between = |life| matches!(life, Life::Starting | Life::Stopping);
        let Some(child) = self.pick(nth, is_between) else {
            return;
        };
        match (self.lives[child], bad) {
            (Life::Starting, false) => {
                self.lives[child] = Life::Running;
                self.has_run[child] = true;
                self.tell(Event::Started { child });
            }
            (Life::Starting, true) => {
                self.lives[child] = Life::None;
                // One that never ran is refused, and the first start fails at once.
                if self.has_run[child] {
                    self.failures.push(self.now);
                }
                self.tell(Event::StartFailed { child });
            }
            (_, bad) => {
                let exit = if bad { Exit::Failed } else { Exit::Normal };
                self.gone(child, exit);
            }
        }
    }

    fn end(&mut self, nth: usize, exit: Exit) {
        if let Some(child) = self.pick(nth, |life| life == Life::Running) {
            self.is_done[child] = match self.restart[child] {
                Restart::Permanent => false,
                Restart::Transient => exit == Exit::Normal,
                Restart::Temporary => true,
            };
            if !self.is_done[child] {
                self.failures.push(self.now);
            }
            self.gone(child, exit);
        }
    }

    fn gone(&mut self, child: usize, exit: Exit) {
        self.lives[child] = Life::None;
        self.is_done[child] |= self.restart[child] == Restart::Temporary;
        self.tell(Event::Exited { child, exit });
    }

    /// Lets everything under way end well.
    fn come_to_rest(&mut self) {
        for _ in 0..200 {
            self.settle(0, false);
            self.step(Step::Wait { nth: 0 });
        }
    }

    /// Whether more failures fell into one window than are borne.
    fn is_too_much(&self) -> bool {
        let within = self.intensity.within;
        let of = |at: &Duration| {
            let since = self.failures.iter().filter(|it| *it <= at);
            since.filter(|it| *at - **it <= within).count()
        };
        self.failures.iter().map(of).max() > Some(self.intensity.restarts)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let restart = prop_oneof![
        Just(Restart::Permanent),
        Just(Restart::Transient),
        Just(Restart::Temporary)
    ];
    let exit = prop_oneof![Just(Exit::Normal), Just(Exit::Failed)];
    let step = prop_oneof![
        8 => (0_usize..8, prop::bool::weighted(0.1)).prop_map(|(nth, bad)| Step::Settle { nth, bad }),
        3 => (0_usize..8, exit).prop_map(|(nth, exit)| Step::End { nth, exit }),
        3 => (0_usize..8).prop_map(|nth| Step::Wait { nth }),
        3 => (0_u64..8_000).prop_map(|millis| Step::Pass { millis }),
        1 => restart.prop_map(|restart| Step::Add { restart }),
    ];
    prop::collection::vec(step, 0..80)
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::OneForOne),
        Just(How::OneForAll),
        Just(How::RestForOne)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn in_the_end_everybody_runs_who_should(
        how in how(),
        restart in prop::collection::vec(
            prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)],
            1..5,
        ),
        steps in steps(),
    ) {
        let mut world = World::new(how, restart);
        for step in steps {
            world.step(step);
        }
        world.come_to_rest();
        if world.is_over {
            prop_assert!(!world.is_up || world.is_too_much(), "gave up too early");
        } else {
            prop_assert!(!world.is_too_much(), "gave up too late");
            for (life, is_done) in world.lives.iter().zip(&world.is_done) {
                prop_assert!(*life == Life::Running || *is_done, "left lying");
            }
        }
    }

    #[test]
    fn a_stop_ends_everything_whatever_went_on(how in how(), steps in steps()) {
        let mut world = World::new(how, vec![Restart::Permanent; 4]);
        for step in steps {
            world.step(step);
        }
        if !world.is_over {
            world.tell(Event::Stop);
        }
        world.come_to_rest();
        prop_assert!(world.is_over);
    }
}
