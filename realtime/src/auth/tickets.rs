//! One-time tickets: for clients that can put their credentials only into a query string.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use quikapp_actors::Clock;
use quikapp_storage::{SharedStore, Timestamp};

use super::Principal;
use crate::errors::{Reason, Refusal};

/// 256 bits: nobody guesses a ticket within its minute.
const TICKET_BYTES: usize = 32;

/// Issues and takes tickets. The store only ever sees their hashes, and gives each out once, to
/// whichever node asks first.
#[derive(Clone)]
pub struct Tickets {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    ttl: Duration,
}

impl Tickets {
    /// Tickets that live for `ttl`.
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>, ttl: Duration) -> Self {
        Self { store, clock, ttl }
    }

    /// How long a ticket waits to be used.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A fresh ticket. Who redeems it becomes this principal, until the token it came from ends.
    pub async fn issue(&self, principal: &Principal) -> Result<String, Refusal> {
        let mut random = [0; TICKET_BYTES];
        rand::fill(&mut random).map_err(|_| Reason::Internal)?;
        let ticket = URL_SAFE_NO_PAD.encode(random);
        let claims = serde_json::to_string(principal).map_err(|_| Reason::Internal)?;
        self.store
            .put_ticket(hash(&ticket), &claims, self.expiry())
            .await?;
        Ok(ticket)
    }

    /// Takes a ticket. It is used up, whatever becomes of the connect.
    pub async fn redeem(&self, ticket: &str) -> Result<Principal, Refusal> {
        let taken = self
            .store
            .take_ticket(hash(ticket), self.clock.now())
            .await?;
        let claims = taken.ok_or(Reason::TicketInvalid)?;
        serde_json::from_str(&claims).map_err(|_| Reason::Internal.into())
    }

    fn expiry(&self) -> Timestamp {
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().0.saturating_add(ttl))
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, ticket.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}
