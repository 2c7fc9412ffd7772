//! A session at work.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use quikapp_actors::fanout::Close;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::mailbox::{End, Mailbox};
use crate::socket::{Inbound, Session};

/// Messages of one POST.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) messages: Vec<Inbound>,
    /// Told when the session has begun with all of them.
    pub(super) taken: oneshot::Sender<()>,
}

/// What a session may keep, and how long it waits for its client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) patience: Duration,
    pub(super) max_queued: usize,
}

/// Runs a session until it is closed, or its client stays away.
pub(super) async fn run(
    mut session: Session,
    mailbox: &Mailbox,
    mut batches: mpsc::Receiver<Batch>,
    patience: Duration,
) {
    let close = tokio::select! {
        close = work(&mut session, mailbox, &mut batches) => close,
        () = mailbox.abandoned(patience) => Close::normal(),
    };
    let end = End::of(&close);
    let connection = session.id().0;
    tracing::debug!(connection, code = close.code, reason = %close.reason, "long-poll session ended");
    mailbox.end(end);
    drop(batches);
    session.end().await;
    if end == End::CutOff {
        // Stays listed until its client had the time to learn why.
        let _ = timeout(patience, mailbox.told()).await;
    }
}

async fn work(
    session: &mut Session,
    mailbox: &Mailbox,
    batches: &mut mpsc::Receiver<Batch>,
) -> Close {
    loop {
        let mut room = pin!(mailbox.changed());
        let worked = poll_fn(|cx| {
            let mut begun = Vec::new();
            while let Poll::Ready(Some(batch)) = batches.poll_recv(cx) {
                batch.messages.into_iter().for_each(|m| session.receive(m));
                begun.push(batch.taken);
            }
            let closed = session.poll(cx, &mut &*mailbox);
            mailbox.announce();
            for taken in begun {
                // The request may have gone away.
                let _ = taken.send(());
            }
            match closed {
                Poll::Ready(close) => Poll::Ready(Some(close)),
                Poll::Pending => room.as_mut().poll(cx).map(|()| None),
            }
        });
        if let Some(close) = worked.await {
            return close;
        }
    }
}

impl End {
    fn of(close: &Close) -> Self {
        match close.code {
            1012 => Self::Restart,
            1013 => Self::CutOff,
            _ => Self::Silent,
        }
    }
}
