//! Handlers under way.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quikapp_actors::fanout::SlotKey;

use crate::channel::{Handled, JoinError, Joined};

/// A handler of one channel, until it is done.
pub(super) struct Job {
    slot: SlotKey,
    work: Work,
}

pub(super) enum Work {
    Join(BoxFuture<'static, Joined>),
    Handle(BoxFuture<'static, Handled>),
    Terminate(BoxFuture<'static, ()>),
    Renew(BoxFuture<'static, Result<(), JoinError>>),
}

/// What came of a job.
pub(super) enum Outcome {
    Joined(Joined),
    Handled(Handled),
    Terminated,
    Renewed(Result<(), JoinError>),
    Panicked(String),
}

impl Job {
    pub(super) fn new(slot: SlotKey, work: Work) -> Self {
        Self { slot, work }
    }
}

impl Future for Job {
    type Output = (SlotKey, Outcome);

    /// A panic ends the job, not the connection.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = &mut self.work;
        let polled = catch_unwind(AssertUnwindSafe(|| work.poll(cx)));
        let outcome = match polled {
            Ok(poll) => ready!(poll),
            Err(panic) => Outcome::Panicked(message_of(&*panic)),
        };
        Poll::Ready((self.slot, outcome))
    }
}

impl Work {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self {
            Self::Join(join) => join.as_mut().poll(cx).map(Outcome::Joined),
            Self::Handle(handler) => handler.as_mut().poll(cx).map(Outcome::Handled),
            Self::Terminate(end) => end.as_mut().poll(cx).map(|()| Outcome::Terminated),
            Self::Renew(renewal) => renewal.as_mut().poll(cx).map(Outcome::Renewed),
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

/// The jobs of a connection that did not finish at once. Most connections never have one, so
/// nothing is allocated while there is none.
#[derive(Default)]
pub(super) struct Jobs(Option<Box<FuturesUnordered<Job>>>);

impl Jobs {
    pub(super) fn push(&mut self, job: Job) {
        self.0.get_or_insert_default().push(job);
    }

    /// A job that is done; pending if none is, or none is under way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(SlotKey, Outcome)> {
        let Some(jobs) = &mut self.0 else {
            return Poll::Pending;
        };
        match ready!(jobs.poll_next_unpin(cx)) {
            Some(done) => Poll::Ready(done),
            None => {
                self.0 = None;
                Poll::Pending
            }
        }
    }

    /// Whether polling could neither find a job nor free what the last ones left.
    pub(super) fn owns_nothing(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|jobs| jobs.is_empty())
    }
}
