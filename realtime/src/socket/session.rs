//! One connection's channels: whole messages in, whole messages out, on any transport.
//!
//! A session is driven by one task. [`Session::receive`] takes what the client sent,
//! [`Session::poll`] does the work and writes what the client is owed. Each topic handles its
//! events one after the other; a handler that does not finish at once is set aside with its
//! topic, and the other topics and heartbeats go on.

mod deliver;
mod dispatch;
mod job;
mod outcome;
mod sequence;
mod slot;
mod timers;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use quikapp_actors::fanout::{
    Close, ConnectionId, Deliveries, Delivery, Drained, Lane, Outbox, SlotKey, Subscription,
};
use quikapp_protocol::{Encoded, Vsn};
use tokio::time::{Instant, timeout};

use super::{Link, Registered, Transport, bucket::Bucket, mount::MountOptions, scope::Scope};
use crate::channel::{Instance, Terminate};
use job::{Jobs, Outcome};
use slot::{Phase, Slots};
use timers::{Due, Timers};

/// How long channels may take to say good-bye when their socket is gone.
const END_WITHIN: Duration = Duration::from_secs(6);

/// How often one poll goes around before it lets other connections run.
const ROUNDS_PER_POLL: usize = 32;

/// A whole message from the client.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// Of a text frame.
    Text(Bytes),
    /// Of a binary frame.
    Binary(Bytes),
}

/// Takes whole messages to the client.
pub trait FrameSink {
    /// Writes one. Must not fail: what cannot be sent is the transport's business.
    fn send(&mut self, frame: &Encoded);

    /// Whether the client should first read what it has. While it is full, deliveries stay in the
    /// bounded outbox.
    fn is_full(&self) -> bool {
        false
    }
}

/// The channels of one connection.
pub struct Session {
    link: Arc<Link>,
    scope: Arc<dyn Scope>,
    options: Arc<MountOptions>,
    slots: Slots,
    jobs: Jobs,
    inbox: VecDeque<Inbound>,
    /// Entries of gaps, to be written before anything that came later.
    filled: VecDeque<Encoded>,
    /// Taken from the outbox, not yet written.
    backlog: Deliveries,
    timers: Timers,
    joins: Bucket,
    pushes: Bucket,
    /// The topics under which `disconnect` finds the socket.
    _ids: Box<[Subscription]>,
    _registered: Registered,
}

impl Session {
    pub(super) fn new(
        link: Arc<Link>,
        scope: Arc<dyn Scope>,
        options: Arc<MountOptions>,
        socket_ids: &[String],
    ) -> Self {
        let now = Instant::now();
        let idle_timeout = match link.transport {
            Transport::WebSocket => Some(options.idle_timeout),
            // A poll that stays away ends the session, and that is the transport's to see.
            Transport::LongPoll => None,
        };
        let (fanout, outbox) = (&link.hub.fanout, &link.outbox);
        let subscribe = |id: &String| fanout.subscribe(id, outbox, SlotKey::SOCKET, Lane::Own);
        let mut session = Self {
            _ids: socket_ids.iter().map(subscribe).collect(),
            _registered: link.hub.connections.register(outbox),
            joins: Bucket::new(options.limits.join_burst, now),
            pushes: Bucket::new(options.limits.push_burst, now),
            timers: Timers::new(idle_timeout, now),
            slots: Slots::default(),
            jobs: Jobs::default(),
            inbox: VecDeque::new(),
            filled: VecDeque::new(),
            backlog: Deliveries::new(),
            link,
            scope,
            options,
        };
        session.schedule_expiry();
        session
    }

    /// The connection's number in this process.
    pub fn id(&self) -> ConnectionId {
        self.link.outbox.id()
    }

    /// The connection's queue; [`Outbox::close`] on it closes the session from anywhere.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.link.outbox
    }

    /// Which serializer the client speaks.
    pub fn vsn(&self) -> Vsn {
        self.link.vsn
    }

    /// The options of the mount it came through.
    pub fn options(&self) -> &MountOptions {
        &self.options
    }

    /// How many topics are joined.
    pub fn channels(&self) -> usize {
        self.slots.len()
    }

    /// Takes a message from the client. Nothing happens before the next [`poll`](Self::poll).
    pub fn receive(&mut self, message: Inbound) {
        self.touch();
        self.inbox.push_back(message);
    }

    /// Anything else was heard from the client, such as a ping.
    pub fn touch(&mut self) {
        self.timers.heard(Instant::now());
    }

    /// Does what there is to do and writes what the client is owed, until there is nothing more or
    /// the sink is full (poll again when it no longer is). Ready when the connection is to be
    /// closed; nothing is written after that.
    pub fn poll<S: FrameSink>(&mut self, cx: &mut Context<'_>, sink: &mut S) -> Poll<Close> {
        for _ in 0..ROUNDS_PER_POLL {
            let mut has_worked = self.poll_inbox(cx);
            has_worked |= self.poll_jobs(cx);
            has_worked |= self.poll_timers(cx);
            match self.poll_outbox(cx, sink) {
                Poll::Ready(Some(close)) => return Poll::Ready(close),
                Poll::Ready(None) => {}
                Poll::Pending if has_worked => {}
                Poll::Pending => {
                    self.shrink();
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits until something was written to the sink (`None`) or the connection is to be closed.
    pub async fn deliver<S: FrameSink>(&mut self, sink: &mut S) -> Option<Close> {
        let mut noticing = Noticing { sink, sent: false };
        poll_fn(|cx| match self.poll(cx, &mut noticing) {
            Poll::Ready(close) => Poll::Ready(Some(close)),
            Poll::Pending if noticing.sent => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Ends all channels: the socket is gone. Handlers under way may finish first; after a few
    /// seconds they are dropped.
    pub async fn end(mut self) {
        if timeout(END_WITHIN, self.terminate_all()).await.is_err() {
            tracing::warn!(connection = self.id().0, "channels did not end in time");
        }
    }

    async fn terminate_all(&mut self) {
        let mut resting: Vec<Box<dyn Instance>> = Vec::new();
        for slot in self.slots.drain() {
            self.link.hub.metrics.joined.decrement(1.0);
            if let Phase::Idle(instance) | Phase::Renewing(instance, _) = slot.phase {
                resting.push(instance);
            }
        }
        while !self.jobs.is_empty() {
            let (_, outcome) = poll_fn(|cx| self.jobs.poll_next(cx)).await;
            match outcome {
                Outcome::Handled(handled) => resting.push(handled.instance),
                Outcome::Joined(joined) => {
                    resting.extend(joined.outcome.ok().map(|(instance, _)| instance));
                }
                Outcome::Terminated | Outcome::Renewed(_) | Outcome::Panicked(_) => {}
            }
        }
        let ends = resting.into_iter().map(|instance| {
            let end = job::Work::Terminate(instance.terminate(Terminate::SocketClosed));
            job::Job::new(SlotKey::SOCKET, end)
        });
        join_all(ends).await;
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> bool {
        if self.inbox.is_empty() {
            return false;
        }
        if self.link.outbox.is_closing() {
            // Whoever was cut off is not listened to either.
            self.inbox = VecDeque::new();
            return false;
        }
        // One at a time, so that what it caused goes out before the next is looked at: a client
        // that leaves at once still hears what was said before.
        if let Some(message) = self.inbox.pop_front() {
            self.handle_inbound(cx, message);
        }
        true
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timers.is_armed(cx) {
            return false;
        }
        let Poll::Ready(due) = self.timers.poll_due(cx) else {
            return false;
        };
        match due {
            Due::Idle => self.link.outbox.close(Close::idle()),
            Due::Expiry => self.check_expiry(),
            Due::Note(slot, note) => self.link.outbox.push(Delivery::Note { slot, note }),
        }
        true
    }

    fn check_expiry(&mut self) {
        let now = self.link.hub.clock.now();
        if self.scope.expires_at().is_some_and(|at| at <= now) {
            self.link.outbox.close(Close::token_expired());
        } else {
            // Renewed meanwhile, or the wall clock was set back.
            self.schedule_expiry();
        }
    }

    /// The expiry is wall-clock time, the timer is not: it is looked at again when it fires.
    fn schedule_expiry(&mut self) {
        let now = self.link.hub.clock.now();
        let expiry = self.scope.expires_at().map(|at| {
            let remaining = Duration::from_millis(at.since_ms(now).max(1));
            Instant::now() + remaining.min(Duration::from_secs(24 * 3600))
        });
        self.timers.expire_at(expiry);
    }

    fn poll_outbox<S: FrameSink>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
    ) -> Poll<Option<Close>> {
        if sink.is_full() {
            return self.link.outbox.poll_close(cx).map(Some);
        }
        if self.filled.is_empty() && self.backlog.is_empty() {
            match self.link.outbox.poll_drain(cx, &mut self.backlog) {
                Poll::Ready(Drained::Deliveries) => self.note_depth(),
                Poll::Ready(Drained::Close(close)) => return Poll::Ready(Some(close)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.write_backlog(cx, sink);
        Poll::Ready(None)
    }

    /// One delivery at a time is the normal case, and not worth a sample.
    fn note_depth(&self) {
        let depth = self.backlog.len();
        if depth > 1 {
            let depth = u32::try_from(depth).unwrap_or(u32::MAX);
            self.link.hub.metrics.outbox_depth.record(depth);
        }
    }

    /// An idle connection keeps no buffers.
    fn shrink(&mut self) {
        release(&mut self.inbox);
        release(&mut self.filled);
    }
}

fn release<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("channels", &self.channels())
            .finish_non_exhaustive()
    }
}

/// Notices whether anything was sent.
struct Noticing<'a, S> {
    sink: &'a mut S,
    sent: bool,
}

impl<S: FrameSink> FrameSink for Noticing<'_, S> {
    fn send(&mut self, frame: &Encoded) {
        self.sent = true;
        self.sink.send(frame);
    }

    fn is_full(&self) -> bool {
        self.sink.is_full()
    }
}

#[cfg(test)]
mod tests;
