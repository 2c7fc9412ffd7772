//! Everything that is said over the product's sockets, as one table.
//!
//! `docs/events.md` and `docs/quikapp.d.ts` are generated from it (`QUIKAPP_BLESS=1 cargo test -p
//! quikapp-realtime schema` rewrites them), and its types are those that the channels read and
//! write. A test holds the table against the channels' code.

mod chat;
mod markdown;
mod people;
mod rooms;
mod types;
mod typescript;

#[cfg(test)]
mod tests;

use crate::errors::Reason;
use types::Type;

pub use markdown::events_markdown;
pub use typescript::typescript;

/// A family of topics, and what is said on them.
#[derive(Debug)]
pub(crate) struct Topic {
    /// The pattern: parts in angle brackets vary.
    pub(crate) name: &'static str,
    /// Other patterns for the same.
    pub(crate) also: &'static [&'static str],
    about: &'static str,
    /// The parameters of a join, and the answer; nothing for what is part of every topic.
    join: Option<Exchange>,
    pub(crate) takes: Vec<Taken>,
    pub(crate) sends: Vec<Sent>,
}

/// Something that is answered.
#[derive(Debug)]
struct Exchange {
    payload: Type,
    reply: Type,
    /// Beyond those that anything may be refused with.
    errors: Vec<Reason>,
}

/// An event of the client.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) name: &'static str,
    exchange: Exchange,
    about: &'static str,
}

/// An event of the server.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: &'static str,
    payload: Type,
    about: &'static str,
}

impl Topic {
    fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            also: &[],
            about,
            join: None,
            takes: Vec::new(),
            sends: Vec::new(),
        }
    }

    fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    fn join(self, payload: Type, reply: Type, errors: &[Reason]) -> Self {
        let join = Some(Exchange {
            payload,
            reply,
            errors: errors.to_vec(),
        });
        Self { join, ..self }
    }

    fn takes(
        mut self,
        name: &'static str,
        payload: Type,
        reply: Type,
        errors: &[Reason],
        about: &'static str,
    ) -> Self {
        let errors = errors.to_vec();
        self.takes.push(Taken {
            name,
            exchange: Exchange {
                payload,
                reply,
                errors,
            },
            about,
        });
        self
    }

    fn sends(mut self, name: &'static str, payload: Type, about: &'static str) -> Self {
        self.sends.push(Sent {
            name,
            payload,
            about,
        });
        self
    }

    /// Every type that is mentioned.
    fn types(&self) -> impl Iterator<Item = &Type> {
        let join = self.join.iter();
        let exchanges = join.chain(self.takes.iter().map(|taken| &taken.exchange));
        let answered = exchanges.flat_map(|exchange| [&exchange.payload, &exchange.reply]);
        answered.chain(self.sends.iter().map(|sent| &sent.payload))
    }
}

/// The table.
pub(crate) fn topics() -> Vec<Topic> {
    vec![
        rooms::any(),
        chat::chat(),
        chat::user(),
        people::lobby(),
        people::presence(),
        rooms::broadcast(),
        rooms::calls(),
    ]
}
