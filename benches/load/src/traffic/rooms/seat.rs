//! A member of a room, and what it makes of what it hears.

use std::{collections::VecDeque, sync::atomic::Ordering};

use super::{SeatPlan, hall::HallRoom};
use crate::{
    clock::Nanos,
    mark::{Mark, mix},
    record::HeardOrder,
    traffic::inbox::{Fault, Inbox},
    violations::{Kind, Violations},
};

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) plan: SeatPlan,
    pub(super) is_live: bool,
    pub(super) is_gone: bool,
    /// Messages that it sent.
    pub(super) sent: u32,
    /// Publications whose answer is awaited, and when they were due.
    pub(super) unanswered: VecDeque<(u32, Nanos)>,
    inbox: Inbox,
    /// Of all messages heard, in their order.
    digest: u64,
    last_seq: u64,
    /// The seqs of its own messages: as they were heard, and as they were acknowledged, as far as
    /// they have no counterpart yet.
    own_heard: VecDeque<u64>,
    own_acknowledged: VecDeque<u64>,
}

impl Seat {
    pub(super) fn new(plan: SeatPlan, senders: u32) -> Self {
        Self {
            plan,
            is_live: false,
            is_gone: false,
            sent: 0,
            unanswered: VecDeque::new(),
            inbox: Inbox::new(senders),
            digest: 0,
            last_seq: 0,
            own_heard: VecDeque::new(),
            own_acknowledged: VecDeque::new(),
        }
    }

    /// Checks a message. False if it must not be counted: it was there before, or is not for it.
    pub(super) fn hear(
        &mut self,
        mark: &Mark,
        seq: Option<u64>,
        hears_itself: bool,
        violations: &mut Violations,
    ) -> bool {
        let Mark {
            room, sender, n, ..
        } = *mark;
        let is_own = self.plan.publisher == Some(sender);
        if is_own && !hears_itself {
            let example = || format!("room {room}: sender {sender} heard its own message {n}");
            violations.add(Kind::Foreign, 1, example);
            return false;
        }
        let which = || format!("room {room}: message {n} of sender {sender}");
        let fault = match self.inbox.take(sender, n) {
            Ok(()) => None,
            Err(Fault::Late) => Some(Kind::OutOfOrder),
            Err(Fault::Again) => Some(Kind::Duplicate),
            Err(Fault::Unknown) => Some(Kind::Foreign),
        };
        if let Some(kind) = fault {
            violations.add(kind, 1, which);
        }
        self.check_seq(seq, is_own, violations, which);
        self.digest = mix(self.digest ^ (u64::from(sender) << 32 | u64::from(n)));
        // A late one was missing until now; one that is there twice was never due.
        matches!(fault, None | Some(Kind::OutOfOrder))
    }

    fn check_seq(
        &mut self,
        seq: Option<u64>,
        is_own: bool,
        violations: &mut Violations,
        which: impl Fn() -> String,
    ) {
        let Some(seq) = seq else { return };
        if seq <= self.last_seq {
            let last = self.last_seq;
            violations.add(Kind::OutOfOrder, 1, || {
                format!("{}: seq {seq} after {last}", which())
            });
        }
        self.last_seq = seq;
        if is_own {
            self.own_heard.push_back(seq);
            self.compare_own(violations);
        }
    }

    /// The server acknowledged a message as this entry of the log.
    pub(super) fn acknowledged(&mut self, seq: Option<u64>, violations: &mut Violations) {
        if let Some(seq) = seq {
            self.own_acknowledged.push_back(seq);
            self.compare_own(violations);
        }
    }

    fn compare_own(&mut self, violations: &mut Violations) {
        while let (Some(heard), Some(acknowledged)) =
            (self.own_heard.front(), self.own_acknowledged.front())
        {
            if heard != acknowledged {
                violations.add(Kind::Altered, 1, || {
                    format!("acknowledged as seq {acknowledged}, heard as seq {heard}")
                });
            }
            self.own_heard.pop_front();
            self.own_acknowledged.pop_front();
        }
    }

    /// Everything that was sent to the room has been heard, and everything sent was answered.
    /// What was under way when that was `cut_short`, or when the socket of its sender closed, is
    /// counted and returned.
    pub(super) fn check_complete(
        &self,
        room: &HallRoom,
        cut_short: bool,
        violations: &mut Violations,
    ) -> u64 {
        let mut under_way = 0;
        for (sender, n) in each(self.inbox.overtaken(), room) {
            self.miss(sender, n, violations);
        }
        for (sender, n) in each(&self.outstanding(room), room) {
            match cut_short || room.is_closed(sender) {
                true => under_way += 1,
                false => self.miss(sender, n, violations),
            }
        }
        if cut_short {
            return under_way + self.unanswered.len() as u64;
        }
        for (n, _) in &self.unanswered {
            violations.add(Kind::Lost, 1, || {
                format!(
                    "room {}: message {n} of sender {:?} was never answered",
                    self.plan.room, self.plan.publisher
                )
            });
        }
        under_way
    }

    /// How many messages are on their way to it, and answers to its own.
    pub(super) fn under_way(&self, room: &HallRoom) -> u64 {
        let messages = each(&self.outstanding(room), room).count();
        (messages + self.unanswered.len()) as u64
    }

    fn outstanding(&self, room: &HallRoom) -> Vec<(u32, u32, u32)> {
        self.inbox.outstanding(|sender| {
            let is_silent = self.plan.publisher == Some(sender) && !room.hears_itself;
            let sent = room.sent[sender as usize].load(Ordering::Acquire);
            if is_silent { 0 } else { sent }
        })
    }

    fn miss(&self, sender: u32, n: u32, violations: &mut Violations) {
        let room = self.plan.room;
        let example = || format!("room {room}: message {n} of sender {sender} did not arrive");
        violations.add(Kind::Lost, 1, example);
    }

    pub(super) fn heard_order(&self) -> HeardOrder {
        HeardOrder {
            room: self.plan.room,
            digest: self.digest,
        }
    }
}

/// The messages in some ranges (sender, first and last), save those that the server refused.
fn each(ranges: &[(u32, u32, u32)], room: &HallRoom) -> impl Iterator<Item = (u32, u32)> {
    let messages = ranges
        .iter()
        .flat_map(|&(sender, first, last)| (first..=last).map(move |n| (sender, n)));
    messages.filter(|(sender, n)| !room.is_refused(*sender, *n))
}
