//! What others sent, to the client or to its channels.

use std::{sync::Arc, task::Context};

use quikapp_actors::fanout::{Broadcast, Close, Delivery, Lane, Note, SlotKey};

use super::{
    FrameSink, Session,
    outcome::Settled,
    sequence::{Sequence, Verdict},
    slot::{Held, Queued, Slot, Unsettled},
};
use crate::{channel::Input, socket::Link};

impl Session {
    pub(super) fn write_backlog<S: FrameSink>(&mut self, cx: &mut Context<'_>, sink: &mut S) {
        let mut counting = Counting { sink, sent: 0 };
        let mut direct = 0;
        while !counting.is_full() {
            if let Some(frame) = self.filled.pop_front() {
                counting.send(&frame);
                continue;
            }
            let Some(delivery) = self.backlog.pop_front() else {
                break;
            };
            direct += u64::from(matches!(delivery, Delivery::Frame(_)));
            self.deliver_one(cx, &mut counting, delivery);
        }
        let metrics = &self.link.hub.metrics;
        metrics.sent_direct.increment(direct);
        metrics.sent_broadcasts.increment(counting.sent - direct);
    }

    fn deliver_one<S: FrameSink>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        delivery: Delivery,
    ) {
        match delivery {
            Delivery::Frame(frame) => sink.send(&frame),
            Delivery::Broadcast {
                slot: SlotKey::SOCKET,
                broadcast,
                ..
            } => self.deliver_to_socket(&broadcast),
            Delivery::Broadcast {
                slot,
                lane,
                broadcast,
            } => self.deliver_broadcast(cx, sink, slot, lane, broadcast),
            Delivery::Note { slot, note } if note.get::<Settled>().is_some() => {
                self.settle(cx, sink, slot);
            }
            Delivery::Note { slot, note } => self.deliver_note(cx, slot, note),
        }
    }

    /// What Phoenix does with a `disconnect` that is broadcast on the socket's id.
    fn deliver_to_socket(&self, broadcast: &Broadcast) {
        if broadcast.event() == "disconnect" {
            self.link.outbox.close(Close::disconnected());
        }
    }

    fn deliver_note(&mut self, cx: &mut Context<'_>, key: SlotKey, note: Note) {
        let limit = usize::from(self.options.limits.held_per_topic);
        if let Some(slot) = self.slots.get(key)
            && !slot.is_settled()
        {
            return slot.hold(Held::Note(note), limit);
        }
        self.end_log(cx, key, &note);
        self.enqueue_input(cx, key, Input::Info(note));
    }

    /// The channel may be busy for long before it gets to a note that its log is the client's no
    /// more. What passes the channel by ends here and now.
    fn end_log(&mut self, cx: &mut Context<'_>, key: SlotKey, note: &Note) {
        let Some(last) = self.scope.log_ends_at(note) else {
            return;
        };
        let slot = self.slots.get(key);
        if let Some(missing) = slot.and_then(|slot| slot.sequence.ends_at(last)) {
            self.enqueue_input(cx, key, Input::Gap(missing));
        }
    }

    fn deliver_broadcast<S: FrameSink>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        key: SlotKey,
        lane: Lane,
        broadcast: Arc<Broadcast>,
    ) {
        let limit = usize::from(self.options.limits.held_per_topic);
        if lane == Lane::Intercept
            && let Some(own_topic) = self.own_topic_of(key, &broadcast)
        {
            return self.leave_to(own_topic, key, broadcast);
        }
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if !slot.is_settled() {
            return slot.hold(Held::Broadcast(lane, broadcast), limit);
        }
        match lane {
            Lane::Intercept => self.enqueue_input(cx, key, Input::Out(broadcast)),
            Lane::Forward => self.forward(sink, key, &broadcast),
            Lane::Own if slot.sequence.has_end() => {}
            Lane::Own if slot.intercepts.contains(&broadcast.event()) => {
                self.enqueue_input(cx, key, Input::Out(broadcast));
            }
            Lane::Own => self.deliver_own(cx, sink, key, &broadcast),
        }
    }

    fn deliver_own<S: FrameSink>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        key: SlotKey,
        broadcast: &Arc<Broadcast>,
    ) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let verdict = match broadcast.seq() {
            Some(seq) => slot.sequence.arrives(seq),
            None => Verdict::Pass,
        };
        match verdict {
            Verdict::Pass => write(slot, &self.link, broadcast, sink),
            Verdict::Drop => {}
            Verdict::Fill(missing) => self.enqueue_input(cx, key, Input::Gap(missing)),
        }
    }

    fn forward<S: FrameSink>(&mut self, sink: &mut S, key: SlotKey, broadcast: &Broadcast) {
        if self.joined_beside(key, broadcast).is_some() {
            return;
        }
        if let Some(slot) = self.slots.get(key) {
            write(slot, &self.link, broadcast, sink);
        }
    }

    /// The other channel, if there is one, in which the client hears the broadcast anyway.
    fn joined_beside(&self, key: SlotKey, broadcast: &Broadcast) -> Option<SlotKey> {
        if self.slots.len() == 1 {
            return None;
        }
        let alias = broadcast.alias();
        let mut names = std::iter::once(broadcast.topic()).chain(alias);
        names.find_map(|topic| self.slots.find(topic).filter(|other| *other != key))
    }

    /// The other channel that follows the log which the broadcast is an entry of.
    fn own_topic_of(&self, key: SlotKey, broadcast: &Broadcast) -> Option<SlotKey> {
        broadcast.seq()?;
        self.joined_beside(key, broadcast)
    }

    /// Leaves an entry to the channel of its own topic. As long as that may still fail to be
    /// joined, it keeps the entry for the other.
    fn leave_to(&mut self, own_topic: SlotKey, key: SlotKey, broadcast: Arc<Broadcast>) {
        let limit = usize::from(self.options.limits.held_per_topic);
        let joining = self.slots.get(own_topic);
        let Some(joining) = joining.and_then(|slot| slot.unsettled.as_mut()) else {
            return;
        };
        if joining.left.len() < limit {
            joining.left.push((key, broadcast));
        } else if let Some(slot) = self.slots.get(key) {
            slot.is_overrun = true;
        }
    }

    /// Gives back what was left to a channel that has ended before it was joined.
    pub(super) fn give_back(&mut self, cx: &mut Context<'_>, left: Vec<(SlotKey, Arc<Broadcast>)>) {
        let limit = usize::from(self.options.limits.held_per_topic);
        for (key, broadcast) in left {
            let Some(slot) = self.slots.get(key) else {
                continue;
            };
            match slot.is_settled() {
                true => self.enqueue_input(cx, key, Input::Out(broadcast)),
                false => slot.hold(Held::Broadcast(Lane::Intercept, broadcast), limit),
            }
        }
    }

    /// The join's reply is on the wire: now what was held follows.
    fn settle<S: FrameSink>(&mut self, cx: &mut Context<'_>, sink: &mut S, key: SlotKey) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let Unsettled { held, missed, .. } = match slot.unsettled.take() {
            Some(unsettled) => *unsettled,
            None => Unsettled::default(),
        };
        for held in held {
            match held {
                Held::Broadcast(lane, broadcast) => {
                    self.deliver_broadcast(cx, sink, key, lane, broadcast);
                }
                Held::Note(note) => self.deliver_note(cx, key, note),
            }
        }
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if let Some(seq) = missed
            && slot.sequence != Sequence::Off
            && let Verdict::Fill(missing) = slot.sequence.arrives_unseen(seq)
        {
            self.enqueue_input(cx, key, Input::Gap(missing));
        }
        self.end_if_overrun(cx, key);
    }

    /// Begins an input of a resting channel, or puts it behind what the channel is doing.
    fn enqueue_input(&mut self, cx: &mut Context<'_>, key: SlotKey, input: Input) {
        let limits = &self.options.limits;
        let limit = usize::from(limits.held_per_topic) + usize::from(limits.pending_per_topic);
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if slot.is_idle() && slot.pending.is_empty() {
            self.begin_input(cx, key, input);
            self.advance(cx, key);
        } else if slot.pending.len() < limit {
            slot.pending.push_back(Queued::Input(input));
        } else {
            slot.is_overrun = true;
        }
    }

    fn end_if_overrun(&mut self, cx: &mut Context<'_>, key: SlotKey) {
        let slot = self.slots.get(key);
        if slot.is_some_and(|slot| slot.is_overrun && slot.is_idle()) {
            self.crash(
                cx,
                key,
                "more was broadcast during its join than can be held",
            );
        }
    }
}

impl Slot {
    fn hold(&mut self, held: Held, limit: usize) {
        let Some(unsettled) = &mut self.unsettled else {
            return;
        };
        if unsettled.held.len() < limit {
            unsettled.held.push_back(held);
        } else if let Held::Broadcast(Lane::Own, broadcast) = &held
            && let Some(seq) = broadcast.seq()
        {
            // It is in the log, and will be read from there.
            unsettled.missed = unsettled.missed.max(Some(seq));
        } else {
            self.is_overrun = true;
        }
    }
}

fn write<S: FrameSink>(slot: &Slot, link: &Link, broadcast: &Broadcast, sink: &mut S) {
    if let Some(frame) = broadcast.encoded_as(slot.address.topic(), link.vsn) {
        sink.send(&frame);
    }
    if let Some(taken) = broadcast.timed() {
        link.hub.metrics.delivery.record(taken);
    }
}

/// Counts what is sent.
struct Counting<'a, S> {
    sink: &'a mut S,
    sent: u64,
}

impl<S: FrameSink> FrameSink for Counting<'_, S> {
    fn send(&mut self, frame: &quikapp_protocol::Encoded) {
        self.sent += 1;
        self.sink.send(frame);
    }

    fn is_full(&self) -> bool {
        self.sink.is_full()
    }
}
