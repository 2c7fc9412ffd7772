//! One life, line by line.
#![allow(clippy::unwrap_used)]

use super::*;

const BOUNDS: Bounds = Bounds {
    queue: 3,
    idle: Duration::from_secs(60),
    restarts: 1,
    window: Duration::from_secs(10),
    cool_down: Duration::from_secs(300),
};

struct Script {
    core: Core<u32>,
    now: Duration,
}

impl Script {
    fn new() -> Self {
        Self {
            core: Core::new(),
            now: Duration::ZERO,
        }
    }

    /// An entity that is active and has nothing to do.
    fn active() -> Self {
        let mut script = Self::new();
        script.is(Input::Message(0));
        script.is(Input::Activated);
        assert_eq!(script.is(Input::Handled), []);
        script
    }

    fn is(&mut self, input: Input<u32>) -> Vec<Effect<u32>> {
        self.core.handle(input, self.now, &BOUNDS)
    }

    fn panics(&mut self, rest: &[u32]) -> Vec<Effect<u32>> {
        let rest = rest.iter().copied().collect();
        self.is(Input::Panicked { rest })
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn handle(messages: &[u32]) -> Effect<u32> {
    Effect::Handle(messages.iter().copied().collect())
}

fn refuse(messages: &[u32], why: Why) -> Effect<u32> {
    Effect::Refuse(messages.iter().copied().collect(), why)
}

#[test]
fn the_first_message_activates_and_the_others_wait() {
    let mut script = Script::new();
    assert_eq!(script.is(Input::Message(1)), [Effect::Activate]);
    assert_eq!(script.is(Input::Message(2)), [], "once");
    assert_eq!(script.is(Input::Activated), [handle(&[1, 2])]);
    assert_eq!(script.is(Input::Message(3)), []);
    assert_eq!(script.is(Input::Handled), [handle(&[3])]);
    assert_eq!(script.is(Input::Handled), []);
}

#[test]
fn a_full_queue_refuses_the_one_too_many() {
    let mut script = Script::new();
    for message in 1..=3 {
        script.is(Input::Message(message));
    }
    let refused = script.is(Input::Message(4));
    assert_eq!(refused, [refuse(&[4], Why::Overloaded)]);
    assert_eq!(script.is(Input::Activated), [handle(&[1, 2, 3])]);
}

#[test]
fn an_idle_entity_is_written_away_and_forgotten() {
    let mut script = Script::active();
    script.later(59);
    assert_eq!(script.is(Input::Tick), []);
    script.later(1);
    assert_eq!(script.is(Input::Tick), [Effect::Passivate]);
    assert_eq!(script.is(Input::Tick), [], "once");
    assert_eq!(script.is(Input::Passivated), [Effect::Forget]);
}

#[test]
fn a_message_during_passivation_brings_it_up_again() {
    let mut script = Script::active();
    script.later(60);
    script.is(Input::Tick);
    assert_eq!(script.is(Input::Message(1)), []);
    assert_eq!(script.is(Input::Passivated), [Effect::Activate]);
    assert_eq!(script.is(Input::Activated), [handle(&[1])]);
}

#[test]
fn what_cannot_be_written_stays() {
    let mut script = Script::active();
    script.later(60);
    script.is(Input::Tick);
    script.is(Input::Message(1));
    assert_eq!(script.is(Input::NotPassivated), [handle(&[1])]);
}

#[test]
fn a_panic_loses_the_message_in_hand_and_no_other() {
    let mut script = Script::new();
    for message in 1..=3 {
        script.is(Input::Message(message));
    }
    script.is(Input::Activated);
    script.is(Input::Message(4));
    let fallen = script.panics(&[2, 3]);
    assert_eq!(fallen, [Effect::Restarted, Effect::Activate]);
    assert_eq!(script.is(Input::Activated), [handle(&[2, 3, 4])]);
}

#[test]
fn a_poisoned_entity_is_quarantined_not_looped() {
    let mut script = Script::new();
    script.is(Input::Message(1));
    script.is(Input::Message(2));
    assert_eq!(script.panics(&[]), [Effect::Restarted, Effect::Activate]);
    let why = Why::Quarantined(BOUNDS.cool_down);
    let twice = script.panics(&[]);
    assert_eq!(twice, [Effect::Quarantined, refuse(&[1, 2], why)]);
    script.later(100);
    let why = Why::Quarantined(Duration::from_secs(200));
    assert_eq!(script.is(Input::Message(3)), [refuse(&[3], why)]);
    assert_eq!(script.is(Input::Tick), []);
}

#[test]
fn after_its_time_it_is_on_probation() {
    let mut script = Script::new();
    script.is(Input::Message(1));
    script.panics(&[]);
    script.panics(&[]);
    script.later(300);
    assert_eq!(script.is(Input::Message(2)), [Effect::Activate]);
    assert_eq!(script.panics(&[])[0], Effect::Quarantined, "at once");
}

#[test]
fn who_is_released_begins_with_a_clean_slate() {
    let mut script = Script::new();
    script.is(Input::Message(1));
    script.panics(&[]);
    script.panics(&[]);
    assert_eq!(script.is(Input::Release), [Effect::Forget]);
    assert_eq!(script.is(Input::Release), [], "it is out");
}

#[test]
fn panics_are_remembered_for_the_window_and_no_longer() {
    let mut script = Script::active();
    script.is(Input::Message(1));
    assert_eq!(script.panics(&[]), [Effect::Restarted]);
    assert_eq!(script.is(Input::Tick), []);
    script.later(11);
    assert_eq!(script.is(Input::Tick), [Effect::Forget]);
}

#[test]
fn a_store_that_cannot_say_refuses_who_waits() {
    let mut script = Script::new();
    script.is(Input::Message(1));
    script.is(Input::Message(2));
    let failed = script.is(Input::ActivationFailed);
    assert_eq!(failed, [refuse(&[1, 2], Why::Unavailable), Effect::Forget]);
}

#[test]
fn stopping_handles_what_waits_and_then_writes() {
    let mut script = Script::new();
    script.is(Input::Message(1));
    script.is(Input::Message(2));
    assert_eq!(script.is(Input::Stop), []);
    let late = script.is(Input::Message(3));
    assert_eq!(late, [refuse(&[3], Why::Unavailable)]);
    assert_eq!(script.is(Input::Activated), [handle(&[1, 2])]);
    assert_eq!(script.is(Input::Handled), [Effect::Passivate]);
    assert_eq!(script.is(Input::Passivated), [Effect::Forget]);
}

#[test]
fn stopping_an_idle_entity_writes_at_once() {
    let mut script = Script::active();
    assert_eq!(script.is(Input::Stop), [Effect::Passivate]);
    assert_eq!(script.is(Input::NotPassivated), [Effect::Forget]);
}
