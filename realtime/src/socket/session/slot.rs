//! The topics of a connection.

use std::{collections::VecDeque, sync::Arc};

use quikapp_actors::fanout::{Broadcast, Lane, SlotKey};
use quikapp_protocol::{Message, Ref};
use quikapp_storage::Seq;
use slab::Slab;

use super::sequence::Sequence;
use crate::channel::{Address, Input, Instance};

/// One topic of a connection, from the first join to the end of the last.
pub(super) struct Slot {
    pub(super) address: Arc<Address>,
    pub(super) phase: Phase,
    /// What waits for the job under way, in the order it came.
    pub(super) pending: VecDeque<Queued>,
    /// Broadcasts that came before the join's reply is on the wire.
    pub(super) held: VecDeque<(Lane, Arc<Broadcast>)>,
    /// The newest sequenced broadcast that no longer fitted `held`.
    pub(super) missed: Option<Seq>,
    /// The join's reply is on the wire.
    pub(super) is_settled: bool,
    /// A queue ran over: the channel ends as soon as its job is done.
    pub(super) is_overrun: bool,
    pub(super) sequence: Sequence,
    pub(super) intercepts: &'static [&'static str],
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

impl Slot {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
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

    /// The key that the next slot at this place (or the next free one) will have.
    pub(super) fn next_key(&mut self, place: Option<usize>) -> SlotKey {
        let place = place.unwrap_or_else(|| self.slab.vacant_key());
        self.given_out = self.given_out.wrapping_add(1);
        SlotKey((self.given_out << PLACE_BITS) | place as u32)
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        let place = self.slab.insert(slot);
        debug_assert_eq!(place, place_of(self.slab[place].address.slot));
    }

    pub(super) fn remove(&mut self, key: SlotKey) -> Option<Slot> {
        self.get(key)?;
        self.slab.try_remove(place_of(key))
    }

    pub(super) fn get(&mut self, key: SlotKey) -> Option<&mut Slot> {
        let slot = self.slab.get_mut(place_of(key))?;
        (slot.address.slot == key).then_some(slot)
    }

    /// Sockets have few topics, so looking through them beats a map in time and memory.
    pub(super) fn find(&self, topic: &str) -> Option<SlotKey> {
        let mut slots = self.slab.iter();
        let found = slots.find(|(_, slot)| slot.address.topic() == topic);
        found.map(|(_, slot)| slot.address.slot)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> + '_ {
        self.slab.drain()
    }
}

pub(super) fn place_of(key: SlotKey) -> usize {
    (key.0 & MAX_SLOTS as u32) as usize
}
