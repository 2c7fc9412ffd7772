//! Connections over a cap: each is told why it is turned away, and when to come again.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{admission::Full, answer, stream::NetStream};

/// Refused connections whose request is read to its end before it is answered.
const HEARD: usize = 256;
/// More of them, which are answered at the first byte or after [`HEED`]. While these places are
/// taken as well nothing is accepted, and clients wait in the kernel's backlog.
const CURT: usize = 1024;
/// A connection has such a place no longer than this, so the wait for one is as short.
pub(super) const CURT_TIME: Duration = Duration::from_secs(2);
/// For how long it may keep silent there: clients expect an answer to what they have sent.
const HEED: Duration = Duration::from_millis(500);

/// Places for connections that are being turned away.
pub(super) struct Refusals {
    heard: Arc<Semaphore>,
    curt: Arc<Semaphore>,
}

/// A place, held until it is dropped.
pub(super) struct Place {
    /// Its request is read, with the patience that every request has; otherwise it is answered
    /// within [`CURT_TIME`].
    pub(super) is_heard: bool,
    _permit: OwnedSemaphorePermit,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            heard: Arc::new(Semaphore::new(HEARD)),
            curt: Arc::new(Semaphore::new(CURT)),
        }
    }

    /// A place for one more, which may have to be waited for. Nothing when there are none any
    /// more.
    pub(super) async fn place(&self) -> Option<Place> {
        let heard = self.heard.clone().try_acquire_owned().ok();
        let is_heard = heard.is_some();
        let permit = match heard {
            Some(permit) => permit,
            None => self.curt.clone().acquire_owned().await.ok()?,
        };
        Some(Place {
            is_heard,
            _permit: permit,
        })
    }
}

/// Answers what may not have been read to its end. What the client still sends is read until it
/// hangs up: closing earlier would reset the connection, and the answer would be lost with it.
pub(super) async fn refuse_curtly(mut stream: NetStream, full: Full) {
    let mut unread = [0; 1024];
    // Whether it was silent, spoke or is gone is found out by answering.
    let _ = timeout(HEED, stream.read(&mut unread)).await;
    let answer = answer::unavailable_in_bytes(full.reason());
    if stream.write_all(&answer).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}
