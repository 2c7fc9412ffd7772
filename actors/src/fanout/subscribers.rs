//! Who listens to a topic.

use slab::Slab;

/// Values under keys that stay valid whatever else comes and goes.
///
/// Most topics of a node have one listener: a person's own topic, the ids by which a socket is
/// disconnected. That one lies inside; with the second come the keys, and a slab that grows by
/// half, since a conversation's size is what its members are and rarely a power of two.
#[derive(Debug, Default)]
pub(super) enum Subscribers<T> {
    #[default]
    None,
    One(T),
    Many(Box<Slab<T>>),
}

/// The key of the one that lies inside.
const ONLY: usize = 0;

impl<T> Subscribers<T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// Puts one in, and says how to find it again.
    pub(super) fn insert(&mut self, new: T) -> usize {
        match std::mem::take(self) {
            Self::None => {
                *self = Self::One(new);
                ONLY
            }
            Self::One(first) => {
                let mut many = Box::new(Slab::with_capacity(2));
                let kept = many.insert(first);
                debug_assert_eq!(kept, ONLY, "the first key of a slab");
                let key = many.insert(new);
                *self = Self::Many(many);
                key
            }
            Self::Many(mut many) => {
                if many.len() == many.capacity() {
                    many.reserve_exact(1 + many.len() / 2);
                }
                let key = many.insert(new);
                *self = Self::Many(many);
                key
            }
        }
    }

    /// Takes one out. An empty slab stays: the topic goes with its last listener.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        match self {
            Self::Many(many) => many.try_remove(key),
            Self::One(_) if key == ONLY => match std::mem::take(self) {
                Self::One(only) => Some(only),
                Self::None | Self::Many(_) => None,
            },
            Self::None | Self::One(_) => None,
        }
    }

    /// Calls with each of them, from one place: the compiler then makes what is called a part of
    /// the loop, which runs once for each of a thousand listeners.
    pub(super) fn for_each(&self, mut call: impl FnMut(&T)) {
        let (mut only, mut many) = match self {
            Self::None => (None, None),
            Self::One(only) => (Some(only), None),
            Self::Many(many) => (None, Some(many.iter())),
        };
        while let Some(each) = only
            .take()
            .or_else(|| many.as_mut()?.next().map(|(_, each)| each))
        {
            call(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{super::topic::Subscriber, *};

    fn all(subscribers: &Subscribers<u32>) -> Vec<u32> {
        let mut all = Vec::new();
        subscribers.for_each(|it| all.push(*it));
        all.sort_unstable();
        all
    }

    #[test]
    fn the_first_keeps_its_key_when_others_come() {
        let mut subscribers = Subscribers::default();
        let first = subscribers.insert(1);
        let second = subscribers.insert(2);
        assert_ne!(first, second);
        assert_eq!(subscribers.remove(first), Some(1));
        assert_eq!(subscribers.remove(first), None);
        assert_eq!(all(&subscribers), [2]);
        assert_eq!(subscribers.remove(second), Some(2));
        assert_eq!(subscribers.len(), 0);
    }

    #[test]
    fn no_listener_takes_room_for_many() {
        let mut subscribers = Subscribers::default();
        for listeners in 1..=1_000 {
            subscribers.insert(0_u128);
            if let Subscribers::Many(many) = &subscribers {
                assert!(many.capacity() <= listeners + listeners / 2 + 1);
            }
        }
        let sizes = (
            size_of::<Subscriber>(),
            size_of::<Subscribers<Subscriber>>(),
        );
        assert!(sizes.0 <= 16 && sizes.1 <= 24, "{sizes:?} bytes");
    }

    proptest! {
        /// Whatever comes and goes, each is found under its key and under no other's.
        #[test]
        fn keys_stay(steps in prop::collection::vec((any::<bool>(), 0_usize..12), 0..200)) {
            let mut subscribers = Subscribers::default();
            let mut model = BTreeMap::new();
            for (number, (comes, which)) in steps.into_iter().enumerate() {
                if comes {
                    let value = number as u32;
                    let key = subscribers.insert(value);
                    prop_assert_eq!(model.insert(key, value), None);
                } else {
                    let key = model.keys().nth(which).copied().unwrap_or(which + 1_000);
                    prop_assert_eq!(subscribers.remove(key), model.remove(&key));
                }
                let mut left: Vec<_> = model.values().copied().collect();
                left.sort_unstable();
                prop_assert_eq!(all(&subscribers), left);
                prop_assert_eq!(subscribers.len(), model.len());
            }
        }
    }
}
