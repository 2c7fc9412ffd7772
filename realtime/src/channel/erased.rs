//! Channels without their types, as the session holds them.

use std::{ops::Range, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_protocol::{Encoded, Payload, Ref};
use quikapp_storage::Seq;
use tokio::time::Instant;

use super::{Address, Channel, Context, Flow, JoinError, Terminate};
use crate::socket::Assigned;

/// How long a channel may take to say good-bye.
const TERMINATE_WITHIN: Duration = Duration::from_secs(5);

/// A channel's code, for any state.
pub(crate) trait Routed<A>: Send + Sync {
    fn join(
        self: Arc<Self>,
        address: Arc<Address>,
        assigned: Arc<Assigned<A>>,
        source: Arc<str>,
        params: Payload,
    ) -> BoxFuture<'static, Joined>;
}

/// What a join came to.
pub(crate) struct Joined {
    pub(crate) outcome: Result<(Box<dyn Instance>, Payload), JoinError>,
    pub(crate) effects: Effects,
}

/// One client's membership of one topic: the channel's code with a state.
pub(crate) trait Instance: Send {
    fn handle(self: Box<Self>, input: Input) -> BoxFuture<'static, Handled>;
    fn terminate(self: Box<Self>, reason: Terminate) -> BoxFuture<'static, ()>;
    fn intercepts(&self) -> &'static [&'static str];
}

/// What a channel is asked to handle.
pub(crate) enum Input {
    In {
        event: String,
        payload: Payload,
        msg_ref: Ref,
    },
    Info(Note),
    Out(Arc<Broadcast>),
    Gap(Range<Seq>),
}

/// What came of it.
pub(crate) struct Handled {
    pub(crate) instance: Box<dyn Instance>,
    pub(crate) flow: Flow,
    pub(crate) effects: Effects,
    /// The answer to [`Input::Gap`].
    pub(crate) filled: Vec<Arc<Broadcast>>,
}

/// What a handler asked of the session, beyond what it queued itself.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Pushed during the join: goes out behind its reply.
    pub(crate) early: Vec<Encoded>,
    /// Notes of the join to its channel: nothing that the client sends comes before them.
    pub(crate) early_notes: Vec<Note>,
    pub(crate) timers: Vec<(Instant, Note)>,
    pub(crate) follow: Option<Follow>,
    /// Something could not be encoded: the channel ends with an error.
    pub(crate) is_broken: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Follow {
    Live(Seq),
    CatchUp,
}

impl<C: Channel> Routed<C::Assigns> for C {
    fn join(
        self: Arc<Self>,
        address: Arc<Address>,
        assigned: Arc<Assigned<C::Assigns>>,
        source: Arc<str>,
        params: Payload,
    ) -> BoxFuture<'static, Joined> {
        Box::pin(async move {
            let mut cx = Context::new(address, assigned, source);
            let outcome = Channel::join(&*self, &mut cx, params).await;
            if outcome.is_ok() {
                cx.joined();
            }
            let effects = cx.take_effects();
            let outcome = outcome.map(|(state, reply)| {
                let channel = self;
                let instance = Box::new(Membership { channel, state, cx });
                (instance as Box<dyn Instance>, reply)
            });
            Joined { outcome, effects }
        })
    }
}

struct Membership<C: Channel> {
    channel: Arc<C>,
    state: C::State,
    cx: Context<C::Assigns>,
}

impl<C: Channel> Membership<C> {
    fn done(mut self: Box<Self>, flow: Flow, filled: Vec<Arc<Broadcast>>) -> Handled {
        let effects = self.cx.take_effects();
        Handled {
            instance: self,
            flow,
            effects,
            filled,
        }
    }

    async fn handle_in(
        mut self: Box<Self>,
        event: String,
        payload: Payload,
        msg_ref: Ref,
    ) -> Handled {
        self.cx.begin(msg_ref);
        let Self { channel, state, cx } = &mut *self;
        let flow = channel.handle_in(state, cx, &event, payload).await;
        self.done(flow, Vec::new())
    }

    async fn handle_info(mut self: Box<Self>, note: Note) -> Handled {
        let Self { channel, state, cx } = &mut *self;
        let flow = channel.handle_info(state, cx, note).await;
        self.done(flow, Vec::new())
    }

    async fn handle_out(mut self: Box<Self>, broadcast: Arc<Broadcast>) -> Handled {
        let Self { channel, state, cx } = &mut *self;
        let flow = channel.handle_out(state, cx, broadcast).await;
        self.done(flow, Vec::new())
    }

    async fn fill_gap(mut self: Box<Self>, missing: Range<Seq>) -> Handled {
        let Self { channel, state, cx } = &mut *self;
        let filled = channel.fill_gap(state, cx, missing).await;
        self.done(Flow::NoReply, filled)
    }
}

impl<C: Channel> Instance for Membership<C> {
    fn handle(self: Box<Self>, input: Input) -> BoxFuture<'static, Handled> {
        match input {
            Input::In {
                event,
                payload,
                msg_ref,
            } => Box::pin(self.handle_in(event, payload, msg_ref)),
            Input::Info(note) => Box::pin(self.handle_info(note)),
            Input::Out(broadcast) => Box::pin(self.handle_out(broadcast)),
            Input::Gap(missing) => Box::pin(self.fill_gap(missing)),
        }
    }

    fn terminate(mut self: Box<Self>, reason: Terminate) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { channel, state, cx } = &mut *self;
            let last_words = channel.terminate(state, cx, &reason);
            if tokio::time::timeout(TERMINATE_WITHIN, last_words)
                .await
                .is_err()
            {
                let (connection, topic) = (self.cx.connection().0, self.cx.topic());
                tracing::warn!(connection, topic, "terminate took too long");
            }
        })
    }

    fn intercepts(&self) -> &'static [&'static str] {
        self.channel.intercepts()
    }
}
