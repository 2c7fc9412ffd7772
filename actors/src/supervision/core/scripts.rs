//! What a supervisor does, line by line.
#![allow(clippy::unwrap_used)]

use super::{super::spec::*, *};

const WITHIN: Duration = Duration::from_secs(60);

struct Script {
    core: Core,
    now: Duration,
}

impl Script {
    /// Children a, b, c under a strategy, all running.
    fn up(strategy: Strategy, restart: Restart) -> Self {
        let intensity = Intensity {
            restarts: 3,
            within: WITHIN,
        };
        let core = Core::new(strategy, intensity, Backoff::default());
        let mut script = Self {
            core,
            now: Duration::ZERO,
        };
        assert_eq!(script.core.begin(&[restart; 3]), [start(0)]);
        assert_eq!(script.started(0), [start(1)]);
        assert_eq!(script.started(1), [start(2)]);
        assert_eq!(script.started(2), [Action::Up]);
        script
    }

    fn is(&mut self, event: Event) -> Vec<Action> {
        self.core.handle(event, self.now)
    }

    fn started(&mut self, child: usize) -> Vec<Action> {
        self.is(Event::Started { child })
    }

    fn fails(&mut self, child: usize) -> Vec<Action> {
        let exit = Exit::Failed;
        self.is(Event::Exited { child, exit })
    }

    fn ends(&mut self, child: usize) -> Vec<Action> {
        let exit = Exit::Normal;
        self.is(Event::Exited { child, exit })
    }

    fn stops(&mut self) -> Vec<Action> {
        self.is(Event::Stop)
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
    }
}

fn start(child: usize) -> Action {
    Action::Start {
        child,
        again: false,
    }
}

fn again(child: usize) -> Action {
    Action::Start { child, again: true }
}

fn stop(child: usize) -> Action {
    Action::Stop { child }
}

#[test]
fn one_for_one_touches_nobody_else() {
    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    assert_eq!(script.fails(1), [again(1)]);
    assert_eq!(script.started(1), []);
}

#[test]
fn one_for_all_stops_the_last_first_and_starts_the_first_first() {
    let mut script = Script::up(Strategy::OneForAll, Restart::Permanent);
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.ends(2), [stop(0)]);
    assert_eq!(script.ends(0), [again(0)]);
    assert_eq!(script.started(0), [again(1)]);
    assert_eq!(script.started(1), [again(2)]);
    assert_eq!(script.started(2), []);
}

#[test]
fn rest_for_one_leaves_those_before_alone() {
    let mut script = Script::up(Strategy::RestForOne, Restart::Permanent);
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.ends(2), [again(1)]);
    assert_eq!(script.started(1), [again(2)]);
    assert_eq!(script.started(2), []);
}

#[test]
fn a_failure_while_siblings_start_begins_anew_with_all_of_them() {
    let mut script = Script::up(Strategy::RestForOne, Restart::Permanent);
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.ends(2), [again(1)]);
    // The one before fails meanwhile: what is being started must come up before it can be stopped.
    assert_eq!(script.fails(0), []);
    assert_eq!(script.started(1), [stop(1)]);
    assert_eq!(script.ends(1), [again(0)]);
    assert_eq!(script.started(0), [again(1)]);
    assert_eq!(script.started(1), [again(2)]);
}

#[test]
fn a_child_that_ends_by_itself_is_started_again_only_if_permanent() {
    let mut permanent = Script::up(Strategy::OneForOne, Restart::Permanent);
    assert_eq!(permanent.ends(0), [again(0)]);
    let mut transient = Script::up(Strategy::OneForOne, Restart::Transient);
    assert_eq!(transient.ends(0), []);
    assert_eq!(transient.fails(1), [again(1)]);
    let mut temporary = Script::up(Strategy::OneForOne, Restart::Temporary);
    assert_eq!(temporary.fails(0), []);
}

#[test]
fn a_sibling_that_had_ended_starts_with_the_others() {
    let mut script = Script::up(Strategy::OneForAll, Restart::Transient);
    assert_eq!(script.ends(0), []);
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.ends(2), [again(0)]);
}

#[test]
fn failures_in_a_row_wait_ever_longer_and_a_long_life_is_a_new_row() {
    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    assert_eq!(script.fails(0), [again(0)]);
    script.started(0);
    let (ticket, duration) = (2, Duration::from_millis(100));
    assert_eq!(script.fails(0), [Action::Wait { ticket, duration }]);
    assert_eq!(script.is(Event::Waited { ticket: 1 }), [], "not its ticket");
    assert_eq!(script.is(Event::Waited { ticket }), [again(0)]);
    let (ticket, duration) = (3, Duration::from_millis(200));
    let failed = script.is(Event::StartFailed { child: 0 });
    assert_eq!(failed, [Action::Wait { ticket, duration }]);
    assert_eq!(script.is(Event::Waited { ticket }), [again(0)]);
    script.started(0);
    script.later(WITHIN * 2);
    assert_eq!(script.fails(0), [again(0)], "at once");
}

#[test]
fn one_restart_too_many_stops_everything_and_fails() {
    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    for child in 0..3 {
        assert_eq!(script.fails(child), [again(child)]);
        script.started(child);
    }
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.ends(2), [stop(0)]);
    assert_eq!(script.ends(0), [Action::Escalate]);
    assert_eq!(script.stops(), [], "it is over");
}

#[test]
fn restarts_that_lie_long_back_are_forgiven() {
    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    for round in 0..20 {
        script.later(WITHIN / 2);
        assert!(script.fails(round % 3).contains(&again(round % 3)));
        script.started(round % 3);
    }
}

#[test]
fn stopping_waits_for_what_starts_and_goes_backwards() {
    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    assert_eq!(script.fails(2), [again(2)]);
    assert_eq!(script.stops(), []);
    assert_eq!(script.started(2), [stop(2)]);
    assert_eq!(script.fails(1), [], "no matter now");
    assert_eq!(script.fails(2), [stop(0)], "however it ended");
    assert_eq!(script.ends(0), [Action::Finish]);
}

#[test]
fn a_supervisor_whose_first_children_do_not_start_fails() {
    let mut core = Core::new(
        Strategy::OneForOne,
        Intensity::default(),
        Backoff::default(),
    );
    let now = Duration::ZERO;
    assert_eq!(core.begin(&[Restart::Permanent; 2]), [start(0)]);
    core.handle(Event::Started { child: 0 }, now);
    let failed = core.handle(Event::StartFailed { child: 1 }, now);
    assert_eq!(failed, [stop(0)]);
    let exit = Exit::Normal;
    let ended = core.handle(Event::Exited { child: 0, exit }, now);
    assert_eq!(ended, [Action::Escalate]);
}

/// Two groups at a time would stop their children side by side, and not the last first.
#[test]
fn a_child_added_while_others_are_brought_up_starts_behind_them() {
    let mut script = Script::up(Strategy::RestForOne, Restart::Permanent);
    assert_eq!(script.fails(1), [stop(2)]);
    assert_eq!(script.core.add(Restart::Permanent), (3, vec![]));
    assert_eq!(script.ends(2), [again(1)]);
    assert_eq!(script.started(1), [again(2)]);
    assert_eq!(script.started(2), [start(3)]);
    assert_eq!(script.started(3), []);

    let mut script = Script::up(Strategy::OneForAll, Restart::Permanent);
    assert_eq!(script.fails(0), [stop(2)]);
    assert_eq!(script.core.add(Restart::Permanent), (3, vec![]));
    assert_eq!(script.ends(2), [stop(1)]);
    assert_eq!(script.ends(1), [again(0)]);
    for child in 0..3 {
        assert_eq!(script.started(child).len(), 1);
    }
    assert_eq!(script.started(3), []);

    let mut script = Script::up(Strategy::OneForOne, Restart::Permanent);
    assert_eq!(script.fails(2), [again(2)]);
    let (_, actions) = script.core.add(Restart::Permanent);
    assert_eq!(actions, [start(3)], "it relies on nobody");
}

#[test]
fn a_child_added_later_that_does_not_start_is_refused_and_nothing_else_happens() {
    let mut script = Script::up(Strategy::OneForAll, Restart::Permanent);
    let (child, actions) = script.core.add(Restart::Permanent);
    assert_eq!(actions, [start(child)]);
    let refused = script.is(Event::StartFailed { child });
    assert_eq!(refused, [Action::Refuse { child }]);
    assert_eq!(script.fails(0), [stop(2)]);
    assert_eq!(script.ends(2), [stop(1)]);
    assert_eq!(script.ends(1), [again(0)]);
    script.started(0);
    script.started(1);
    assert_eq!(script.started(2), [], "the refused one stays away");
}
