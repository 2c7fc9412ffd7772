//! How far each node was heard.

use std::collections::HashMap;

use crate::fanout::NodeId;

/// More nodes than any cluster has. Above this the one that was silent for longest is forgotten:
/// should it speak again, it is heard from there on.
const NODES: usize = 1024;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    /// So many at its beginning were heard before.
    pub(super) repeated: usize,
    /// So many before it were not heard, and no longer will be.
    pub(super) missed: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heard {
    nodes: HashMap<NodeId, Place>,
    frames: u64,
}

#[derive(Debug)]
struct Place {
    /// The number of the next broadcast.
    next: u64,
    /// The frame by which it was last heard, counted over all nodes.
    last: u64,
}

impl Heard {
    /// A frame of a node, with the number of its first broadcast and how many there are.
    pub(super) fn admit(&mut self, node: NodeId, first: u64, count: usize) -> Admitted {
        self.frames += 1;
        let end = first.saturating_add(count as u64);
        let last = self.frames;
        let Some(place) = self.nodes.get_mut(&node) else {
            self.make_room();
            self.nodes.insert(node, Place { next: end, last });
            return Admitted {
                repeated: 0,
                missed: 0,
            };
        };
        let repeated = place.next.saturating_sub(first);
        let missed = first.saturating_sub(place.next);
        *place = Place {
            next: place.next.max(end),
            last,
        };
        Admitted {
            repeated: usize::try_from(repeated).unwrap_or(count).min(count),
            missed,
        }
    }

    fn make_room(&mut self) {
        if self.nodes.len() < NODES {
            return;
        }
        let longest = self.nodes.iter().min_by_key(|(_, place)| place.last);
        if let Some(node) = longest.map(|(node, _)| *node) {
            self.nodes.remove(&node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(repeated: usize, missed: u64) -> Admitted {
        Admitted { repeated, missed }
    }

    #[test]
    fn what_is_repeated_or_overtaken_is_known_and_what_is_missing_is_counted() {
        let mut heard = Heard::default();
        let (one, two) = (NodeId(1), NodeId(2));
        assert_eq!(heard.admit(one, 40, 3), of(0, 0), "heard from there on");
        assert_eq!(heard.admit(one, 43, 1), of(0, 0));
        assert_eq!(heard.admit(one, 40, 3), of(3, 0), "again");
        assert_eq!(heard.admit(one, 42, 4), of(2, 0), "partly");
        assert_eq!(heard.admit(one, 50, 1), of(0, 4), "a hole");
        assert_eq!(heard.admit(one, 46, 4), of(4, 0), "too late: it was passed");
        assert_eq!(heard.admit(two, 0, 1), of(0, 0), "another node");
    }

    #[test]
    fn who_was_silent_for_longest_is_forgotten() {
        let mut heard = Heard::default();
        for node in 0..NODES as u64 {
            heard.admit(NodeId(node), 0, 1);
        }
        heard.admit(NodeId(0), 1, 1);
        heard.admit(NodeId(9999), 0, 1);
        assert_eq!(heard.nodes.len(), NODES);
        assert_eq!(heard.admit(NodeId(0), 0, 2), of(2, 0), "still known");
        assert_eq!(heard.admit(NodeId(1), 9, 1), of(0, 0), "forgotten");
    }
}
