//! What waits to be told to other nodes.

use std::collections::VecDeque;

use super::frame::{self, OVERHEAD, Parcel};

/// Broadcasts that wait; above this new ones are lost.
const BROADCASTS: usize = 4096;
/// Their bytes; above this too.
const BYTES: usize = 16 << 20;
/// A larger broadcast stays on its node. As large as a client's message by default.
const LARGEST: usize = (1 << 20) + 1024;
/// A frame ends with the broadcast that reaches this, or with so many.
const FRAME_BYTES: usize = 256 << 10;
const FRAME_BROADCASTS: usize = 256;

/// Why a broadcast does not go to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    TooLarge,
}

/// What goes into one frame.
#[derive(Debug)]
pub(super) struct Batch {
    /// The number of the first.
    pub(super) first: u64,
    pub(super) parcels: Vec<Parcel>,
}

/// First in, first out; what no longer fits is refused, so that what waits stays in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Parcel>,
    bytes: usize,
    /// The number of the next broadcast that is taken.
    next: u64,
}

impl Queue {
    /// Says whether it is the first that waits.
    pub(super) fn push(&mut self, parcel: Parcel) -> Result<bool, Refused> {
        let size = size(&parcel);
        if size > LARGEST || !frame::has_form(&parcel.broadcast) {
            return Err(Refused::TooLarge);
        }
        if self.waiting.len() >= BROADCASTS || self.bytes + size > BYTES {
            return Err(Refused::Full);
        }
        self.bytes += size;
        self.waiting.push_back(parcel);
        Ok(self.waiting.len() == 1)
    }

    /// As many as a frame holds, if any wait.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let (mut parcels, mut bytes) = (Vec::new(), 0);
        while bytes < FRAME_BYTES && parcels.len() < FRAME_BROADCASTS {
            let Some(parcel) = self.waiting.pop_front() else {
                break;
            };
            bytes += size(&parcel);
            parcels.push(parcel);
        }
        self.bytes -= bytes;
        let first = self.next;
        self.next += parcels.len() as u64;
        (!parcels.is_empty()).then_some(Batch { first, parcels })
    }

    /// Loses all that waits; how many. Who heard of those before finds them missing.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.waiting.len() as u64;
        self.waiting.clear();
        self.bytes = 0;
        self.next += count;
        count
    }
}

fn size(parcel: &Parcel) -> usize {
    OVERHEAD + frame::weight(&parcel.broadcast)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use bytes::Bytes;
    use quikapp_protocol::Payload;

    use super::*;
    use crate::fanout::Broadcast;

    fn parcel(len: usize) -> Parcel {
        let payload = Payload::Binary(Bytes::from(vec![0; len]));
        Parcel {
            to: None,
            broadcast: Arc::new(Broadcast::new("t", "e", payload)),
        }
    }

    #[test]
    fn batches_are_numbered_and_bounded_by_count_and_bytes() {
        let mut queue = Queue::default();
        assert!(queue.take().is_none());
        for n in 0..300 {
            assert_eq!(queue.push(parcel(10)), Ok(n == 0));
        }
        let firsts: Vec<_> = std::iter::from_fn(|| queue.take())
            .map(|batch| (batch.first, batch.parcels.len()))
            .collect();
        assert_eq!(firsts, [(0, 256), (256, 44)]);
        for _ in 0..5 {
            queue.push(parcel(100 << 10)).unwrap();
        }
        let sizes: Vec<_> = std::iter::from_fn(|| queue.take())
            .map(|batch| batch.parcels.len())
            .collect();
        assert_eq!(sizes, [3, 2]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_waits_stays() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(parcel(2 << 20)), Err(Refused::TooLarge));
        let long = Broadcast::new("t".repeat(70_000), "e", Payload::empty_object());
        let long = Parcel {
            to: None,
            broadcast: Arc::new(long),
        };
        assert_eq!(queue.push(long), Err(Refused::TooLarge));
        let taken = (0..20).filter(|_| queue.push(parcel(1 << 20)).is_ok());
        assert_eq!(taken.count(), 15, "of 16 MiB, with what is around them");
        assert_eq!(queue.clear(), 15);
        queue.push(parcel(1)).unwrap();
        assert_eq!(queue.take().unwrap().first, 15, "the numbers go on");
        let taken = (0..5000).filter(|_| queue.push(parcel(1)).is_ok());
        assert_eq!(taken.count(), BROADCASTS);
    }
}
