//! What the workers know of a room together.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::traffic::{Cx, Effect};

/// A room before anybody is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoomPlan {
    pub(crate) members: u32,
    pub(crate) publishers: u32,
    /// Who publishes hears it, too.
    pub(crate) hears_itself: bool,
    /// The worker of its publishers.
    pub(crate) owner: usize,
}

/// All rooms of a play.
#[derive(Debug)]
pub(crate) struct Hall {
    pub(crate) rooms: Box<[HallRoom]>,
    /// For each worker, its rooms in which a round is complete. Each is in it once at most.
    complete: Box<[Mutex<Vec<u32>>]>,
}

/// A room.
#[derive(Debug)]
pub(crate) struct HallRoom {
    pub(crate) hears_itself: bool,
    owner: usize,
    hearers: u64,
    /// How much each publisher has sent.
    pub(crate) sent: Box<[AtomicU32]>,
    /// Publishers whose sockets have closed: nobody knows whether what they sent last was read.
    closed: Box<[AtomicBool]>,
    /// Deliveries that are due for what was sent.
    expected: AtomicU64,
    arrived: AtomicU64,
    /// Messages that the server refused: sender and number.
    refused: Mutex<Vec<(u32, u32)>>,
}

impl Hall {
    pub(crate) fn new(plans: &[RoomPlan], workers: usize) -> Self {
        Self {
            rooms: plans.iter().map(HallRoom::new).collect(),
            complete: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Tells the room's owner that everybody has everything.
    pub(super) fn completed(&self, room: u32, by: usize, cx: &mut Cx<'_>) {
        let owner = self.rooms[room as usize].owner;
        self.complete[owner].lock().push(room);
        if owner != by {
            cx.effects.push(Effect::Wake { worker: owner });
        }
    }

    pub(super) fn take_complete(&self, worker: usize) -> Vec<u32> {
        std::mem::take(&mut self.complete[worker].lock())
    }
}

impl HallRoom {
    fn new(plan: &RoomPlan) -> Self {
        let hearers = plan.members - u32::from(!plan.hears_itself);
        Self {
            hears_itself: plan.hears_itself,
            owner: plan.owner,
            hearers: hearers.into(),
            sent: (0..plan.publishers).map(|_| AtomicU32::new(0)).collect(),
            closed: (0..plan.publishers)
                .map(|_| AtomicBool::new(false))
                .collect(),
            expected: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            refused: Mutex::default(),
        }
    }

    /// A publisher is about to send its `n`th message.
    pub(super) fn expect(&self, sender: u32, n: u32) {
        self.sent[sender as usize].store(n, Ordering::Release);
        self.expected.fetch_add(self.hearers, Ordering::AcqRel);
    }

    /// A delivery has arrived. True when it was the last one due.
    pub(super) fn arrived(&self) -> bool {
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        arrived == self.expected.load(Ordering::Acquire)
    }

    pub(super) fn is_expecting(&self) -> bool {
        self.arrived.load(Ordering::Acquire) < self.expected.load(Ordering::Acquire)
    }

    /// The socket of a publisher has closed.
    pub(super) fn close(&self, sender: u32) {
        self.closed[sender as usize].store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self, sender: u32) -> bool {
        self.closed[sender as usize].load(Ordering::Acquire)
    }

    pub(super) fn refused(&self, sender: u32, n: u32) {
        self.refused.lock().push((sender, n));
        self.expected.fetch_sub(self.hearers, Ordering::AcqRel);
    }

    pub(super) fn is_refused(&self, sender: u32, n: u32) -> bool {
        self.refused.lock().contains(&(sender, n))
    }
}
