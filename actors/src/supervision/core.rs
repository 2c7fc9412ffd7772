//! What a supervisor does: events and the time in, actions out. Pure.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripts;

use std::{collections::VecDeque, time::Duration};

use super::spec::{Backoff, Intensity, Restart, Strategy};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// In good order.
    Normal,
    /// It panicked, returned an error, or was killed.
    Failed,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A child that was being started runs.
    Started { child: usize },
    /// It does not.
    StartFailed { child: usize },
    /// A child has ended.
    Exited { child: usize, exit: Exit },
    /// A wait is over.
    Waited { ticket: u64 },
    /// The supervisor is to end.
    Stop,
}

/// What to do about it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a child; `again` if it ran before.
    Start { child: usize, again: bool },
    /// Let a child handle what it has, and end; then say [`Event::Exited`].
    Stop { child: usize },
    /// Say [`Event::Waited`] after so long.
    Wait { ticket: u64, duration: Duration },
    /// The first children all run.
    Up,
    /// A child that was added later did not start, and will not be tried again.
    Refuse { child: usize },
    /// Everything has ended: fail, too much has.
    Escalate,
    /// Everything has ended, as was asked.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not there, and nobody will start it but its siblings' strategy.
    Ended,
    /// Not there, and about to be started.
    Down,
    Starting,
    Running {
        since: Duration,
    },
    /// Was told to end.
    Stopping,
}

#[derive(Debug)]
struct Child {
    restart: Restart,
    state: State,
    has_run: bool,
    /// In a row.
    failures: u32,
}

/// Children that are being brought up together: first those that run are stopped, the last first,
/// then the back-off is waited for, then they are started, the first first.
#[derive(Debug)]
struct Group {
    members: Vec<usize>,
    phase: Phase,
    /// The wait that counts.
    ticket: u64,
    has_waited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stopping,
    Waiting,
    Starting,
}

/// One supervisor's state.
#[derive(Debug)]
pub(super) struct Core {
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    children: Vec<Child>,
    groups: Vec<Group>,
    /// When children were restarted, within the window.
    restarts: VecDeque<Duration>,
    /// The first children are still being started.
    is_first_start: bool,
    /// `Finish` or `Escalate`, once it is decided.
    ending: Option<Action>,
    is_over: bool,
    tickets: u64,
}

impl Core {
    pub(super) fn new(strategy: Strategy, intensity: Intensity, backoff: Backoff) -> Self {
        Self {
            strategy,
            intensity,
            backoff,
            children: Vec::new(),
            groups: Vec::new(),
            restarts: VecDeque::new(),
            is_first_start: false,
            ending: None,
            is_over: false,
            tickets: 0,
        }
    }

    /// Starts the first children, once. They come up all, or the supervisor fails.
    pub(super) fn begin(&mut self, children: &[Restart]) -> Vec<Action> {
        self.is_first_start = true;
        self.children.extend(children.iter().map(|it| child(*it)));
        self.groups
            .push(starting((0..self.children.len()).collect()));
        self.go_on()
    }

    /// Adds a child behind the others, and starts it: at once, or behind those that are being
    /// brought up, where it may rely on them.
    pub(super) fn add(&mut self, restart: Restart) -> (usize, Vec<Action>) {
        let place = self.children.len();
        self.children.push(child(restart));
        if self.ending.is_some() {
            self.children[place].state = State::Ended;
            return (place, vec![Action::Refuse { child: place }]);
        }
        match self.groups.last_mut() {
            // All that are brought up are one group, as every failure concerns all behind it.
            Some(group) if self.strategy != Strategy::OneForOne => group.members.push(place),
            _ => self.groups.push(starting(vec![place])),
        }
        (place, self.go_on())
    }

    /// Whether it only stops what is still there.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether a child that does not run is going to.
    pub(super) fn will_start(&self, child: usize) -> bool {
        matches!(self.children[child].state, State::Down | State::Starting)
    }

    pub(super) fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Started { child } => self.started(child, now),
            Event::StartFailed { child } => self.start_failed(child, now, &mut actions),
            Event::Exited { child, exit } => self.exited(child, exit, now, &mut actions),
            Event::Waited { ticket } => self.waited(ticket),
            Event::Stop => self.end(Action::Finish),
        }
        actions.extend(self.go_on());
        actions
    }

    fn started(&mut self, child: usize, now: Duration) {
        let child = &mut self.children[child];
        child.state = State::Running { since: now };
        child.has_run = true;
    }

    fn start_failed(&mut self, child: usize, now: Duration, actions: &mut Vec<Action>) {
        self.children[child].state = State::Down;
        if self.ending.is_some() {
            self.children[child].state = State::Ended;
        } else if self.is_first_start {
            self.end(Action::Escalate);
        } else if self.children[child].has_run {
            self.failed(child, now, actions);
        } else {
            self.children[child].state = State::Ended;
            actions.push(Action::Refuse { child });
        }
    }

    fn exited(&mut self, place: usize, exit: Exit, now: Duration, actions: &mut Vec<Action>) {
        let child = &mut self.children[place];
        let was = std::mem::replace(&mut child.state, State::Down);
        if let State::Running { since } = was
            && now.saturating_sub(since) > self.intensity.within
        {
            child.failures = 0;
        }
        let is_missed = match child.restart {
            Restart::Permanent => true,
            Restart::Transient => exit == Exit::Failed,
            Restart::Temporary => false,
        };
        if self.ending.is_some() || child.restart == Restart::Temporary {
            child.state = State::Ended;
        } else if was != State::Stopping {
            match is_missed {
                true => self.failed(place, now, actions),
                false => self.children[place].state = State::Ended,
            }
        }
    }

    /// A child must be started again: is it once too often, and if not, who goes with it and when?
    fn failed(&mut self, place: usize, now: Duration, actions: &mut Vec<Action>) {
        let within = self.intensity.within;
        self.restarts.push_back(now);
        while let Some(first) = self.restarts.front()
            && now.saturating_sub(*first) > within
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() > self.intensity.restarts {
            return self.end(Action::Escalate);
        }
        let child = &mut self.children[place];
        child.failures = child.failures.saturating_add(1);
        let duration = self.backoff.after(child.failures);
        self.tickets += 1;
        let ticket = self.tickets;
        if !duration.is_zero() {
            actions.push(Action::Wait { ticket, duration });
        }
        let group = Group {
            members: self.concerned(place),
            phase: Phase::Stopping,
            ticket,
            has_waited: duration.is_zero(),
        };
        self.join(group);
    }

    /// Whom the failure of a child concerns: its siblings that ended before start with it.
    fn concerned(&mut self, place: usize) -> Vec<usize> {
        let members = match self.strategy {
            Strategy::OneForOne => place..place + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => place..self.children.len(),
        };
        for child in &mut self.children[members.clone()] {
            let starts = child.has_run && child.restart != Restart::Temporary;
            if child.state == State::Ended && starts {
                child.state = State::Down;
            }
        }
        members.collect()
    }

    /// Groups that share members become one, which begins with stopping.
    fn join(&mut self, mut group: Group) {
        let shares = |other: &Group| other.members.iter().any(|it| group.members.contains(it));
        let (shared, apart): (Vec<_>, Vec<_>) = self.groups.drain(..).partition(shares);
        let members = shared.into_iter().flat_map(|other| other.members);
        group.members.extend(members);
        group.members.sort_unstable();
        group.members.dedup();
        self.groups = apart;
        self.groups.push(group);
    }

    fn waited(&mut self, ticket: u64) {
        for group in &mut self.groups {
            if group.ticket == ticket {
                group.has_waited = true;
            }
        }
    }

    fn end(&mut self, how: Action) {
        // Who asks it to stop need not hear that it would have failed.
        if self.ending != Some(Action::Finish) {
            self.ending = Some(how);
        }
        self.groups.clear();
    }

    fn go_on(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(ending) = self.ending {
            let all: Vec<_> = (0..self.children.len()).collect();
            if !self.is_over && stop_last(&mut self.children, &all, &mut actions) {
                self.is_over = true;
                actions.push(ending);
            }
            return actions;
        }
        let children = &mut self.children;
        self.groups
            .retain_mut(|group| !group.go_on(children, &mut actions));
        if self.is_first_start && self.groups.is_empty() {
            self.is_first_start = false;
            actions.push(Action::Up);
        }
        actions
    }
}

impl Group {
    /// The next step; returns whether nothing is left to do.
    fn go_on(&mut self, children: &mut [Child], actions: &mut Vec<Action>) -> bool {
        if self.phase == Phase::Stopping && stop_last(children, &self.members, actions) {
            self.phase = Phase::Waiting;
        }
        if self.phase == Phase::Waiting && self.has_waited {
            self.phase = Phase::Starting;
        }
        self.phase == Phase::Starting && start_first(children, &self.members, actions)
    }
}

/// Stops the last that runs; returns whether none is left.
fn stop_last(children: &mut [Child], members: &[usize], actions: &mut Vec<Action>) -> bool {
    let is_between = |it: &usize| matches!(children[*it].state, State::Starting | State::Stopping);
    if members.iter().any(is_between) {
        return false;
    }
    let runs = |it: &&usize| matches!(children[**it].state, State::Running { .. });
    match members.iter().rev().find(runs) {
        Some(&child) => {
            children[child].state = State::Stopping;
            actions.push(Action::Stop { child });
            false
        }
        None => true,
    }
}

/// Starts the first that is down; returns whether all are there.
fn start_first(children: &mut [Child], members: &[usize], actions: &mut Vec<Action>) -> bool {
    if members
        .iter()
        .any(|it| children[*it].state == State::Starting)
    {
        return false;
    }
    match members
        .iter()
        .find(|it| children[**it].state == State::Down)
    {
        Some(&child) => {
            let again = children[child].has_run;
            children[child].state = State::Starting;
            actions.push(Action::Start { child, again });
            false
        }
        None => true,
    }
}

fn child(restart: Restart) -> Child {
    Child {
        restart,
        state: State::Down,
        has_run: false,
        failures: 0,
    }
}

fn starting(members: Vec<usize>) -> Group {
    Group {
        members,
        phase: Phase::Starting,
        ticket: 0,
        has_waited: true,
    }
}
