//! The one queue of a connection.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use quikapp_protocol::Encoded;
use serde::{Deserialize, Serialize};

use super::{Broadcast, Close, Deliveries, Lane};

/// One connection of this process. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// A channel of a connection, as its session numbers them. Never reused within a connection
/// while anything addressed to the earlier holder can still be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotKey(pub u32);

impl SlotKey {
    /// The connection itself: what is sent here concerns no channel.
    pub const SOCKET: Self = Self(u32::MAX);
}

/// An in-process message to a channel, read in its `handle_info`. Shared, so that one note can go
/// to every subscriber of a topic.
#[derive(Clone)]
pub struct Note(Arc<dyn Any + Send + Sync>);

impl Note {
    /// Wraps a message.
    pub fn new(message: impl Any + Send + Sync) -> Self {
        Self(Arc::new(message))
    }

    /// The message, if it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Note(..)")
    }
}

/// Something a connection is owed.
#[derive(Debug)]
pub enum Delivery {
    /// A shared broadcast, for one of its channels.
    Broadcast {
        /// Which channel.
        slot: SlotKey,
        /// How it was subscribed.
        lane: Lane,
        /// The broadcast.
        broadcast: Arc<Broadcast>,
    },
    /// A push or a reply, encoded for this connection.
    Frame(Encoded),
    /// An in-process message to one of its channels.
    Note {
        /// Which channel.
        slot: SlotKey,
        /// The message.
        note: Note,
    },
}

/// A note occupies little, but not nothing.
const NOTE_WEIGHT: usize = 64;

impl Delivery {
    fn weight(&self) -> usize {
        match self {
            Self::Broadcast { broadcast, .. } => broadcast.weight(),
            Self::Frame(frame) => frame.len(),
            Self::Note { .. } => NOTE_WEIGHT,
        }
    }
}

/// How much may wait for one connection before it counts as a slow consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxLimits {
    /// Deliveries.
    pub messages: u32,
    /// Their bytes; a shared broadcast counts in every outbox it waits in.
    pub bytes: u32,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            messages: 4096,
            bytes: 8 * 1024 * 1024,
        }
    }
}

/// What [`Outbox::poll_drain`] found.
#[derive(Debug)]
pub enum Drained {
    /// Deliveries were moved into the caller's queue.
    Deliveries,
    /// Nothing is left and nothing more will come: close the connection like this.
    Close(Close),
}

/// The one bounded queue of a connection: everything that is to reach its client or its channels
/// passes here, in order. Empty, it owns no memory beyond itself.
///
/// Overflow empties the queue and marks the connection for closing with 1013; the sender is not
/// told and never waits.
#[derive(Debug)]
pub struct Outbox {
    id: ConnectionId,
    limits: OutboxLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Deliveries,
    bytes: usize,
    waker: Option<Waker>,
    /// Whoever waits can take no deliveries, and only wants to hear of a close.
    waits_for_close: bool,
    close: Option<Box<Close>>,
}

impl Outbox {
    /// An empty outbox that holds at most `limits` and cuts the connection beyond.
    pub fn new(id: ConnectionId, limits: OutboxLimits) -> Self {
        Self {
            id,
            limits,
            state: Mutex::default(),
        }
    }

    /// Whose outbox it is.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues a delivery. After a close nothing is taken any more, silently: the connection is
    /// as good as gone.
    pub fn push(&self, delivery: Delivery) {
        self.push_all(std::iter::once(delivery));
    }

    /// Queues deliveries that belong together: they are taken together, unless the queue is being
    /// emptied already.
    pub(super) fn push_all(&self, deliveries: impl Iterator<Item = Delivery>) {
        let waker = {
            let mut state = self.state.lock();
            if state.close.is_some() {
                return;
            }
            for delivery in deliveries {
                state.bytes += delivery.weight();
                state.queue.push_back(delivery);
                if self.is_overfull(&state) {
                    state.cut(self.id);
                    break;
                }
            }
            if state.waits_for_close && state.close.is_none() {
                return;
            }
            state.waker.take()
        };
        wake(waker);
    }

    /// Closes the connection once what was queued before is written.
    pub fn close(&self, close: Close) {
        let waker = {
            let mut state = self.state.lock();
            if state.close.is_some() {
                return;
            }
            state.close = Some(Box::new(close));
            state.waker.take()
        };
        wake(waker);
    }

    /// The close that is pending, if one is.
    pub fn closing(&self) -> Option<Close> {
        self.state.lock().close.as_deref().cloned()
    }

    /// Whether a close is pending.
    pub fn is_closing(&self) -> bool {
        self.state.lock().close.is_some()
    }

    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves everything that waits into `into`, which must be empty; pending when there is
    /// nothing, with the waker registered (again, on every poll).
    pub fn poll_drain(&self, cx: &mut Context<'_>, into: &mut Deliveries) -> Poll<Drained> {
        debug_assert!(into.is_empty());
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, into);
            state.bytes = 0;
            return Poll::Ready(Drained::Deliveries);
        }
        if let Some(close) = &state.close {
            return Poll::Ready(Drained::Close(Close::clone(close)));
        }
        state.wait(cx, false);
        Poll::Pending
    }

    /// The close that is pending, for a connection whose client must read before it can be sent
    /// more. Deliveries do not wake it.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.state.lock();
        if let Some(close) = &state.close {
            return Poll::Ready(Close::clone(close));
        }
        state.wait(cx, true);
        Poll::Pending
    }

    /// The queue, for tests that look without taking.
    #[cfg(test)]
    pub(super) fn peek(&self) -> parking_lot::MappedMutexGuard<'_, Deliveries> {
        parking_lot::MutexGuard::map(self.state.lock(), |state| &mut state.queue)
    }

    fn is_overfull(&self, state: &State) -> bool {
        state.queue.len() > self.limits.messages as usize
            || state.bytes > self.limits.bytes as usize
    }
}

impl State {
    fn wait(&mut self, cx: &Context<'_>, for_close: bool) {
        self.waits_for_close = for_close;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Gives up on the connection: what it did not read is dropped, and it is told when to return.
    fn cut(&mut self, id: ConnectionId) {
        self.queue = Deliveries::new();
        self.bytes = 0;
        self.close = Some(Box::new(Close::slow_consumer(reconnect_after_ms(id))));
        metrics::counter!("quikapp_slow_consumers_total").increment(1);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Between one and five seconds, spread by connection so that those cut together do not return
/// together. (A hash of the id: as good as a die here, and the same in every run.)
fn reconnect_after_ms(id: ConnectionId) -> u64 {
    let spread = id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    1000 + spread % 4000
}
