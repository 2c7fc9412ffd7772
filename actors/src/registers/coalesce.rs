//! Merging changes that wait for the same write, such that it comes to what they would have come to
//! one after the other.

use std::{collections::HashMap, hash::Hash};

use quikapp_storage::{ConversationId, DeviceId, Person, RegisterChange, StreamCursor};

use super::handle::{Change, Mark};

/// What a change is of. Changes of the same thing are merged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Delivered(Person, ConversationId),
    /// Read marks and unread marks, which depend on their order.
    Reading(Person, ConversationId),
    Draft(Person, ConversationId),
    Mute(Person, ConversationId),
    Cursor(Person, DeviceId, ConversationId),
    Stream(Person, DeviceId),
}

/// Changes that wait, merged, in the order of the first change of each subject; with each those
/// who wait for it. `R` tells where a stream cursor stands among its kind.
#[derive(Debug)]
pub(super) struct Waiting<W, R> {
    changes: Vec<Merged<W>>,
    /// Where the last change of each subject is.
    places: HashMap<Subject, usize>,
    rank: R,
}

/// A change, and who waits for it.
#[derive(Debug)]
pub(super) struct Merged<W> {
    pub(super) change: Change,
    pub(super) waiters: Vec<W>,
}

impl<W, R: Fn(&StreamCursor) -> Option<u64>> Waiting<W, R> {
    /// Nothing yet.
    pub(super) fn new(rank: R) -> Self {
        Self {
            changes: Vec::new(),
            places: HashMap::new(),
            rank,
        }
    }

    /// Adds a change. One that is behind the last of its subject changes nothing, and another takes
    /// the place of that; what cannot be told is kept behind it.
    pub(super) fn add(&mut self, change: Change, waiter: W) {
        let subject = subject(&change);
        if let Some(place) = self.places.get(&subject) {
            let last = &mut self.changes[*place];
            match order(&last.change, &change, &self.rank) {
                Order::Behind => return last.waiters.push(waiter),
                Order::Replaces => {
                    last.change = change;
                    return last.waiters.push(waiter);
                }
                Order::Follows => {}
            }
        }
        self.places.insert(subject, self.changes.len());
        self.changes.push(Merged {
            change,
            waiters: vec![waiter],
        });
    }

    /// Everything.
    pub(super) fn into_changes(self) -> Vec<Merged<W>> {
        self.changes
    }
}

fn subject(change: &Change) -> Subject {
    match change {
        Change::Mark(mark) => {
            let (person, id) = (mark.person.clone(), mark.conversation.clone());
            match mark.change {
                RegisterChange::Delivered(_) => Subject::Delivered(person, id),
                RegisterChange::Read(_) | RegisterChange::UnreadFrom(_) => {
                    Subject::Reading(person, id)
                }
                RegisterChange::Draft(_) => Subject::Draft(person, id),
                RegisterChange::Mute(_) => Subject::Mute(person, id),
            }
        }
        Change::Cursor(cursor) => Subject::Cursor(
            cursor.person.clone(),
            cursor.device.clone(),
            cursor.conversation.clone(),
        ),
        Change::Stream { person, device, .. } => Subject::Stream(person.clone(), device.clone()),
    }
}

/// What a change does to the last one of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Nothing: that goes further.
    Behind,
    /// It counts instead.
    Replaces,
    /// Both count, in their order.
    Follows,
}

fn order(last: &Change, now: &Change, rank: impl Fn(&StreamCursor) -> Option<u64>) -> Order {
    match (last, now) {
        (Change::Mark(Mark { change: last, .. }), Change::Mark(Mark { change: now, .. })) => {
            order_of_marks(last, now)
        }
        (Change::Cursor(last), Change::Cursor(now)) => by_place(&last.seq, &now.seq),
        (Change::Stream { cursor: last, .. }, Change::Stream { cursor: now, .. }) => {
            match (rank(last), rank(now)) {
                (Some(last), Some(now)) => by_place(&last, &now),
                // Refused when it is written, and only that one.
                _ => Order::Follows,
            }
        }
        _ => Order::Follows,
    }
}

fn order_of_marks(last: &RegisterChange, now: &RegisterChange) -> Order {
    match (last, now) {
        (RegisterChange::Delivered(last), RegisterChange::Delivered(now))
        | (RegisterChange::Read(last), RegisterChange::Read(now)) => by_place(last, now),
        (RegisterChange::UnreadFrom(_), RegisterChange::UnreadFrom(_))
        | (RegisterChange::Draft(_), RegisterChange::Draft(_))
        | (RegisterChange::Mute(_), RegisterChange::Mute(_)) => Order::Replaces,
        // Reading on clears an unread mark that it reaches, and no other.
        _ => Order::Follows,
    }
}

fn by_place<P: Ord>(last: &P, now: &P) -> Order {
    if now < last {
        Order::Behind
    } else {
        Order::Replaces
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use quikapp_storage::{DeviceCursor, Marks, Seq, UserId, WorkspaceId};

    use super::*;

    fn person(user: &str) -> Person {
        Person {
            workspace: WorkspaceId::new("acme").unwrap(),
            user: UserId::new(user).unwrap(),
        }
    }

    fn mark(user: &str, change: RegisterChange) -> Change {
        Change::Mark(Mark {
            person: person(user),
            device: None,
            conversation: ConversationId::parse("c").unwrap(),
            message: None,
            change,
        })
    }

    fn stream(device: &str, cursor: &str) -> Change {
        Change::Stream {
            person: person("ann"),
            device: DeviceId::new(device).unwrap(),
            cursor: StreamCursor(cursor.to_owned()),
        }
    }

    /// A cursor is its number; what is none was not issued here.
    fn rank(cursor: &StreamCursor) -> Option<u64> {
        cursor.0.parse().ok()
    }

    fn merged(changes: impl IntoIterator<Item = Change>) -> Vec<(Change, Vec<usize>)> {
        let mut waiting = Waiting::new(rank);
        for (waiter, change) in changes.into_iter().enumerate() {
            waiting.add(change, waiter);
        }
        let changes = waiting.into_changes().into_iter();
        changes.map(|it| (it.change, it.waiters)).collect()
    }

    fn merged_marks(
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<(RegisterChange, Vec<usize>)> {
        let mark = |(change, waiters)| match change {
            Change::Mark(mark) => (mark.change, waiters),
            other => panic!("{other:?}"),
        };
        merged(changes).into_iter().map(mark).collect()
    }

    #[test]
    fn marks_merge_to_the_highest_and_everybody_is_answered() {
        let read = |user, seq| mark(user, RegisterChange::Read(Seq(seq)));
        let changes = [
            read("ann", 5),
            read("ann", 9),
            read("ann", 7),
            read("bob", 1),
        ];
        assert_eq!(
            merged_marks(changes),
            [
                (RegisterChange::Read(Seq(9)), vec![0, 1, 2]),
                (RegisterChange::Read(Seq(1)), vec![3]),
            ]
        );
    }

    #[test]
    fn the_last_draft_counts_even_if_it_is_none() {
        let drafts = [Some("{}".into()), None];
        let drafts = drafts.map(|draft| mark("ann", RegisterChange::Draft(draft)));
        assert_eq!(
            merged_marks(drafts),
            [(RegisterChange::Draft(None), vec![0, 1])]
        );
    }

    /// A late receipt of what was read long before does not undo an unread mark.
    #[test]
    fn marking_unread_after_reading_stays_after_it() {
        let (read, unread) = (RegisterChange::Read, RegisterChange::UnreadFrom);
        let changes = [read(Seq(9)), unread(Seq(7)), unread(Seq(8)), read(Seq(5))];
        let expected = [
            (read(Seq(9)), vec![0]),
            (unread(Seq(8)), vec![1, 2]),
            (read(Seq(5)), vec![3]),
        ];
        let changes = changes.map(|change| mark("ann", change));
        assert_eq!(merged_marks(changes), expected);
    }

    /// Whoever heard that a cursor is kept does not find an earlier one; what was not issued here
    /// takes nobody else's along.
    #[test]
    fn an_earlier_stream_cursor_does_not_replace_a_later_one() {
        let changes = [
            ("phone", "7"),
            ("phone", "5"),
            ("laptop", "2"),
            ("phone", "junk"),
        ];
        let cursors = merged(changes.map(|(device, cursor)| stream(device, cursor)));
        let cursor = |(change, waiters)| match change {
            Change::Stream { cursor, .. } => (cursor.0, waiters),
            other => panic!("{other:?}"),
        };
        let cursors: Vec<(String, Vec<usize>)> = cursors.into_iter().map(cursor).collect();
        let expected = [("7", vec![0, 1]), ("2", vec![2]), ("junk", vec![3])];
        assert_eq!(
            cursors,
            expected.map(|(text, waiters)| (text.to_owned(), waiters))
        );
    }

    /// What is kept of one person in one conversation, and of one device.
    #[derive(Debug, Default, PartialEq)]
    struct Kept {
        marks: Marks,
        draft: Option<String>,
        device: Seq,
        stream: Option<u64>,
    }

    impl Kept {
        fn after<'a>(tail: Seq, changes: impl IntoIterator<Item = &'a Change>) -> Self {
            let mut kept = Self::default();
            for change in changes {
                match change {
                    Change::Mark(mark) => {
                        kept.marks = kept.marks.moved(&mark.change, tail);
                        if let RegisterChange::Draft(draft) = &mark.change {
                            kept.draft = draft.as_deref().map(ToOwned::to_owned);
                        }
                    }
                    Change::Cursor(cursor) => kept.device = kept.device.max(cursor.seq),
                    Change::Stream { cursor, .. } => kept.stream = kept.stream.max(rank(cursor)),
                }
            }
            kept
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        let seq = || (0..12_u64).prop_map(Seq);
        let cursor = |seq| DeviceCursor {
            person: person("ann"),
            device: DeviceId::new("phone").unwrap(),
            conversation: ConversationId::parse("c").unwrap(),
            seq,
        };
        let draft = proptest::option::of("[a-c]");
        let of_ann = |change| mark("ann", change);
        prop_oneof![
            seq().prop_map(move |seq| of_ann(RegisterChange::Delivered(seq))),
            seq().prop_map(move |seq| of_ann(RegisterChange::Read(seq))),
            seq().prop_map(move |seq| of_ann(RegisterChange::UnreadFrom(seq))),
            draft.prop_map(move |draft| of_ann(RegisterChange::Draft(draft.map(Into::into)))),
            seq().prop_map(move |seq| Change::Cursor(cursor(seq))),
            (0..12_u64).prop_map(|rank| stream("phone", &rank.to_string())),
        ]
    }

    proptest! {
        /// Merged, changes come to what they come to one after the other, and everybody is
        /// answered once.
        #[test]
        fn merging_changes_nothing(
            changes in proptest::collection::vec(change(), 0..12),
            tail in (0..12_u64).prop_map(Seq),
        ) {
            let merged = merged(changes.clone());
            let one_by_one = Kept::after(tail, &changes);
            let together = Kept::after(tail, merged.iter().map(|(change, _)| change));
            prop_assert_eq!(together, one_by_one);
            let mut waiters: Vec<usize> = merged.into_iter().flat_map(|it| it.1).collect();
            waiters.sort_unstable();
            prop_assert_eq!(waiters, (0..changes.len()).collect::<Vec<_>>());
        }
    }
}
