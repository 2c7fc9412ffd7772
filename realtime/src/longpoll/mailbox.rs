//! Between a session and the requests that poll it.

use std::{mem, time::Duration};

use parking_lot::Mutex;
use quikapp_protocol::Encoded;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::socket::FrameSink;

/// Frames that wait for the next poll, and who is polling.
///
/// While it is full, further deliveries stay in the session's bounded outbox; when that overflows
/// too, the session is cut off.
#[derive(Debug)]
pub(super) struct Mailbox {
    max_bytes: usize,
    state: Mutex<State>,
    /// Wakes the request that polls.
    arrived: Notify,
    /// Wakes the session: there is room again, or a poll came or went.
    polled: Notify,
}

#[derive(Debug)]
struct State {
    frames: Vec<Encoded>,
    bytes: usize,
    /// Polls so far. Of several at a time the newest counts.
    polls: u64,
    parked: bool,
    last_poll: Instant,
    end: Option<End>,
    /// A poll has learnt of the end.
    told: bool,
}

/// How a session ended, as far as polls are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Disconnected, signed out, expired: a parked poll stays until its window is over, as in
    /// Phoenix.
    Silent,
    /// The node stops: a parked poll is sent off at once.
    Restart,
    /// It did not fetch what it was owed.
    CutOff,
}

/// What a poll brings.
#[derive(Debug)]
pub(super) enum Polled {
    Messages(Vec<Encoded>),
    Nothing,
    CutOff,
}

impl Mailbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            state: Mutex::new(State {
                frames: Vec::new(),
                bytes: 0,
                polls: 0,
                parked: false,
                last_poll: Instant::now(),
                end: None,
                told: false,
            }),
            arrived: Notify::new(),
            polled: Notify::new(),
        }
    }

    /// Waits for messages, at most for the window and not beyond `stop`.
    pub(super) async fn poll(&self, window: Duration, stop: &CancellationToken) -> Polled {
        let parked = Parked::new(self);
        let arriving = stop.run_until_cancelled(parked.messages());
        match timeout(window, arriving).await {
            Ok(Some(polled)) => polled,
            Ok(None) | Err(_) => Polled::Nothing,
        }
    }

    /// Waits until nobody has polled for `patience`.
    pub(super) async fn abandoned(&self, patience: Duration) {
        loop {
            let polled = self.polled.notified();
            let (parked, deadline) = {
                let state = self.state.lock();
                (state.parked, state.last_poll + patience)
            };
            if parked {
                polled.await;
            } else if tokio::time::timeout_at(deadline, polled).await.is_err() {
                return;
            }
        }
    }

    /// Ends the session for its polls.
    pub(super) fn end(&self, end: End) {
        self.state.lock().end = Some(end);
        self.arrived.notify_waiters();
    }

    /// Whether the session has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().end.is_some()
    }

    /// Whether it has ended and there is nothing to tell about it.
    pub(super) fn is_gone(&self) -> bool {
        let state = self.state.lock();
        state
            .end
            .is_some_and(|end| end != End::CutOff || state.told)
    }

    /// Waits until a poll was told of the end.
    pub(super) async fn told(&self) {
        loop {
            let polled = self.polled.notified();
            if self.state.lock().told {
                return;
            }
            polled.await;
        }
    }

    /// Tells a parked poll that there is something.
    pub(super) fn announce(&self) {
        if !self.state.lock().frames.is_empty() {
            self.arrived.notify_waiters();
        }
    }

    /// Waits until a poll begins or ends, and has made room perhaps.
    pub(super) async fn changed(&self) {
        self.polled.notified().await;
    }
}

impl FrameSink for &Mailbox {
    fn send(&mut self, frame: &Encoded) {
        let mut state = self.state.lock();
        state.bytes += frame.len();
        state.frames.push(frame.clone());
    }

    fn is_full(&self) -> bool {
        self.state.lock().bytes >= self.max_bytes
    }
}

/// A request that polls; gone when the request is answered, or its client leaves.
struct Parked<'m> {
    mailbox: &'m Mailbox,
    number: u64,
}

impl<'m> Parked<'m> {
    fn new(mailbox: &'m Mailbox) -> Self {
        let number = {
            let mut state = mailbox.state.lock();
            state.polls += 1;
            state.parked = true;
            state.polls
        };
        mailbox.arrived.notify_waiters();
        mailbox.polled.notify_waiters();
        Self { mailbox, number }
    }

    async fn messages(&self) -> Polled {
        loop {
            // Made before looking, so that nothing arrives unseen in between.
            let arrived = self.mailbox.arrived.notified();
            if let Some(polled) = self.look() {
                return polled;
            }
            arrived.await;
        }
    }

    fn look(&self) -> Option<Polled> {
        let mut state = self.mailbox.state.lock();
        match state.end {
            _ if state.polls != self.number => Some(Polled::Nothing),
            Some(End::CutOff) => {
                state.told = true;
                Some(Polled::CutOff)
            }
            Some(End::Restart) => Some(Polled::Nothing),
            _ if !state.frames.is_empty() => {
                state.bytes = 0;
                Some(Polled::Messages(mem::take(&mut state.frames)))
            }
            Some(End::Silent) | None => None,
        }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.mailbox.state.lock();
            if state.polls == self.number {
                state.parked = false;
                state.last_poll = Instant::now();
            }
        }
        self.mailbox.polled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::poll;
    use tokio::pin;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn frame(text: &str) -> Encoded {
        Encoded::Text(text.to_owned().into())
    }

    fn texts(polled: &Polled) -> Vec<&str> {
        let Polled::Messages(frames) = polled else {
            return Vec::new();
        };
        let bytes = frames.iter().map(Encoded::as_bytes);
        bytes.map(|b| std::str::from_utf8(b).unwrap()).collect()
    }

    async fn seconds(work: impl Future) -> u64 {
        let began = Instant::now();
        work.await;
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_takes_what_waits_and_leaves_nothing() {
        let (mailbox, stop) = (Mailbox::new(100), CancellationToken::new());
        (&mailbox).send(&frame("a"));
        (&mailbox).send(&frame("b"));
        assert_eq!(texts(&mailbox.poll(WINDOW, &stop).await), ["a", "b"]);
        assert_eq!(seconds(mailbox.poll(WINDOW, &stop)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_poll_wakes_when_something_is_announced() {
        let (mailbox, stop) = (Mailbox::new(100), CancellationToken::new());
        let poll = mailbox.poll(WINDOW, &stop);
        pin!(poll);
        assert!(poll!(&mut poll).is_pending());
        (&mailbox).send(&frame("a"));
        mailbox.announce();
        assert_eq!(texts(&poll.await), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_poll_sends_the_older_off_and_gets_the_messages() {
        let (mailbox, stop) = (Mailbox::new(100), CancellationToken::new());
        let (older, newer) = (mailbox.poll(WINDOW, &stop), mailbox.poll(WINDOW, &stop));
        pin!(older, newer);
        assert!(poll!(&mut older).is_pending());
        assert!(poll!(&mut newer).is_pending());
        (&mailbox).send(&frame("a"));
        mailbox.announce();
        assert!(matches!(older.await, Polled::Nothing));
        assert_eq!(texts(&newer.await), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn how_the_session_ended_decides_what_a_parked_poll_sees() {
        let stop = CancellationToken::new();
        for (end, waits) in [(End::Silent, 10), (End::Restart, 0), (End::CutOff, 0)] {
            let mailbox = Mailbox::new(100);
            let poll = mailbox.poll(WINDOW, &stop);
            pin!(poll);
            assert!(poll!(&mut poll).is_pending());
            mailbox.end(end);
            let began = Instant::now();
            let polled = poll.await;
            assert_eq!(began.elapsed().as_secs(), waits, "{end:?}");
            assert_eq!(matches!(polled, Polled::CutOff), end == End::CutOff);
            assert!(mailbox.is_gone());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_listener_sends_parked_polls_off() {
        let (mailbox, stop) = (Mailbox::new(100), CancellationToken::new());
        let poll = mailbox.poll(WINDOW, &stop);
        pin!(poll);
        assert!(poll!(&mut poll).is_pending());
        stop.cancel();
        assert_eq!(seconds(poll).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_when_a_poll_ends() {
        let (mailbox, stop) = (Mailbox::new(100), CancellationToken::new());
        let patience = Duration::from_secs(15);
        let never_polled = seconds(mailbox.abandoned(patience)).await;
        assert_eq!(never_polled, 15);
        let mailbox = Mailbox::new(100);
        let both = async { tokio::join!(mailbox.abandoned(patience), mailbox.poll(WINDOW, &stop)) };
        assert_eq!(seconds(both).await, 25);
    }

    #[test]
    fn it_is_full_until_a_poll_empties_it() {
        let mailbox = Mailbox::new(3);
        (&mailbox).send(&frame("ab"));
        assert!(!(&mailbox).is_full());
        (&mailbox).send(&frame("c"));
        assert!((&mailbox).is_full());
        Parked::new(&mailbox).look();
        assert!(!(&mailbox).is_full());
    }
}
