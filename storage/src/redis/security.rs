//! Tickets are taken off the durable store, and revocations are told at once.

use async_trait::async_trait;

use super::{
    Names,
    follower::Follower,
    link::{Link, Trouble},
};
use crate::{Revocation, RevokedSubject, SecurityStore, SharedStore, StoreError, Timestamp};

/// A ticket that nobody takes leaves by itself; whether it is still good is decided by its own
/// expiry.
const TICKET_SECONDS: u64 = 3600;

/// What Redis does for the store of tickets and revocations.
pub(super) struct RedisSecurity {
    pub(super) durable: SharedStore,
    pub(super) link: Link,
    pub(super) names: Names,
    pub(super) follower: Follower,
}

#[async_trait]
impl SecurityStore for RedisSecurity {
    /// Either here or in the durable store, never in both: a ticket in both could be taken twice.
    /// So where it is not known whether Redis has kept it, this ticket is given up.
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let mut put = redis::cmd("SET");
        put.arg(self.names.ticket(hash))
            .arg(format!("{}\n{claims}", expires.0))
            .arg("EX")
            .arg(TICKET_SECONDS);
        match self.link.ask(&put).await {
            Ok(()) => Ok(()),
            Err(Trouble::NotAsked) => self.durable.put_ticket(hash, claims, expires).await,
            Err(trouble) => Err(StoreError::Unavailable(trouble.to_string())),
        }
    }

    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let mut take = redis::cmd("GETDEL");
        take.arg(self.names.ticket(hash));
        let taken: Result<Option<String>, Trouble> = self.link.ask(&take).await;
        if let Ok(Some(ticket)) = taken {
            let (expires, claims) = ticket.split_once('\n').unwrap_or_default();
            let expires: i64 = expires.parse().unwrap_or(i64::MIN);
            return Ok((expires > now.0).then(|| claims.to_owned()));
        }
        self.durable.take_ticket(hash, now).await
    }

    /// Durable first; telling the other nodes is a courtesy.
    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError> {
        let revocation = self.durable.revoke(subject, at, forget_after).await?;
        let mut tell = redis::cmd("PUBLISH");
        tell.arg(self.names.revocations()).arg(revocation.number);
        // Who is not told reads it at the next poll.
        let _: Result<i64, Trouble> = self.link.ask(&tell).await;
        Ok(revocation)
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        self.durable.revocations_since(number).await
    }

    async fn revocation_hint(&self, above: u64) -> u64 {
        let mut heard = self.follower.revocations();
        let number = heard.wait_for(|number| *number > above).await;
        match number.map(|number| *number) {
            Ok(number) => number,
            Err(_) => std::future::pending().await,
        }
    }
}
