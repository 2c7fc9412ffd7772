//! What handlers act through.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use quikapp_actors::fanout::{
    Broadcast, ConnectionId, Fanout, Lane, NodeId, Note, SlotKey, Subscription,
};
use quikapp_protocol::{Payload, Ref, Vsn};
use quikapp_storage::{Seq, Timestamp};
use tokio::time::Instant;

use super::{Address, Effects, Follow, Reply};
use crate::socket::{Assigned, Transport};

/// A client's membership of a topic, as its handlers see it.
pub struct Context<A> {
    address: Arc<Address>,
    assigned: Arc<Assigned<A>>,
    source: Arc<str>,
    msg_ref: Ref,
    /// What the handler under way asks for; most ask for nothing, and a resting channel owns none.
    effects: Option<Box<Effects>>,
    is_joining: bool,
    /// Sorted by topic: a person may be in thousands of conversations. Dropped before the guards:
    /// nobody hears of the end of their own presence.
    subscriptions: Vec<Subscription>,
    guards: Vec<Box<dyn Any + Send + Sync>>,
}

impl<A> Context<A> {
    pub(super) fn new(address: Arc<Address>, assigned: Arc<Assigned<A>>, source: Arc<str>) -> Self {
        Self {
            address,
            assigned,
            source,
            msg_ref: Ref::null(),
            effects: None,
            is_joining: true,
            subscriptions: Vec::new(),
            guards: Vec::new(),
        }
    }

    /// The topic, as the client joined it.
    pub fn topic(&self) -> &str {
        self.address.topic()
    }

    /// The topic that the channel's broadcasts travel on: [`topic`](Self::topic), or what that is
    /// an alias of.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// What the socket knows about its client. Changes when the client renews its token.
    pub fn assigns(&self) -> Arc<A> {
        self.assigned.get()
    }

    /// The `join_ref` of this membership.
    pub fn join_ref(&self) -> &Ref {
        &self.address.join_ref
    }

    /// The `ref` of the message that is being handled; null in `handle_info` and `handle_out`.
    pub fn msg_ref(&self) -> &Ref {
        &self.msg_ref
    }

    /// How the client is connected.
    pub fn transport(&self) -> Transport {
        self.address.link.transport
    }

    /// Which serializer the client speaks.
    pub fn vsn(&self) -> Vsn {
        self.address.link.vsn
    }

    /// The connection, with [`slot`](Self::slot) the sender that
    /// [`Fanout::publish_from`] leaves out.
    pub fn connection(&self) -> ConnectionId {
        self.address.link.outbox.id()
    }

    /// This membership among those of its connection.
    pub fn slot(&self) -> SlotKey {
        self.address.slot
    }

    /// The topic registry, for broadcasts on other topics.
    pub fn fanout(&self) -> &Fanout {
        &self.address.link.hub.fanout
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.address.link.hub.clock.now()
    }

    /// Sends an event to this client. During a join it follows the reply. What cannot be encoded
    /// for the client (a push that is no object, bytes for a V1 client) crashes the channel after
    /// the handler, as in Phoenix.
    pub fn push(&mut self, event: &str, payload: impl Into<Payload>) {
        match self.address.encode_push(event, &payload.into()) {
            Ok(frame) if self.is_joining => self.effects().early.push(frame),
            Ok(frame) => self.address.send(frame),
            Err(error) => {
                let (connection, topic) = (self.connection().0, self.topic());
                tracing::error!(connection, topic, event, %error, "push");
                self.effects().is_broken = true;
            }
        }
    }

    /// Sends an event to everyone on the topic, on every node, this client included.
    pub fn broadcast(&self, event: &str, payload: impl Into<Payload>) {
        self.fanout().publish(self.event(event, payload.into()));
    }

    /// Sends an event to everyone else on the topic, on every node.
    pub fn broadcast_from(&self, event: &str, payload: impl Into<Payload>) {
        let event = self.event(event, payload.into());
        self.fanout()
            .publish_from(self.connection(), self.slot(), event);
    }

    /// Sends an event to everyone on the topic who is connected to this node, this client included.
    pub fn local_broadcast(&self, event: &str, payload: impl Into<Payload>) {
        self.fanout()
            .publish_local(self.event(event, payload.into()));
    }

    /// Sends an event to everyone else on the topic who is connected to this node.
    pub fn local_broadcast_from(&self, event: &str, payload: impl Into<Payload>) {
        let event = self.event(event, payload.into());
        self.fanout()
            .publish_local_from(self.connection(), self.slot(), event);
    }

    /// Sends an event to everyone on the topic who is connected to one node ([`Fanout::node`]).
    pub fn direct_broadcast(&self, node: NodeId, event: &str, payload: impl Into<Payload>) {
        let event = self.event(event, payload.into());
        self.fanout().publish_direct(node, event);
    }

    fn event(&self, event: &str, payload: Payload) -> Broadcast {
        let broadcast = Broadcast::new(Arc::clone(&self.source), event, payload);
        if *self.source == *self.topic() {
            broadcast
        } else {
            broadcast.with_alias(self.topic())
        }
    }

    /// A way to answer the current event later and from anywhere, any number of times. Nothing if
    /// the client sent no ref.
    pub fn reply_later(&self) -> Option<ReplyTo> {
        (!self.msg_ref.is_null()).then(|| ReplyTo {
            address: Arc::clone(&self.address),
            msg_ref: self.msg_ref.detached(),
        })
    }

    /// Sends this channel a note, handled after what is under way. A note that a join sends is
    /// handled before anything that the client sends after the join.
    pub fn send_self(&mut self, message: impl Any + Send + Sync) {
        let note = Note::new(message);
        if self.is_joining {
            self.effects().early_notes.push(note);
        } else {
            self.address.note(note);
        }
    }

    /// Sends this channel a note when the time has passed, unless the channel has ended.
    pub fn send_self_after(&mut self, delay: Duration, message: impl Any + Send + Sync) {
        let due = Instant::now() + delay;
        self.effects().timers.push((due, Note::new(message)));
    }

    /// A way to send this channel notes from anywhere.
    pub fn sender(&self) -> NoteSender {
        NoteSender(Arc::clone(&self.address))
    }

    /// Subscribes the channel to its own topic now rather than when the join is granted. A join
    /// that first subscribes and then reads a log misses nothing in between; what arrives before
    /// the reply waits behind it.
    pub fn subscribe_now(&mut self) {
        let source = Arc::clone(&self.source);
        self.subscribe(&source, Lane::Own);
        // The registry has the name, too: one of them is enough.
        if let Ok(place) = self.find_subscription(&source) {
            self.source = Arc::clone(self.subscriptions[place].topic());
        }
    }

    /// Subscribes the channel to a topic, once.
    pub fn subscribe(&mut self, topic: &str, lane: Lane) {
        let Err(place) = self.find_subscription(topic) else {
            return;
        };
        let (outbox, slot) = (&self.address.link.outbox, self.slot());
        let subscription = self.fanout().subscribe(topic, outbox, slot, lane);
        if self.subscriptions.len() == self.subscriptions.capacity() {
            // A list that doubled would keep half of it empty for as long as the socket is open.
            let spare = self.subscriptions.len() / 2 + 1;
            self.subscriptions.reserve_exact(spare);
        }
        self.subscriptions.insert(place, subscription);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, topic: &str) {
        if let Ok(place) = self.find_subscription(topic) {
            drop(self.subscriptions.remove(place));
        }
    }

    /// Whether the channel is subscribed to a topic.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.find_subscription(topic).is_ok()
    }

    fn find_subscription(&self, topic: &str) -> Result<usize, usize> {
        self.subscriptions
            .binary_search_by(|held| (**held.topic()).cmp(topic))
    }

    /// From now on follow the topic's log: sequenced broadcasts below `next` are dropped, a hole
    /// is filled by [`fill_gap`](super::Channel::fill_gap) before what comes after it passes.
    pub fn live_from(&mut self, next: Seq) {
        self.effects().follow = Some(Follow::Live(next));
    }

    /// Holds sequenced broadcasts back until [`live_from`](Self::live_from), which fetches what
    /// was missed: the client is still acknowledging what it had missed before.
    pub fn catch_up(&mut self) {
        self.effects().follow = Some(Follow::CatchUp);
    }

    /// Keeps a value until the channel ends, however it ends: a leave, a panic, a dead socket.
    /// Its `Drop` is the place for what must not be forgotten.
    pub fn attach(&mut self, guard: impl Any + Send + Sync) {
        self.guards.push(Box::new(guard));
    }

    pub(super) fn begin(&mut self, msg_ref: Ref) {
        self.msg_ref = msg_ref;
    }

    pub(super) fn joined(&mut self) {
        self.is_joining = false;
        self.subscribe_now();
        // Few are added or ended later: no spare room for as long as the socket is open.
        self.subscriptions.shrink_to_fit();
        self.guards.shrink_to_fit();
    }

    pub(super) fn take_effects(&mut self) -> Effects {
        self.msg_ref = Ref::null();
        self.effects.take().map(|it| *it).unwrap_or_default()
    }

    fn effects(&mut self) -> &mut Effects {
        self.effects.get_or_insert_default()
    }
}

impl<A> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("topic", &self.topic())
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}

/// Answers an event after its handler has returned.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    address: Arc<Address>,
    msg_ref: Ref,
}

impl ReplyTo {
    /// Sends a reply. Nobody checks that it is the only one.
    pub fn send(&self, reply: &Reply) {
        match self.address.encode_reply(&self.msg_ref, reply) {
            Ok(frame) => self.address.send(frame),
            Err(error) => {
                let connection = self.address.link.outbox.id().0;
                tracing::error!(connection, topic = self.address.topic(), %error, "late reply");
            }
        }
    }
}

/// Sends notes to a channel, from anywhere and for as long as one likes.
#[derive(Debug, Clone)]
pub struct NoteSender(Arc<Address>);

impl NoteSender {
    /// Queues a note; to a channel that has ended it is lost.
    pub fn send(&self, message: impl Any + Send + Sync) {
        self.0.note(Note::new(message));
    }
}
