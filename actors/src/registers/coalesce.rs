//! Merging changes that wait for the same write.

use std::{collections::HashMap, hash::Hash};

use quikapp_storage::{ConversationId, DeviceId, Person, RegisterChange};

use super::handle::{Change, Mark};

/// What a change is of. Later changes of the same thing take the place of earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Delivered(Person, ConversationId),
    Read(Person, ConversationId),
    UnreadFrom(Person, ConversationId),
    Draft(Person, ConversationId),
    Mute(Person, ConversationId),
    Cursor(Person, DeviceId, ConversationId),
    Stream(Person, DeviceId),
}

/// Changes that wait, merged, in the order of the last change of each subject; with each those
/// who wait for it.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    changes: Vec<Option<Merged<W>>>,
    places: HashMap<Subject, usize>,
}

/// A change, and who waits for it.
#[derive(Debug)]
pub(super) struct Merged<W> {
    pub(super) change: Change,
    pub(super) waiters: Vec<W>,
}

impl<W> Default for Waiting<W> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<W> Waiting<W> {
    /// Adds a change. Marks that are behind a waiting one change nothing; everything else
    /// replaces what waited. Order is kept where it matters: reading on clears an unread mark.
    pub(super) fn add(&mut self, change: Change, waiter: W) {
        let subject = subject(&change);
        let earlier = self.places.remove(&subject);
        let earlier = earlier.and_then(|place| self.changes[place].take());
        let merged = match earlier {
            Some(mut earlier) => {
                earlier.waiters.push(waiter);
                earlier.change = later(earlier.change, change);
                earlier
            }
            None => Merged {
                change,
                waiters: vec![waiter],
            },
        };
        self.places.insert(subject, self.changes.len());
        self.changes.push(Some(merged));
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> Vec<Merged<W>> {
        self.places.clear();
        std::mem::take(&mut self.changes)
            .into_iter()
            .flatten()
            .collect()
    }
}

fn subject(change: &Change) -> Subject {
    match change {
        Change::Mark(mark) => {
            let (person, id) = (mark.person.clone(), mark.conversation.clone());
            match mark.change {
                RegisterChange::Delivered(_) => Subject::Delivered(person, id),
                RegisterChange::Read(_) => Subject::Read(person, id),
                RegisterChange::UnreadFrom(_) => Subject::UnreadFrom(person, id),
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

/// Of two changes of one subject, the one that counts.
fn later(earlier: Change, now: Change) -> Change {
    let is_behind = match (&earlier, &now) {
        (Change::Mark(Mark { change: a, .. }), Change::Mark(Mark { change: b, .. })) => {
            matches!(
                (a, b),
                (RegisterChange::Delivered(a), RegisterChange::Delivered(b))
                | (RegisterChange::Read(a), RegisterChange::Read(b)) if b < a
            )
        }
        (Change::Cursor(a), Change::Cursor(b)) => b.seq < a.seq,
        _ => false,
    };
    if is_behind { earlier } else { now }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quikapp_storage::{Seq, UserId, WorkspaceId};

    use super::*;

    fn mark(user: &str, change: RegisterChange) -> Change {
        Change::Mark(Mark {
            person: Person {
                workspace: WorkspaceId::new("acme").unwrap(),
                user: UserId::new(user).unwrap(),
            },
            device: None,
            conversation: ConversationId::parse("c").unwrap(),
            message: None,
            change,
        })
    }

    fn taken(waiting: &mut Waiting<u32>) -> Vec<(RegisterChange, Vec<u32>)> {
        let change = |merged: Merged<u32>| match merged.change {
            Change::Mark(mark) => (mark.change, merged.waiters),
            other => panic!("{other:?}"),
        };
        waiting.take().into_iter().map(change).collect()
    }

    #[test]
    fn marks_merge_to_the_highest_and_everybody_is_answered() {
        let mut waiting = Waiting::default();
        for (waiter, seq) in [(1, 5), (2, 9), (3, 7)] {
            waiting.add(mark("ann", RegisterChange::Read(Seq(seq))), waiter);
        }
        waiting.add(mark("bob", RegisterChange::Read(Seq(1))), 4);
        assert_eq!(
            taken(&mut waiting),
            [
                (RegisterChange::Read(Seq(9)), vec![1, 2, 3]),
                (RegisterChange::Read(Seq(1)), vec![4]),
            ]
        );
        assert_eq!(taken(&mut waiting), []);
    }

    #[test]
    fn the_last_draft_counts_even_if_it_is_none() {
        let mut waiting = Waiting::default();
        waiting.add(mark("ann", RegisterChange::Draft(Some("{}".into()))), 1);
        waiting.add(mark("ann", RegisterChange::Draft(None)), 2);
        assert_eq!(
            taken(&mut waiting),
            [(RegisterChange::Draft(None), vec![1, 2])]
        );
    }

    #[test]
    fn marking_unread_after_reading_stays_after_it() {
        let mut waiting = Waiting::default();
        waiting.add(mark("ann", RegisterChange::UnreadFrom(Seq(2))), 1);
        waiting.add(mark("ann", RegisterChange::Read(Seq(9))), 2);
        waiting.add(mark("ann", RegisterChange::UnreadFrom(Seq(4))), 3);
        assert_eq!(
            taken(&mut waiting),
            [
                (RegisterChange::Read(Seq(9)), vec![2]),
                (RegisterChange::UnreadFrom(Seq(4)), vec![1, 3]),
            ]
        );
    }
}
