//! What the client sent, to where it belongs.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use quikapp_actors::fanout::{Close, Delivery, SlotKey};
use quikapp_protocol::{
    DecodeError, Message, Payload, Ref, Reply as ReplyFrame, Status, decode_binary, decode_text,
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Inbound, Session,
    job::{Job, Work},
    sequence::Sequence,
    slot::{Ending, MAX_SLOTS, Pending, Phase, Queued, Request, Slot, place_of},
};
use crate::channel::{Address, Input, Instance, Terminate};

/// Events that only the server may send; Phoenix's channels have no clause for them and crash.
const RESERVED: [&str; 3] = ["phx_close", "phx_error", "phx_reply"];

/// The event by which a client renews its token on any joined topic.
const ACCESS_TOKEN: &str = "access_token";

/// The longest topic, `join_ref` and `ref` of a join. They are remembered as long as the channel
/// lives: without a bound, one socket could pin its channels times the largest message.
const MAX_JOIN_NAME_BYTES: usize = 1024;

#[derive(Deserialize)]
struct AccessToken {
    access_token: String,
}

impl Session {
    pub(super) fn handle_inbound(&mut self, cx: &mut Context<'_>, inbound: Inbound) {
        match self.decode(inbound) {
            Ok(message) => self.admit(cx, message),
            Err(error) => {
                tracing::debug!(connection = self.id().0, %error, "undecodable");
                self.link.hub.metrics.undecodable.increment(1);
                self.inbox.clear();
                self.link.outbox.close(Close::undecodable());
            }
        }
    }

    fn decode(&self, inbound: Inbound) -> Result<Message, DecodeError> {
        match inbound {
            Inbound::Text(text) => decode_text(self.link.vsn, text),
            Inbound::Binary(bytes) => decode_binary(self.link.vsn, bytes),
        }
    }

    /// Counts the message against the socket's rate, then dispatches it.
    fn admit(&mut self, cx: &mut Context<'_>, message: Message) {
        let now = Instant::now();
        let (limits, metrics) = (&self.options.limits, &self.link.hub.metrics);
        let admitted = match message.event.as_str() {
            Some("phx_join") => {
                metrics.joins.increment(1);
                let (rate, burst) = (limits.joins_per_second, limits.join_burst);
                self.joins.take(rate, burst, now)
            }
            // Who is in may always go.
            Some("phx_leave") if self.is_joined(&message) => {
                metrics.leaves.increment(1);
                Ok(())
            }
            _ => {
                let kind = match is_heartbeat(&message) {
                    true => &metrics.heartbeats,
                    false => &metrics.events,
                };
                kind.increment(1);
                let (rate, burst) = (limits.pushes_per_second, limits.push_burst);
                self.pushes.take(rate, burst, now)
            }
        };
        match admitted {
            Ok(()) => self.dispatch(cx, message),
            Err(wait) => self.refuse_rate(&message, wait),
        }
    }

    fn is_joined(&self, message: &Message) -> bool {
        let topic = message.topic.as_str();
        topic.is_some_and(|topic| self.slots.find(topic).is_some())
    }

    fn refuse_rate(&self, message: &Message, wait: Duration) {
        self.link.hub.metrics.rate_limited.increment(1);
        let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let response = json!({"reason": "rate_limited", "retry_after_ms": retry_after_ms});
        self.answer(message, &message.join_ref, &Status::Error, response);
    }

    fn dispatch(&mut self, cx: &mut Context<'_>, message: Message) {
        if is_heartbeat(&message) {
            return self.answer(&message, &Ref::null(), &Status::Ok, json!({}));
        }
        if let Some(field) = oversized_name(&message) {
            return self.refuse_name(&message, field);
        }
        let topic = message.topic.as_str();
        match topic.and_then(|topic| self.slots.find(topic)) {
            Some(key) => self.enqueue_message(cx, key, message),
            None => self.dispatch_unjoined(cx, message),
        }
    }

    fn dispatch_unjoined(&mut self, cx: &mut Context<'_>, message: Message) {
        match message.event.as_str() {
            Some("phx_join") => self.join(cx, message),
            Some("phx_leave") => self.answer(&message, &message.join_ref, &Status::Ok, json!({})),
            _ => self.refuse_unmatched(&message),
        }
    }

    fn join(&mut self, cx: &mut Context<'_>, message: Message) {
        let topic = message.topic.as_str().unwrap_or_default();
        if self.scope.source(topic).is_none() {
            return self.refuse_unmatched(&message);
        }
        let limit = usize::from(self.options.limits.channels).min(MAX_SLOTS);
        if self.slots.len() >= limit {
            return self.refuse(&message, "too many channels joined");
        }
        let key = self.slots.next_key(None);
        let (address, request) = self.request(key, &message, None);
        self.slots.insert(Slot {
            key,
            address: Arc::clone(&address),
            phase: Phase::Joining(Box::new(request)),
            pending: Pending::default(),
            unsettled: Some(Box::default()),
            is_overrun: false,
            sequence: Sequence::Off,
            intercepts: &[],
        });
        self.link.hub.metrics.joined.increment(1.0);
        self.start_join(cx, address, message.payload);
        self.advance(cx, key);
    }

    /// The same topic is joined anew, in the same slot under a new key, after the old membership
    /// has ended. Does not count as one more channel.
    pub(super) fn rejoin(&mut self, cx: &mut Context<'_>, old: SlotKey, message: Message) {
        let key = self.slots.next_key(Some(place_of(old)));
        let Some(slot) = self.slots.get(old) else {
            return;
        };
        let replaced = Arc::clone(&slot.address);
        let (address, request) = self.request(key, &message, Some(replaced));
        let Some(slot) = self.slots.get(old) else {
            return;
        };
        slot.key = key;
        slot.address = Arc::clone(&address);
        slot.phase = Phase::Joining(Box::new(request));
        slot.pending.keep_messages();
        // What others left to the topic stays with it; what was held was for the old membership.
        let unsettled = slot.unsettled.get_or_insert_default();
        unsettled.held = VecDeque::new();
        unsettled.missed = None;
        slot.is_overrun = false;
        slot.sequence = Sequence::Off;
        slot.intercepts = &[];
        self.start_join(cx, address, message.payload);
        // Nobody else looks at what waits under the new key.
        self.advance(cx, key);
    }

    fn request(
        &self,
        key: SlotKey,
        message: &Message,
        replaces: Option<Arc<Address>>,
    ) -> (Arc<Address>, Request) {
        let join_ref = message.join_ref.detached();
        let msg_ref = message.msg_ref.detached();
        let effective = if join_ref.is_null() {
            msg_ref.clone()
        } else {
            join_ref.clone()
        };
        let address = Arc::new(Address {
            link: Arc::clone(&self.link),
            topic: message.topic.detached(),
            join_ref: effective,
            slot: key,
        });
        let request = Request {
            join_ref,
            msg_ref,
            replaces,
        };
        (address, request)
    }

    fn start_join(&mut self, cx: &mut Context<'_>, address: Arc<Address>, params: Payload) {
        let key = address.slot;
        let scope = Arc::clone(&self.scope);
        // `join` only returns nothing for a topic that is not routed, which was looked at before.
        if let Some(join) = scope.join(address, params) {
            self.run(cx, key, Work::Join(join));
        }
    }

    /// Begins a message of a joined topic, or puts it behind what the topic is doing.
    fn enqueue_message(&mut self, cx: &mut Context<'_>, key: SlotKey, message: Message) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if slot.is_idle() && slot.pending.is_empty() {
            self.begin_message(cx, key, message);
            self.advance(cx, key);
        } else if self.may_wait(key, &message) {
            if let Some(slot) = self.slots.get(key) {
                slot.pending.push_back(Queued::Message(message));
            }
        } else {
            self.link.hub.metrics.overloaded.increment(1);
            self.refuse(&message, "overloaded");
        }
    }

    /// Whether there is room for one more message to wait. One alone always may, however large.
    fn may_wait(&mut self, key: SlotKey, message: &Message) -> bool {
        let limits = &self.options.limits;
        let (messages, bytes) = (limits.pending_per_topic, limits.pending_bytes);
        let waiting = self.slots.pending_bytes();
        let fits = waiting == 0 || (waiting + message.size()) as u64 <= bytes.as_u64();
        let slot = self.slots.get(key);
        fits && slot.is_some_and(|slot| slot.pending.len() < usize::from(messages))
    }

    /// Begins what waits, as long as the topic is not busy.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, key: SlotKey) {
        while let Some(slot) = self.slots.get(key) {
            if !slot.is_idle() {
                return;
            }
            let Some(next) = slot.pending.pop_front() else {
                return;
            };
            match next {
                Queued::Message(message) => self.begin_message(cx, key, message),
                Queued::Input(input) => self.begin_input(cx, key, input),
            }
        }
    }

    fn begin_message(&mut self, cx: &mut Context<'_>, key: SlotKey, message: Message) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let event = message.event.as_str();
        if event == Some("phx_join") {
            return self.terminate(cx, key, Ending::Rejoin(message), Terminate::Rejoined);
        }
        if message.join_ref.is_stale_for(&slot.address.join_ref) {
            return;
        }
        match event {
            Some("phx_leave") => {
                let ending = Ending::Leave {
                    msg_ref: message.msg_ref,
                };
                self.terminate(cx, key, ending, Terminate::Left);
            }
            Some(ACCESS_TOKEN) => self.renew(cx, key, message),
            Some(event) if !RESERVED.contains(&event) => {
                let input = Input::In {
                    event: event.to_owned(),
                    payload: message.payload,
                    msg_ref: message.msg_ref,
                };
                self.begin_input(cx, key, input);
            }
            // No handler can know it.
            Some(_) | None => self.crash(cx, key, "an event that only the server sends"),
        }
    }

    pub(super) fn begin_input(&mut self, cx: &mut Context<'_>, key: SlotKey, input: Input) {
        let phase = match &input {
            Input::In { msg_ref, .. } => Phase::Handling(Some(msg_ref.clone())),
            Input::Info(_) | Input::Out(_) => Phase::Handling(None),
            Input::Gap(missing) => {
                self.link.hub.metrics.gap_reads.increment(1);
                Phase::Filling(missing.start)
            }
        };
        if let Some(instance) = self.take_instance(key, phase) {
            self.run(cx, key, Work::Handle(instance.handle(input)));
        }
    }

    fn renew(&mut self, cx: &mut Context<'_>, key: SlotKey, message: Message) {
        let Ok(AccessToken { access_token }) = message.payload.parse() else {
            return self.reply_invalid_token(key, &message);
        };
        let resting = Phase::Handling(None);
        if let Some(instance) = self.take_instance(key, resting) {
            if let Some(slot) = self.slots.get(key) {
                slot.phase = Phase::Renewing(instance, message.msg_ref);
            }
            let renewal = Arc::clone(&self.scope).reauthenticate(access_token);
            self.run(cx, key, Work::Renew(renewal));
        }
    }

    fn reply_invalid_token(&mut self, key: SlotKey, message: &Message) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let join_ref = slot.address.join_ref.clone();
        let response = json!({"reason": "invalid_field", "field": ACCESS_TOKEN});
        self.answer(message, &join_ref, &Status::Error, response);
    }

    /// Lets a resting channel say good-bye.
    pub(super) fn terminate(
        &mut self,
        cx: &mut Context<'_>,
        key: SlotKey,
        ending: Ending,
        reason: Terminate,
    ) {
        self.timers.forget(key);
        if let Some(instance) = self.take_instance(key, Phase::Ending(Box::new(ending))) {
            self.run(cx, key, Work::Terminate(instance.terminate(reason)));
        }
    }

    fn take_instance(&mut self, key: SlotKey, phase: Phase) -> Option<Box<dyn Instance>> {
        self.slots.get(key)?.begin(phase)
    }

    /// Polls a job at once, which is all that most need, and sets it aside otherwise.
    fn run(&mut self, cx: &mut Context<'_>, key: SlotKey, work: Work) {
        let mut job = Job::new(key, work);
        match Pin::new(&mut job).poll(cx) {
            Poll::Ready((key, outcome)) => self.finish(cx, key, outcome),
            Poll::Pending => self.jobs.push(job),
        }
    }

    fn refuse_unmatched(&self, message: &Message) {
        let response = json!({"reason": "unmatched topic"});
        self.answer(message, &Ref::null(), &Status::Error, response);
    }

    fn refuse(&self, message: &Message, reason: &str) {
        let response = json!({ "reason": reason });
        self.answer(message, &message.join_ref, &Status::Error, response);
    }

    fn refuse_name(&self, message: &Message, field: &str) {
        let detail = format!("at most {MAX_JOIN_NAME_BYTES} bytes");
        let response = json!({"reason": "invalid_field", "field": field, "detail": detail});
        self.answer(message, &message.join_ref, &Status::Error, response);
    }

    /// A reply of the socket itself.
    fn answer(
        &self,
        message: &Message,
        join_ref: &Ref,
        status: &Status,
        response: serde_json::Value,
    ) {
        let reply = ReplyFrame {
            join_ref,
            msg_ref: &message.msg_ref,
            topic: &message.topic,
            status,
            response: &response.into(),
        };
        // JSON always has a form; only bytes may not.
        if let Ok(frame) = reply.encode(self.link.vsn) {
            self.link.outbox.push(Delivery::Frame(frame));
        }
    }

    /// Messages that waited for a topic that has ended meanwhile.
    pub(super) fn dispatch_again(&mut self, cx: &mut Context<'_>, waiting: Pending) {
        for message in waiting.into_messages() {
            self.dispatch(cx, message);
        }
    }
}

fn is_heartbeat(message: &Message) -> bool {
    message.event.as_str() == Some("heartbeat") && message.topic.as_str() == Some("phoenix")
}

/// The part of a join that is too long to be remembered.
fn oversized_name(message: &Message) -> Option<&'static str> {
    if message.event.as_str() != Some("phx_join") {
        return None;
    }
    let names = [
        ("topic", message.topic.size()),
        ("join_ref", message.join_ref.size()),
        ("ref", message.msg_ref.size()),
    ];
    let too_long = names
        .into_iter()
        .find(|(_, size)| *size > MAX_JOIN_NAME_BYTES);
    too_long.map(|(field, _)| field)
}
