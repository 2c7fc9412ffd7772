//! Whatever a correct server and its clients do, their history passes; and whichever one line of it
//! is then falsified, the right rule says so.
#![allow(clippy::unwrap_used)]

mod model;

use model::{Step, history};
use proptest::prelude::*;
use quikapp_history::{Event, Kind, Mark, Rule, Verdict, check};

/// One falsified line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    LoseAnEntry,
    LoseADelivery,
    RepeatADelivery,
    SwapDeliveries,
    AcknowledgeElsewhere,
    RefuseWhatWasDone,
    RepeatAKey,
    ReplaceAnId,
    ShowAfterRemoval,
    MiscountUnread,
    MisquoteAView,
    ForgetAMember,
    MisquoteAPin,
    MiscountAThread,
    LowerARead,
    HearTwice,
    KeepTheEphemeral,
    KeepTheDeleted,
    NameTheErased,
}

const MUTATIONS: [Mutation; 19] = [
    Mutation::LoseAnEntry,
    Mutation::LoseADelivery,
    Mutation::RepeatADelivery,
    Mutation::SwapDeliveries,
    Mutation::AcknowledgeElsewhere,
    Mutation::RefuseWhatWasDone,
    Mutation::RepeatAKey,
    Mutation::ReplaceAnId,
    Mutation::ShowAfterRemoval,
    Mutation::MiscountUnread,
    Mutation::MisquoteAView,
    Mutation::ForgetAMember,
    Mutation::MisquoteAPin,
    Mutation::MiscountAThread,
    Mutation::LowerARead,
    Mutation::HearTwice,
    Mutation::KeepTheEphemeral,
    Mutation::KeepTheDeleted,
    Mutation::NameTheErased,
];

impl Mutation {
    fn rule(self) -> Rule {
        match self {
            Self::LoseAnEntry => Rule::LogIsDense,
            Self::LoseADelivery => Rule::NothingIsMissed,
            Self::RepeatADelivery | Self::HearTwice => Rule::ShownOnce,
            Self::SwapDeliveries => Rule::InOrder,
            Self::AcknowledgeElsewhere => Rule::AcknowledgedIsKept,
            Self::RefuseWhatWasDone => Rule::RefusedIsNotDone,
            Self::RepeatAKey => Rule::AppliedOnce,
            Self::ReplaceAnId => Rule::DeliveredIsKept,
            Self::ShowAfterRemoval => Rule::OnlyMembers,
            Self::MiscountUnread
            | Self::MisquoteAView
            | Self::ForgetAMember
            | Self::MisquoteAPin
            | Self::MiscountAThread => Rule::ProjectionsFollow,
            Self::LowerARead => Rule::MarksAreKept,
            Self::KeepTheEphemeral => Rule::EphemeralIsNotKept,
            Self::KeepTheDeleted => Rule::DeletedIsGone,
            Self::NameTheErased => Rule::ErasedIsGone,
        }
    }

    /// Falsifies the line, if this mutation can be made of it.
    fn apply(self, events: &mut Vec<Event>, at: usize) -> bool {
        match (self, events[at].clone()) {
            (Self::LoseAnEntry, Event::Log { .. }) => drop(events.remove(at)),
            (Self::LoseADelivery, Event::Delivered { .. }) => match follower(events, at) {
                Some(_) => drop(events.remove(at)),
                None => return false,
            },
            (Self::RepeatADelivery, event @ Event::Delivered { .. }) => events.insert(at, event),
            (Self::SwapDeliveries, Event::Delivered { .. }) => match follower(events, at) {
                Some(next) => events.swap(at, next),
                None => return false,
            },
            (Self::AcknowledgeElsewhere, Event::Ok { seq: Some(_), .. }) => {
                if let Event::Ok { seq: Some(seq), .. } = &mut events[at] {
                    *seq += 1;
                }
            }
            (
                Self::RefuseWhatWasDone,
                Event::Ok {
                    at: time,
                    op,
                    seq: Some(_),
                    ..
                },
            ) => {
                if attempts_with_key_of(events, op) != 1 || !is_logged(events, op) {
                    return false;
                }
                let reason = "moved".to_owned();
                events[at] = Event::Fail {
                    at: time,
                    op,
                    reason,
                };
            }
            (
                Self::RepeatAKey,
                Event::Log {
                    key: Some(_),
                    sender,
                    ..
                },
            ) => {
                let Some(other) = key_of_sender(&events[..at], &sender) else {
                    return false;
                };
                if let Event::Log { key, .. } = &mut events[at] {
                    *key = Some(other);
                }
            }
            (
                Self::ReplaceAnId,
                Event::Log {
                    kind: Kind::Message,
                    ..
                },
            ) => {
                if let Event::Log { id, .. } = &mut events[at] {
                    *id = "another".to_owned();
                }
            }
            (Self::ShowAfterRemoval, event) => return show_after_removal(events, at, &event),
            (Self::MiscountUnread, Event::Unread { .. }) => {
                if let Event::Unread { unread, .. } = &mut events[at] {
                    *unread += 1;
                }
            }
            (Self::MisquoteAView, Event::View { deleted: false, .. }) => {
                if let Event::View { content, .. } = &mut events[at] {
                    *content = Some("something else".to_owned());
                }
            }
            (Self::ForgetAMember, Event::Members { .. }) => {
                if let Event::Members { members, .. } = &mut events[at] {
                    members.pop();
                }
            }
            (_, event) => return self.apply_to_kinds(events, at, event),
        }
        true
    }

    /// The same, of what is not about plain messages.
    fn apply_to_kinds(self, events: &mut Vec<Event>, at: usize, event: Event) -> bool {
        match (self, &mut events[at]) {
            (Self::MisquoteAPin, Event::View { pinned, .. }) => *pinned = !*pinned,
            (Self::MiscountAThread, Event::Thread { unread, .. }) => *unread += 1,
            (Self::HearTwice, Event::Heard { .. }) => events.insert(at, event),
            (
                Self::KeepTheDeleted,
                Event::Log {
                    kind: Kind::Message,
                    content: content @ None,
                    ..
                },
            ) => *content = Some("what it said".to_owned()),
            (
                Self::NameTheErased,
                Event::Log {
                    kind: Kind::Message,
                    key: key @ None,
                    ..
                },
            ) => *key = Some("its key".to_owned()),
            (Self::LowerARead, Event::Unread { .. }) => return lower_a_read(events, at),
            (Self::KeepTheEphemeral, Event::Log { .. }) => return keep_the_ephemeral(events, at),
            _ => return false,
        }
        true
    }
}

fn lower_a_read(events: &mut [Event], at: usize) -> bool {
    let (before, rest) = events.split_at_mut(at);
    let Some(Event::Unread { user, read, .. }) = rest.first_mut() else {
        return false;
    };
    let has_read = before
        .iter()
        .any(|event| matches!(event, Event::Mark { user: by, mark: Mark::Read, .. } if by == user));
    if has_read {
        *read = 0;
    }
    has_read
}

fn keep_the_ephemeral(events: &mut [Event], at: usize) -> bool {
    let (before, rest) = events.split_at_mut(at);
    let Some(Event::Log { sender, key, .. }) = rest.first_mut() else {
        return false;
    };
    let answered = |op: &u64| {
        let refused = |event: &Event| matches!(event, Event::Fail { op: other, .. } if other == op);
        !before.iter().any(refused)
    };
    let said = before.iter().find_map(|event| match event {
        Event::Say { op, user, key, .. } if user == sender && answered(op) => Some(key.clone()),
        _ => None,
    });
    let is_possible = said.is_some();
    if is_possible {
        *key = said;
    }
    is_possible
}

/// Whether the log says that what an attempt was for has been done.
fn is_logged(events: &[Event], op: u64) -> bool {
    let asked = events.iter().find_map(|event| match event {
        Event::Invoke {
            op: other,
            user,
            key,
            ..
        } if *other == op => Some((user, key)),
        _ => None,
    });
    let is_it = |event: &Event| match event {
        Event::Log {
            sender,
            key: Some(key),
            ..
        } => asked == Some((sender, key)),
        _ => false,
    };
    events.iter().any(is_it)
}

/// The next delivery to the same device, if nothing interrupts it before.
fn follower(events: &[Event], at: usize) -> Option<usize> {
    let Event::Delivered { device, .. } = &events[at] else {
        return None;
    };
    for (index, event) in events.iter().enumerate().skip(at + 1) {
        match event {
            Event::Delivered { device: other, .. } if other == device => return Some(index),
            Event::Resumed { device: other, .. } if other == device => return None,
            _ => {}
        }
    }
    None
}

fn attempts_with_key_of(events: &[Event], op: u64) -> usize {
    let named = events.iter().find_map(|event| match event {
        Event::Invoke { op: other, key, .. } if *other == op => Some(key),
        _ => None,
    });
    let of_key = |event: &&Event| matches!(event, Event::Invoke { key, .. } if Some(key) == named);
    events.iter().filter(of_key).count()
}

fn key_of_sender(log: &[Event], of: &str) -> Option<String> {
    log.iter().find_map(|event| match event {
        Event::Log {
            key: Some(key),
            sender,
            ..
        } if sender == of => Some(key.clone()),
        _ => None,
    })
}

/// After the acknowledgement of a removal: shows what comes next in the log.
fn show_after_removal(events: &mut Vec<Event>, at: usize, event: &Event) -> bool {
    let Event::Ok { at: time, op, .. } = event else {
        return false;
    };
    let is_removal = |it: &Event| matches!(it, Event::InvokeMember { op: other, change: quikapp_history::Change::Remove, .. } if other == op);
    if !events[..at].iter().any(is_removal) {
        return false;
    }
    // The place of this removal in the log: as many were before it as in the history.
    let removals = |event: &Event| {
        matches!(
            event,
            Event::InvokeMember {
                change: quikapp_history::Change::Remove,
                ..
            }
        )
    };
    let number = events[..at].iter().filter(|it| removals(it)).count();
    let mut left = events.iter().filter_map(|event| match event {
        Event::Log {
            kind: Kind::MemberLeft,
            seq,
            users,
            ..
        } if users == &["v"] => Some(*seq),
        _ => None,
    });
    let Some(last) = left.nth(number - 1) else {
        return false;
    };
    let next = events.iter().find_map(|event| match event {
        Event::Log { seq, kind, id, .. } if *seq == last + 1 => Some((*kind, id.clone())),
        _ => None,
    });
    let Some((kind, id)) = next.filter(|(kind, _)| *kind != Kind::MemberJoined) else {
        return false;
    };
    let leaked = Event::Delivered {
        at: time + model::BOUND_MS + 1,
        device: "v".to_owned(),
        conversation: "c".to_owned(),
        seq: last + 1,
        kind,
        id,
        about: None,
    };
    events.insert(at + 1, leaked);
    true
}

fn verdict_of(events: &[Event]) -> Verdict {
    check(text_of(events).as_bytes()).unwrap()
}

fn text_of(events: &[Event]) -> String {
    let line = |event| serde_json::to_string(event).unwrap() + "\n";
    events.iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_correct_history_passes(steps in prop::collection::vec(any::<Step>(), 0..120)) {
        let events = history(&steps);
        let verdict = verdict_of(&events);
        prop_assert!(verdict.passed(), "{}\n{}", verdict, text_of(&events));
        for event in &events {
            let text = serde_json::to_string(event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), event);
        }
    }

    #[test]
    fn a_falsified_history_fails(
        steps in prop::collection::vec(any::<Step>(), 1..120),
        mutation in prop::sample::select(&MUTATIONS[..]),
        pick in any::<prop::sample::Index>(),
    ) {
        let events = history(&steps);
        let mut mutant = events.clone();
        let first = pick.index(events.len());
        let mut lines = (0..events.len()).map(|at| (first + at) % events.len());
        prop_assume!(lines.any(|at| mutation.apply(&mut mutant, at)));
        let verdict = verdict_of(&mutant);
        let rule = mutation.rule();
        prop_assert!(verdict.broken.contains_key(&rule), "{:?}: {}\n{}", mutation, verdict, text_of(&mutant));
    }

    #[test]
    fn junk_is_refused_and_nothing_worse(
        steps in prop::collection::vec(any::<Step>(), 0..20),
        junk in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = text_of(&history(&steps)).into_bytes();
        for (at, byte) in junk {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Either is fine; a panic or a hang is not.
        let _ = check(&bytes[..]);
    }
}

/// Each mutation can be made of some history: none of them is tested in vain.
#[test]
fn every_mutation_happens() {
    let all: Vec<Step> = (0..=255)
        .flat_map(|arg| (0..=255).step_by(7).map(move |kind| Step { kind, arg }))
        .collect();
    let events = history(&all[..600]);
    for mutation in MUTATIONS {
        let possible = (0..events.len()).any(|at| mutation.apply(&mut events.clone(), at));
        assert!(possible, "{mutation:?}");
    }
}
