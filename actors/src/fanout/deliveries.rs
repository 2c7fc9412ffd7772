//! Deliveries in their order.

use std::collections::VecDeque;

use super::Delivery;

/// A queue of deliveries. Most hold one, between a lone broadcast and its being written, and that
/// one lies inside: publishing to a thousand idle connections allocates nothing for them.
#[derive(Debug, Default)]
pub struct Deliveries(Held);

/// Where more than one waits, a few more usually follow.
const ROOM: usize = 16;

#[derive(Debug, Default)]
enum Held {
    #[default]
    None,
    One(Delivery),
    Many(VecDeque<Delivery>),
}

impl Deliveries {
    /// An empty queue, which owns nothing.
    pub const fn new() -> Self {
        Self(Held::None)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Held::None => 0,
            Held::One(_) => 1,
            Held::Many(many) => many.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts one at the end.
    pub fn push_back(&mut self, delivery: Delivery) {
        match &mut self.0 {
            Held::None => self.0 = Held::One(delivery),
            Held::Many(many) => many.push_back(delivery),
            Held::One(_) => {
                if let Held::One(first) = std::mem::take(&mut self.0) {
                    let mut many = VecDeque::with_capacity(ROOM);
                    many.extend([first, delivery]);
                    self.0 = Held::Many(many);
                }
            }
        }
    }

    /// Takes the first. With the last one goes what the queue owned.
    pub fn pop_front(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            Held::Many(many) if many.len() > 1 => many.pop_front(),
            _ => match std::mem::take(&mut self.0) {
                Held::None => None,
                Held::One(delivery) => Some(delivery),
                Held::Many(mut last) => last.pop_front(),
            },
        }
    }

    /// The first.
    #[cfg(test)]
    pub(super) fn front(&self) -> Option<&Delivery> {
        match &self.0 {
            Held::None => None,
            Held::One(delivery) => Some(delivery),
            Held::Many(many) => many.front(),
        }
    }
}

impl Iterator for Deliveries {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        self.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::{Note, SlotKey};

    fn numbered(n: u32) -> Delivery {
        let note = Note::new(());
        Delivery::Note {
            slot: SlotKey(n),
            note,
        }
    }

    fn number(delivery: &Delivery) -> u32 {
        match delivery {
            Delivery::Note { slot, .. } => slot.0,
            other => panic!("unexpected {other:?}"),
        }
    }

    #[test]
    fn deliveries_leave_in_the_order_they_came() {
        for count in 0..6 {
            let mut queue = Deliveries::new();
            (0..count).for_each(|n| queue.push_back(numbered(n)));
            assert_eq!(queue.len(), count as usize);
            // More come while it is being emptied.
            let first = queue.pop_front();
            assert_eq!(first.as_ref().map(number), (count > 0).then_some(0));
            queue.push_back(numbered(count));
            let rest: Vec<_> = queue.by_ref().map(|delivery| number(&delivery)).collect();
            assert_eq!(rest, (1.min(count)..=count).collect::<Vec<_>>());
            assert!(queue.is_empty());
        }
    }
}
