//! What follows when a handler is done.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Context, Poll},
};

use quikapp_actors::fanout::{Broadcast, Note, SlotKey};
use quikapp_protocol::{Encoded, Payload, Ref};
use quikapp_storage::Seq;
use serde_json::json;

use super::{
    Session,
    job::Outcome,
    sequence::AfterFill,
    slot::{Ending, Phase, Request},
};
use crate::channel::{
    Address, Effects, Flow, Handled, Input, Instance, JoinError, Joined, Reply, StopReason,
    Terminate,
};

/// Queued behind the reply to a join: from here on, deliveries need not wait.
pub(super) struct Settled;

impl Session {
    pub(super) fn poll_jobs(&mut self, cx: &mut Context<'_>) -> bool {
        if self.jobs.owns_nothing() {
            return false;
        }
        let mut has_worked = false;
        while let Poll::Ready((key, outcome)) = self.jobs.poll_next(cx) {
            has_worked = true;
            self.finish(cx, key, outcome);
            self.advance(cx, key);
        }
        has_worked
    }

    pub(super) fn finish(&mut self, cx: &mut Context<'_>, key: SlotKey, outcome: Outcome) {
        match outcome {
            Outcome::Joined(joined) => self.joined(cx, key, joined),
            Outcome::Handled(handled) => self.handled(cx, key, handled),
            Outcome::Terminated => self.ended(cx, key),
            Outcome::Renewed(result) => self.renewed(key, result),
            Outcome::Panicked(message) => self.panicked(cx, key, &message),
        }
    }

    fn joined(&mut self, cx: &mut Context<'_>, key: SlotKey, joined: Joined) {
        let Some((address, Phase::Joining(request))) = self.take_phase(key) else {
            return;
        };
        let (instance, response) = match joined.outcome {
            Ok(granted) => granted,
            Err(error) => return self.join_failed(cx, &address, &request, error),
        };
        let reply = Reply::ok(response);
        let Some(frame) = encode_join_reply(&address, &request, &reply) else {
            // The client's serializer has no form for it, which Phoenix finds out by crashing.
            return self.join_failed(cx, &address, &request, join_crashed());
        };
        address.send(frame);
        close_replaced(&request);
        let mut effects = joined.effects;
        for frame in effects.early.drain(..) {
            address.send(frame);
        }
        address.note(Note::new(Settled));
        self.rest(key, instance);
        if !self.apply(&address, effects) {
            self.crash(cx, key, "a push of the join cannot be encoded");
        }
    }

    fn join_failed(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        request: &Request,
        error: JoinError,
    ) {
        let refusal = Reply::error(error.response);
        let frame = encode_join_reply(address, request, &refusal).or_else(|| {
            encode_join_reply(address, request, &Reply::error(join_crashed().response))
        });
        if let Some(frame) = frame {
            address.send(frame);
        }
        close_replaced(request);
        self.remove(cx, address.slot);
    }

    fn handled(&mut self, cx: &mut Context<'_>, key: SlotKey, handled: Handled) {
        let Some((address, phase)) = self.take_phase(key) else {
            return;
        };
        self.rest(key, handled.instance);
        if !self.apply(&address, handled.effects) {
            return self.crash(
                cx,
                key,
                "something it pushed cannot be encoded, or a queue ran over",
            );
        }
        match phase {
            Phase::Filling(from) => self.filled(cx, &address, from, &handled.filled),
            Phase::Handling(msg_ref) => self.flow(cx, &address, msg_ref.as_ref(), handled.flow),
            _ => {}
        }
    }

    fn flow(&mut self, cx: &mut Context<'_>, address: &Address, msg_ref: Option<&Ref>, flow: Flow) {
        let (reply, stop) = match flow {
            Flow::NoReply => (None, None),
            Flow::Reply(reply) => (Some(reply), None),
            Flow::Stop(reason, reply) => (reply, Some(reason)),
        };
        if let (Some(reply), Some(msg_ref)) = (reply, msg_ref) {
            match address.encode_reply(msg_ref, &reply) {
                Ok(frame) => address.send(frame),
                Err(error) => {
                    let connection = self.id().0;
                    tracing::error!(connection, topic = address.topic(), %error, "reply");
                    return self.crash(cx, address.slot, "a reply that cannot be encoded");
                }
            }
        }
        if let Some(reason) = stop {
            self.stop(cx, address, reason);
        }
    }

    fn stop(&mut self, cx: &mut Context<'_>, address: &Address, reason: StopReason) {
        let ending = match &reason {
            StopReason::Normal | StopReason::Shutdown => Ending::Stop,
            StopReason::Error(why) => {
                let (connection, topic) = (self.id().0, address.topic());
                tracing::error!(connection, topic, %why, "channel stopped with an error");
                Ending::Crash
            }
        };
        self.terminate(cx, address.slot, ending, Terminate::Stopped(reason));
    }

    pub(super) fn crash(&mut self, cx: &mut Context<'_>, key: SlotKey, why: &'static str) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let address = Arc::clone(&slot.address);
        self.stop(cx, &address, StopReason::Error(why.into()));
    }

    /// Does what a handler asked for. False: the channel cannot go on.
    fn apply(&mut self, address: &Address, effects: Effects) -> bool {
        for (due, note) in effects.timers {
            self.timers.delay(due, address.slot, note);
        }
        let Some(slot) = self.slots.get(address.slot) else {
            return true;
        };
        for note in effects.early_notes.into_iter().rev() {
            slot.pending.push_front(Input::Info(note));
        }
        let missing = effects
            .follow
            .and_then(|follow| slot.sequence.follow(follow));
        if let Some(missing) = missing {
            slot.pending.push_front(Input::Gap(missing));
        }
        !effects.is_broken && !slot.is_overrun
    }

    /// Writes what a gap read brought, before anything that arrived since.
    fn filled(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        read_from: Seq,
        entries: &[Arc<Broadcast>],
    ) {
        let Some(slot) = self.slots.get(address.slot) else {
            return;
        };
        let sequence = &mut slot.sequence;
        let next = entries
            .iter()
            .filter(|entry| entry.seq().is_some_and(|seq| sequence.fills(seq)));
        let frames = next
            .filter_map(|entry| entry.encoded_as(address.topic(), address.link.vsn))
            .map(Cow::into_owned);
        self.filled.extend(frames);
        let after = sequence.filled(read_from);
        if let AfterFill::Fill(missing) = &after {
            slot.pending.push_front(Input::Gap(missing.clone()));
        }
        if after == AfterFill::Stuck {
            self.crash(cx, address.slot, "a gap in the log could not be read");
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, key: SlotKey) {
        let Some((address, Phase::Ending(ending))) = self.take_phase(key) else {
            return;
        };
        match *ending {
            Ending::Rejoin(message) => return self.rejoin(cx, key, message),
            Ending::Leave { msg_ref } => {
                let reply = Reply::ok(Payload::empty_object());
                if let Ok(frame) = address.encode_reply(&msg_ref, &reply) {
                    address.send(frame);
                }
                send_close(&address);
            }
            Ending::Stop => send_close(&address),
            Ending::Crash => send_error(&address),
        }
        self.remove(cx, key);
    }

    fn renewed(&mut self, key: SlotKey, result: Result<(), JoinError>) {
        let Some((address, Phase::Renewing(instance, msg_ref))) = self.take_phase(key) else {
            return;
        };
        self.rest(key, instance);
        let reply = match result {
            Ok(()) => {
                self.schedule_expiry();
                Reply::ok(Payload::empty_object())
            }
            Err(error) => Reply::error(error.response),
        };
        if let Ok(frame) = address.encode_reply(&msg_ref, &reply) {
            address.send(frame);
        }
    }

    /// The job, and what it held of the channel, is gone; what is left is to tell the client.
    fn panicked(&mut self, cx: &mut Context<'_>, key: SlotKey, message: &str) {
        self.link.hub.metrics.panics.increment(1);
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let address = Arc::clone(&slot.address);
        let (connection, topic) = (address.link.outbox.id().0, address.topic());
        tracing::error!(connection, topic, message, "channel panicked");
        match &slot.phase {
            Phase::Ending(_) => self.ended(cx, key),
            Phase::Renewing(..) => self.renewed(key, Err(JoinError::reason("internal"))),
            Phase::Joining(_) => {
                if let Some((_, Phase::Joining(request))) = self.take_phase(key) {
                    self.join_failed(cx, &address, &request, join_crashed());
                }
            }
            Phase::Idle(_) | Phase::Handling(_) | Phase::Filling(_) => {
                send_error(&address);
                self.remove(cx, key);
            }
        }
    }

    /// Ends a slot for good. What its client sent meanwhile is for a topic that is not joined.
    fn remove(&mut self, cx: &mut Context<'_>, key: SlotKey) {
        self.timers.forget(key);
        if let Some(slot) = self.slots.remove(key) {
            self.link.hub.metrics.joined.decrement(1.0);
            if let Some(unsettled) = slot.unsettled {
                self.give_back(cx, unsettled.left);
            }
            self.dispatch_again(cx, slot.pending);
        }
    }

    fn take_phase(&mut self, key: SlotKey) -> Option<(Arc<Address>, Phase)> {
        let slot = self.slots.get(key)?;
        let phase = std::mem::replace(&mut slot.phase, Phase::Handling(None));
        Some((Arc::clone(&slot.address), phase))
    }

    fn rest(&mut self, key: SlotKey, instance: Box<dyn Instance>) {
        if let Some(slot) = self.slots.get(key) {
            slot.intercepts = instance.intercepts();
            slot.phase = Phase::Idle(instance);
        }
    }
}

fn join_crashed() -> JoinError {
    JoinError::reason("join crashed")
}

/// Replies to a join echo the `join_ref` as it was sent, null included.
fn encode_join_reply(address: &Address, request: &Request, reply: &Reply) -> Option<Encoded> {
    let frame = quikapp_protocol::Reply {
        join_ref: &request.join_ref,
        msg_ref: &request.msg_ref,
        topic: &address.topic,
        status: &reply.status,
        response: &reply.response,
    };
    frame.encode(address.link.vsn).ok()
}

/// Comes behind the reply to the new join, whatever that says.
fn close_replaced(request: &Request) {
    if let Some(replaced) = &request.replaces {
        send_close(replaced);
    }
}

fn send_close(address: &Address) {
    send_end(address, "phx_close", &Payload::empty_object());
}

fn send_error(address: &Address) {
    send_end(
        address,
        "phx_error",
        &json!({"reason": "channel_crash"}).into(),
    );
}

fn send_end(address: &Address, event: &str, payload: &Payload) {
    if let Ok(frame) = address.encode_end(event, payload) {
        address.send(frame);
    }
}
