//! Following a log over a channel: nothing twice, nothing missing, nothing out of order.

use std::ops::Range;

use quikapp_storage::Seq;

use crate::channel::Follow;

/// Where a channel stands in the log of its topic. A pure state machine: what a sequenced
/// broadcast means depends on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sequence {
    /// The channel follows no log: everything passes.
    #[default]
    Off,
    /// `next` is the next to pass.
    Live { next: Seq },
    /// A gap is being read; what arrives meanwhile, up to `newest`, will be read too.
    Filling { next: Seq, newest: Seq },
    /// The client is still acknowledging a replay: live entries wait in the log.
    CatchingUp { newest: Seq },
    /// The last gap is being read, up to `newest`; of what is behind it nothing is the client's.
    Ending { next: Seq, newest: Seq },
    /// Nothing more is the client's.
    Ended,
}

/// What to do with a sequenced broadcast.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is next.
    Pass,
    /// It was seen, or will be read later.
    Drop,
    /// Entries are missing: read them, this one included.
    Fill(Range<Seq>),
}

/// What to do after a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterFill {
    /// Nothing is missing.
    Live,
    /// More was published meanwhile, or did not fit the read.
    Fill(Range<Seq>),
    /// The read brought nothing of what is missing.
    Stuck,
}

impl Sequence {
    pub(super) fn arrives(&mut self, seq: Seq) -> Verdict {
        match self {
            Self::Off => Verdict::Pass,
            Self::Live { next } if seq == *next => {
                *next = seq.next();
                Verdict::Pass
            }
            Self::Live { next } if seq < *next => Verdict::Drop,
            Self::Live { next } => {
                let missing = *next..seq.next();
                *self = Self::Filling {
                    next: missing.start,
                    newest: seq,
                };
                Verdict::Fill(missing)
            }
            Self::Filling { newest, .. } | Self::CatchingUp { newest } => {
                *newest = seq.max(*newest);
                Verdict::Drop
            }
            Self::Ending { .. } | Self::Ended => Verdict::Drop,
        }
    }

    /// The log goes on, and beyond a place it is not the client's any more, whatever the channel is
    /// doing. Returns what is still to be read before it.
    pub(super) fn ends_at(&mut self, last: Seq) -> Option<Range<Seq>> {
        match *self {
            Self::Off | Self::Ended => None,
            Self::Live { next } if next <= last => {
                *self = Self::Ending { next, newest: last };
                Some(next..last.next())
            }
            Self::Filling { next, newest } | Self::Ending { next, newest } if next <= last => {
                let newest = newest.min(last);
                *self = Self::Ending { next, newest };
                None
            }
            _ => {
                *self = Self::Ended;
                None
            }
        }
    }

    /// What is said from now on is not the client's.
    pub(super) fn has_end(self) -> bool {
        matches!(self, Self::Ending { .. } | Self::Ended)
    }

    /// Like [`arrives`](Self::arrives) for an entry that is not at hand any more: it must be read
    /// even if it is next.
    pub(super) fn arrives_unseen(&mut self, seq: Seq) -> Verdict {
        match *self {
            Self::Live { next } if seq == next => {
                *self = Self::Filling { next, newest: seq };
                Verdict::Fill(seq..seq.next())
            }
            _ => self.arrives(seq),
        }
    }

    /// The channel changes how it follows. `newest` is the newest entry that it was not shown, if
    /// one was held back. Returns what must be read.
    pub(super) fn follow(&mut self, follow: Follow) -> Option<Range<Seq>> {
        let seen = match *self {
            Self::CatchingUp { newest } | Self::Filling { newest, .. } => newest,
            Self::Off | Self::Live { .. } => Seq(0),
            Self::Ending { .. } | Self::Ended => return None,
        };
        match follow {
            Follow::CatchUp => {
                *self = Self::CatchingUp { newest: seen };
                None
            }
            Follow::Live(next) if next > seen => {
                *self = Self::Live { next };
                None
            }
            Follow::Live(next) => {
                *self = Self::Filling { next, newest: seen };
                Some(next..seen.next())
            }
        }
    }

    /// An entry of a read: whether it is next.
    pub(super) fn fills(&mut self, seq: Seq) -> bool {
        match self {
            Self::Filling { next, newest } | Self::Ending { next, newest }
                if *next == seq && seq <= *newest =>
            {
                *next = seq.next();
                true
            }
            _ => false,
        }
    }

    /// The read is done; `read_from` is where it began.
    pub(super) fn filled(&mut self, read_from: Seq) -> AfterFill {
        match *self {
            Self::Filling { next, newest } if next > newest => {
                *self = Self::Live { next };
                AfterFill::Live
            }
            Self::Ending { next, newest } if next > newest => {
                *self = Self::Ended;
                AfterFill::Live
            }
            Self::Filling { next, newest } | Self::Ending { next, newest } => {
                match next == read_from {
                    true => AfterFill::Stuck,
                    false => AfterFill::Fill(next..newest.next()),
                }
            }
            // The channel decided otherwise while the read was under way.
            _ => AfterFill::Live,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn live(next: u64) -> Sequence {
        Sequence::Live { next: Seq(next) }
    }

    #[test]
    fn in_order_passes_and_old_is_dropped() {
        let mut sequence = live(5);
        assert_eq!(sequence.arrives(Seq(4)), Verdict::Drop);
        assert_eq!(sequence.arrives(Seq(5)), Verdict::Pass);
        assert_eq!(sequence.arrives(Seq(5)), Verdict::Drop);
        assert_eq!(sequence.arrives(Seq(6)), Verdict::Pass);
    }

    #[test]
    fn a_hole_is_read_with_what_came_meanwhile() {
        let mut sequence = live(5);
        assert_eq!(sequence.arrives(Seq(7)), Verdict::Fill(Seq(5)..Seq(8)));
        assert_eq!(sequence.arrives(Seq(8)), Verdict::Drop);
        for seq in 5..=7 {
            assert!(sequence.fills(Seq(seq)));
        }
        assert_eq!(sequence.filled(Seq(5)), AfterFill::Fill(Seq(8)..Seq(9)));
        assert!(sequence.fills(Seq(8)));
        assert_eq!(sequence.filled(Seq(8)), AfterFill::Live);
        assert_eq!(sequence, live(9));
    }

    #[test]
    fn a_read_without_progress_is_told() {
        let mut sequence = live(5);
        sequence.arrives(Seq(7));
        assert!(!sequence.fills(Seq(6)), "5 is missing before it");
        assert_eq!(sequence.filled(Seq(5)), AfterFill::Stuck);
    }

    #[test]
    fn what_came_while_catching_up_is_read_at_the_end() {
        let mut sequence = Sequence::Off;
        assert_eq!(sequence.follow(Follow::CatchUp), None);
        assert_eq!(sequence.arrives(Seq(9)), Verdict::Drop);
        assert_eq!(sequence.follow(Follow::Live(Seq(8))), Some(Seq(8)..Seq(10)));
    }

    #[test]
    fn nothing_came_while_catching_up() {
        let mut sequence = Sequence::CatchingUp { newest: Seq(7) };
        assert_eq!(sequence.follow(Follow::Live(Seq(8))), None);
        assert_eq!(sequence, live(8));
    }

    #[test]
    fn behind_the_end_nothing_passes() {
        for mut sequence in [live(5), Sequence::CatchingUp { newest: Seq(3) }] {
            assert_eq!(sequence.ends_at(Seq(4)), None);
            assert_eq!(sequence, Sequence::Ended);
            assert_eq!(sequence.arrives(Seq(5)), Verdict::Drop);
            assert_eq!(sequence.arrives_unseen(Seq(5)), Verdict::Drop);
            assert_eq!(sequence.follow(Follow::Live(Seq(5))), None);
            assert_eq!(sequence.follow(Follow::CatchUp), None);
            assert_eq!(sequence, Sequence::Ended);
        }
        let mut all = Sequence::Off;
        assert_eq!(all.ends_at(Seq(4)), None);
        assert_eq!(all.arrives(Seq(5)), Verdict::Pass, "it follows no log");
    }

    #[test]
    fn a_gap_is_read_up_to_the_end_and_no_further() {
        let mut sequence = live(5);
        assert_eq!(sequence.arrives(Seq(9)), Verdict::Fill(Seq(5)..Seq(10)));
        assert_eq!(sequence.ends_at(Seq(7)), None, "a read is under way");
        assert_eq!(sequence.arrives(Seq(10)), Verdict::Drop);
        assert!(sequence.fills(Seq(5)) && sequence.fills(Seq(6)));
        assert_eq!(sequence.filled(Seq(5)), AfterFill::Fill(Seq(7)..Seq(8)));
        assert!(sequence.fills(Seq(7)) && !sequence.fills(Seq(8)));
        assert_eq!(sequence.filled(Seq(7)), AfterFill::Live);
        assert_eq!(sequence, Sequence::Ended);
    }

    #[test]
    fn what_is_missing_before_the_end_is_read() {
        let mut sequence = live(5);
        assert_eq!(sequence.ends_at(Seq(6)), Some(Seq(5)..Seq(7)));
        assert!(sequence.fills(Seq(5)) && sequence.fills(Seq(6)));
        assert_eq!(sequence.filled(Seq(5)), AfterFill::Live);
        assert_eq!(sequence, Sequence::Ended);
    }

    proptest! {
        /// Broadcasts lost, doubled and swapped at random: what passes is 1, 2, 3, ... without end
        /// or exception, and a final arrival brings everything up to it.
        #[test]
        fn whatever_arrives_what_passes_is_dense(arrivals in prop::collection::vec(1u64..60, 0..200)) {
            let mut sequence = live(1);
            let mut passed = Vec::new();
            let mut newest = 0;
            for seq in arrivals.into_iter().chain([60]) {
                newest = newest.max(seq);
                match sequence.arrives(Seq(seq)) {
                    Verdict::Pass => passed.push(seq),
                    Verdict::Drop => {}
                    Verdict::Fill(missing) => {
                        for read in missing.start.0..missing.end.0 {
                            prop_assert!(sequence.fills(Seq(read)));
                            passed.push(read);
                        }
                        prop_assert_eq!(sequence.filled(missing.start), AfterFill::Live);
                    }
                }
            }
            prop_assert_eq!(passed, (1..=newest).collect::<Vec<_>>());
        }
    }
}
