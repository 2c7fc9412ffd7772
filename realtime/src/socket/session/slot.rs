//! The topics of a connection.

use std::{collections::VecDeque, sync::Arc};

use quikapp_actors::fanout::{Broadcast, Lane, Note, SlotKey};
use quikapp_protocol::{Message, Ref};
use quikapp_storage::Seq;
use slab::Slab;

use super::sequence::Sequence;
use crate::channel::{Address, Input, Instance};

/// One topic of a connection, from the first join to the end of the last.
pub(super) struct Slot {
    /// As in the address, and here because every delivery compares it.
    pub(super) key: SlotKey,
    pub(super) address: Arc<Address>,
    pub(super) phase: Phase,
    /// What waits for the job under way, in the order it came.
    pub(super) pending: Pending,
    /// What waits for the join's reply; nothing once that is on the wire.
    pub(super) unsettled: Option<Box<Unsettled>>,
    /// A queue ran over: the channel ends as soon as its job is done.
    pub(super) is_overrun: bool,
    pub(super) sequence: Sequence,
    pub(super) intercepts: &'static [&'static str],
}

/// What waits until the join's reply is on the wire. A topic spends most of its life without it,
/// so it stands apart.
#[derive(Default)]
pub(super) struct Unsettled {
    /// What came, in the order it came.
    pub(super) held: VecDeque<Held>,
    /// Entries that other channels left to this one while it was not joined yet.
    pub(super) left: Vec<(SlotKey, Arc<Broadcast>)>,
    /// The newest sequenced broadcast that no longer fitted `held`.
    pub(super) missed: Option<Seq>,
}

/// One thing that waits until the join's reply is on the wire. Notes wait with the broadcasts: a
/// note that one's membership has ended must not overtake what was said before.
pub(super) enum Held {
    Broadcast(Lane, Arc<Broadcast>),
    Note(Note),
}

/// What a topic is doing. Everything but `Idle` means that a job is under way.
pub(super) enum Phase {
    Idle(Box<dyn Instance>),
    Joining(Box<Request>),
    /// With the ref to answer, if it is an event of the client.
    Handling(Option<Ref>),
    /// Reading a gap from here.
    Filling(Seq),
    /// The token is being renewed; the channel itself rests.
    Renewing(Box<dyn Instance>, Ref),
    Ending(Box<Ending>),
}

/// A join that is under way.
pub(super) struct Request {
    /// As the client sent it: null stays null in the reply.
    pub(super) join_ref: Ref,
    pub(super) msg_ref: Ref,
    /// The membership that this one replaces, to be closed behind the reply.
    pub(super) replaces: Option<Arc<Address>>,
}

/// Why a channel is saying good-bye, and what follows.
pub(super) enum Ending {
    /// Answer the leave, then `phx_close`.
    Leave { msg_ref: Ref },
    /// Start this join in its place.
    Rejoin(Message),
    /// `phx_close`.
    Stop,
    /// `phx_error`.
    Crash,
}

pub(super) enum Queued {
    Message(Message),
    Input(Input),
}

/// A queue that knows how many bytes of its client it holds. Whoever pushes looks at the bounds.
/// Once it was found empty it owns nothing and takes up one word.
#[derive(Default)]
pub(super) struct Pending(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    bytes: usize,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.queue.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(test)]
    pub(super) fn owns_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes of the client's messages in it.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    pub(super) fn push_back(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += queued.bytes();
        waiting.queue.push_back(queued);
    }

    /// Puts something of the server's own before everything else.
    pub(super) fn push_front(&mut self, input: Input) {
        let waiting = self.0.get_or_insert_default();
        waiting.queue.push_front(Queued::Input(input));
    }

    /// The next; an empty queue gives its memory back.
    pub(super) fn pop_front(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let Some(next) = waiting.queue.pop_front() else {
            self.0 = None;
            return None;
        };
        waiting.bytes -= next.bytes();
        Some(next)
    }

    /// Drops what was meant for a membership that has ended.
    pub(super) fn keep_messages(&mut self) {
        if let Some(waiting) = &mut self.0 {
            let queue = &mut waiting.queue;
            queue.retain(|queued| matches!(queued, Queued::Message(_)));
        }
    }

    /// The client's messages, in the order they came.
    pub(super) fn into_messages(self) -> impl Iterator<Item = Message> {
        let waiting = self.0.map(|waiting| waiting.queue);
        let queued = waiting.into_iter().flatten();
        queued.filter_map(|queued| match queued {
            Queued::Message(message) => Some(message),
            Queued::Input(_) => None,
        })
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.size(),
            Self::Input(_) => 0,
        }
    }
}

impl Slot {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }

    /// The join's reply is on the wire.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    /// Takes the instance of an idle slot out, for a job.
    pub(super) fn begin(&mut self, phase: Phase) -> Option<Box<dyn Instance>> {
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Idle(instance) => Some(instance),
            other => {
                self.phase = other;
                None
            }
        }
    }
}

/// A slot key is a place in the slab, in the low bits, and a count of how often places were
/// given out: what is still addressed to an earlier holder reaches nobody.
const PLACE_BITS: u32 = 12;
pub(super) const MAX_SLOTS: usize = (1 << PLACE_BITS) - 1;

#[derive(Default)]
pub(super) struct Slots {
    slab: Slab<Slot>,
    given_out: u32,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many topics it has room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.slab.capacity()
    }

    /// The key that the next slot at this place (or the next free one) will have.
    pub(super) fn next_key(&mut self, place: Option<usize>) -> SlotKey {
        let place = place.unwrap_or_else(|| self.slab.vacant_key());
        self.given_out = self.given_out.wrapping_add(1);
        SlotKey((self.given_out << PLACE_BITS) | place as u32)
    }

    /// Sockets have few topics, most of them one or two: the slab grows by half, and does not begin
    /// with room for four.
    pub(super) fn insert(&mut self, slot: Slot) {
        let len = self.slab.len();
        if len == self.slab.capacity() {
            self.slab.reserve_exact(1 + len / 2);
        }
        let place = self.slab.insert(slot);
        debug_assert_eq!(place, place_of(self.slab[place].key));
    }

    pub(super) fn remove(&mut self, key: SlotKey) -> Option<Slot> {
        self.get(key)?;
        self.slab.try_remove(place_of(key))
    }

    pub(super) fn get(&mut self, key: SlotKey) -> Option<&mut Slot> {
        let slot = self.slab.get_mut(place_of(key))?;
        (slot.key == key).then_some(slot)
    }

    /// Sockets have few topics, so looking through them beats a map in time and memory.
    pub(super) fn find(&self, topic: &str) -> Option<SlotKey> {
        let mut slots = self.slab.iter();
        let found = slots.find(|(_, slot)| slot.address.topic() == topic);
        found.map(|(_, slot)| slot.key)
    }

    /// The bytes of the client's messages that wait, over all topics.
    pub(super) fn pending_bytes(&self) -> usize {
        self.slab.iter().map(|(_, slot)| slot.pending.bytes()).sum()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> + '_ {
        self.slab.drain()
    }
}

pub(super) fn place_of(key: SlotKey) -> usize {
    (key.0 & MAX_SLOTS as u32) as usize
}
