//! What a member of a room has heard: each sender's messages once and in order.

/// Messages heard, by sender.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The number that each sender's next message has.
    next: Box<[u32]>,
    /// Messages that were passed over: sender, first and last.
    gaps: Vec<(u32, u32, u32)>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It was heard before.
    Again,
    /// A later one was heard before it.
    Late,
    /// There is no such sender.
    Unknown,
}

impl Inbox {
    pub(crate) fn new(senders: u32) -> Self {
        Self {
            next: vec![1; senders as usize].into(),
            gaps: Vec::new(),
        }
    }

    /// Takes the `n`th message of a sender.
    pub(crate) fn take(&mut self, sender: u32, n: u32) -> Result<(), Fault> {
        let next = self.next.get_mut(sender as usize).ok_or(Fault::Unknown)?;
        if n == *next {
            *next += 1;
            return Ok(());
        }
        if n > *next {
            self.gaps.push((sender, *next, n - 1));
            *next = n + 1;
            return Ok(());
        }
        Err(self.fill_gap(sender, n))
    }

    /// A message below the next: it closes a gap, or it is there already.
    fn fill_gap(&mut self, sender: u32, n: u32) -> Fault {
        let gap = self
            .gaps
            .iter()
            .position(|&(of, first, last)| of == sender && (first..=last).contains(&n));
        let Some(gap) = gap else { return Fault::Again };
        let (_, first, last) = self.gaps.swap_remove(gap);
        let parts = [(sender, first, n - 1), (sender, n + 1, last)];
        self.gaps
            .extend(parts.into_iter().filter(|(_, first, last)| first <= last));
        Fault::Late
    }

    /// Ranges of messages that did not come, although a later one of the same sender did.
    pub(crate) fn overtaken(&self) -> &[(u32, u32, u32)] {
        &self.gaps
    }

    /// Ranges of messages that have yet to come, when each sender has sent so many.
    pub(crate) fn outstanding(&self, sent: impl Fn(u32) -> u32) -> Vec<(u32, u32, u32)> {
        let next = (0..).zip(&self.next);
        let ranges = next.map(|(sender, &next)| (sender, next, sent(sender)));
        ranges.filter(|(_, next, last)| next <= last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_in_order() {
        let mut inbox = Inbox::new(2);
        for (sender, n) in [(0, 1), (1, 1), (0, 2), (0, 3)] {
            assert_eq!(inbox.take(sender, n), Ok(()));
        }
        assert_eq!(inbox.outstanding(|sender| [3, 1][sender as usize]), []);
        assert_eq!(
            inbox.outstanding(|sender| [4, 3][sender as usize]),
            [(0, 4, 4), (1, 2, 3)]
        );
    }

    #[test]
    fn again_late_and_unknown() {
        let mut inbox = Inbox::new(1);
        assert_eq!(inbox.take(0, 4), Ok(()), "1 to 3 may still come");
        assert_eq!(inbox.overtaken(), [(0, 1, 3)]);
        assert_eq!(inbox.take(0, 2), Err(Fault::Late));
        assert_eq!(inbox.take(0, 2), Err(Fault::Again));
        assert_eq!(inbox.take(0, 4), Err(Fault::Again));
        assert_eq!(inbox.overtaken(), [(0, 1, 1), (0, 3, 3)]);
        assert_eq!(inbox.outstanding(|_| 4), []);
        assert_eq!(inbox.take(1, 1), Err(Fault::Unknown));
    }
}
