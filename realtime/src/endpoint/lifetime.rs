//! The one task of a connection: HTTP first, then perhaps a socket.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

pin_project! {
    /// Runs a future that may return another, and then that one. The first is dropped when it is
    /// done. It should be boxed where it is made: sockets last, and a task is as large as the larger
    /// of the two.
    #[project = Stage]
    pub(super) enum Lifetime<H, S> {
        Http { #[pin] first: H },
        Socket { #[pin] then: S },
        Done,
    }
}

impl<H: Future<Output = Option<S>>, S: Future<Output = ()>> Lifetime<H, S> {
    pub(super) fn new(first: H) -> Self {
        Self::Http { first }
    }
}

impl<H: Future<Output = Option<S>>, S: Future<Output = ()>> Future for Lifetime<H, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match self.as_mut().project() {
                Stage::Http { first } => match ready!(first.poll(cx)) {
                    Some(then) => Self::Socket { then },
                    None => Self::Done,
                },
                Stage::Socket { then } => {
                    ready!(then.poll(cx));
                    Self::Done
                }
                Stage::Done => return Poll::Ready(()),
            };
            self.set(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Ready, poll_fn, ready},
        sync::Arc,
    };

    use super::*;

    #[tokio::test]
    async fn the_second_runs_after_the_first_is_dropped() {
        let held = Arc::new(());
        let (holding, released) = (Arc::clone(&held), Arc::clone(&held));
        let mut then = Some(async move { assert_eq!(Arc::strong_count(&released), 2) });
        // What it holds it holds until it is dropped, also when it is done.
        let first = poll_fn(move |_| {
            assert_eq!(Arc::strong_count(&holding), 3);
            Poll::Ready(then.take())
        });
        Lifetime::new(first).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn there_need_not_be_a_second() {
        Lifetime::new(ready(None::<Ready<()>>)).await;
    }
}
