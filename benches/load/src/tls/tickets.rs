//! Sessions to resume.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

/// What is remembered of one server by as many clients as there are sockets: one ticket for each
/// (rustls' own store keeps eight), the oldest of more are forgotten. Who connects for the first
/// time adds to it and takes nothing, so that nobody resumes who would not have a session.
#[derive(Debug)]
pub(super) struct Tickets {
    is_for_newcomers: bool,
    most: usize,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    group: Option<NamedGroup>,
    /// A session of TLS 1.2 may be resumed any number of times.
    tls12: Option<Tls12ClientSessionValue>,
    /// A ticket of TLS 1.3 is for one connection.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// As those see it who connect for the first time, and as those who come back.
    pub(super) fn of(sockets: usize) -> (Self, Self) {
        let known = Arc::<Mutex<Known>>::default();
        let view = |is_for_newcomers| Self {
            is_for_newcomers,
            most: sockets.max(1),
            known: Arc::clone(&known),
        };
        (view(true), view(false))
    }

    /// What there is to take.
    fn take<T>(&self, what: impl FnOnce(&mut Known) -> Option<T>) -> Option<T> {
        match self.is_for_newcomers {
            true => None,
            false => what(&mut self.known.lock()),
        }
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, group: NamedGroup) {
        self.known.lock().group = Some(group);
    }

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        self.take(|known| known.group)
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.known.lock().tls12 = Some(session);
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.take(|known| known.tls12.clone())
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {
        self.known.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut known = self.known.lock();
        if known.tls13.len() == self.most {
            known.tls13.pop_front();
        }
        known.tls13.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // A server that keeps few forgets the old ones first, and those who come back have old ones.
        self.take(|known| known.tls13.pop_front())
    }
}
