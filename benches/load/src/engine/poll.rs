//! Waiting for sockets, for a moment, and for other threads.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::event::{
    EventfdFlags, Timespec,
    epoll::{self, CreateFlags, EventData, EventFlags},
    eventfd,
};

use crate::clock::Nanos;

/// Events taken at a time.
const EVENTS: usize = 1024;

/// Not the number of any socket.
const BELL: u64 = u64::MAX;

/// Wakes a worker from another thread.
#[derive(Debug)]
pub(crate) struct Bell {
    counter: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { counter })
    }

    pub(crate) fn ring(&self) {
        // It fails only when it has rung 2^64 times unheard.
        let _ = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        // It fails when it has not rung.
        let _ = rustix::io::read(&self.counter, &mut [0_u8; 8]);
    }
}

/// A socket that can be read or written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) socket: usize,
    /// The other side has closed, or there is an error.
    pub(crate) is_ending: bool,
}

/// The sockets of a worker (edge-triggered), and its bell.
pub(crate) struct Poll {
    sockets: OwnedFd,
    /// Holds the bell alone: for waiting without looking at the sockets.
    alarm: OwnedFd,
}

impl Poll {
    pub(crate) fn new(bell: &Bell) -> io::Result<Self> {
        let create = || {
            let poll = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(
                &poll,
                &bell.counter,
                EventData::new_u64(BELL),
                EventFlags::IN,
            )?;
            io::Result::Ok(poll)
        };
        Ok(Self {
            sockets: create()?,
            alarm: create()?,
        })
    }

    /// Watches a socket until it is closed.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(
            &self.sockets,
            socket,
            EventData::new_u64(number as u64),
            flags,
        )?;
        Ok(())
    }

    /// Goes on to watch whether the socket can be written and ends, not whether it can be read.
    pub(crate) fn ignore_input(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        epoll::modify(
            &self.sockets,
            socket,
            EventData::new_u64(number as u64),
            EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
        )?;
        Ok(())
    }

    /// Waits until a socket is ready, the bell rings, or the time has passed. True if more sockets
    /// may be ready than were taken.
    pub(crate) fn wait(&self, timeout: Nanos, bell: &Bell, ready: &mut Vec<Ready>) -> bool {
        let ending = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        let taken = wait(&self.sockets, timeout, |number, flags| match number {
            BELL => bell.silence(),
            number => ready.push(Ready {
                socket: usize::try_from(number).unwrap_or(usize::MAX),
                is_ending: flags.intersects(ending),
            }),
        });
        taken == EVENTS
    }

    /// Waits until the bell rings or the time has passed, whatever happens on the sockets.
    pub(crate) fn sleep(&self, time: Nanos, bell: &Bell) {
        wait(&self.alarm, time, |_, _| bell.silence());
    }
}

/// Calls `on` for each event; returns how many there were.
fn wait(poll: &OwnedFd, timeout: Nanos, mut on: impl FnMut(u64, EventFlags)) -> usize {
    let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
    let timeout = Timespec::try_from(Duration::from_nanos(timeout)).ok();
    // An interrupted wait is one that ended early: the caller looks at the time anyway.
    let Ok((events, _)) = epoll::wait(poll, &mut events[..], timeout.as_ref()) else {
        return 0;
    };
    for event in events.iter() {
        // The fields of a packed struct are copied.
        let (number, flags) = (event.data.u64(), event.flags);
        on(number, flags);
    }
    events.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::clock::{Clock, SECOND};

    #[test]
    fn the_bell_ends_both_kinds_of_waiting() {
        let bell = Bell::new().unwrap();
        let poll = Poll::new(&bell).unwrap();
        let (clock, mut ready) = (Clock::start(), Vec::new());
        bell.ring();
        poll.sleep(60 * SECOND, &bell);
        bell.ring();
        poll.wait(60 * SECOND, &bell, &mut ready);
        assert!(clock.now() < 30 * SECOND && ready.is_empty());
        poll.sleep(200_000, &bell);
        assert!(clock.now() > 200_000, "it has been silenced");
    }

    #[test]
    fn sockets_are_seen_by_one_kind_only() {
        let bell = Bell::new().unwrap();
        let poll = Poll::new(&bell).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        there.write_all(b"x").unwrap();
        poll.add(&here, 7).unwrap();
        poll.sleep(1, &bell);
        let mut ready = Vec::new();
        poll.wait(60 * SECOND, &bell, &mut ready);
        assert_eq!(ready[0].socket, 7);
        assert!(!ready[0].is_ending);
        drop(there);
        ready.clear();
        poll.wait(60 * SECOND, &bell, &mut ready);
        assert!(ready[0].is_ending);
    }
}
