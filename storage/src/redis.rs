//! Redis beside the durable stores: it takes tickets off them, and spreads revocations at once.
//!
//! What Redis holds may be gone after a restart or a failover, so nothing that must last is here
//! alone: a ticket that is lost is issued again, and every node reads revocations from the durable
//! store whether it was told of them or not. A Redis that is slow or away costs 200 ms once a
//! second; everything else goes past it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::{Client, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    ConnectError, Health, Revocation, RevokedSubject, SecurityStore, ServerUrl, SharedStore,
    StoreError, Timestamp,
};

/// A request takes no longer than this.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a failure nothing is asked for so long.
const RESPITE: Duration = Duration::from_secs(1);
/// A ticket that nobody takes leaves by itself; whether it is still good is decided by its own
/// expiry.
const TICKET_SECONDS: u64 = 3600;

/// What Redis does for the store of tickets and revocations.
pub(crate) struct RedisSecurity {
    durable: SharedStore,
    redis: Redis,
    heard: watch::Receiver<u64>,
    follower: AbortHandle,
}

impl RedisSecurity {
    /// Goes without Redis until it is there: only an address that cannot be read is refused.
    pub(crate) fn start(url: &ServerUrl, durable: SharedStore) -> Result<Self, ConnectError> {
        let client = Client::open(url.with_secrets()).map_err(|error| ConnectError::Server {
            url: url.to_string(),
            reason: url.scrub(&error.to_string()),
        })?;
        // Stores that are not the same data do not share names either.
        let prefix = format!("quikapp:{}", durable.store_id().simple());
        let redis = Redis(Arc::new(Inner {
            url: url.clone(),
            client,
            prefix,
            link: Mutex::default(),
        }));
        let (hear, heard) = watch::channel(0);
        let follower = tokio::spawn(follow(redis.clone(), hear)).abort_handle();
        Ok(Self {
            durable,
            redis,
            heard,
            follower,
        })
    }

    /// Whether Redis answers.
    pub(crate) fn probe(&self) -> RedisProbe {
        RedisProbe(self.redis.clone())
    }
}

impl Drop for RedisSecurity {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Asks Redis whether it is there.
#[derive(Clone)]
pub(crate) struct RedisProbe(Redis);

impl RedisProbe {
    /// How it is.
    pub(crate) async fn health(&self) -> Health {
        let began = Instant::now();
        let answer = self.0.ask_anyway(&redis::cmd("PING")).await;
        let detail = answer
            .map(|_: String| ())
            .err()
            .map(|trouble| trouble.to_string());
        Health {
            writable: detail.is_none(),
            detail,
            latency_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
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
        put.arg(self.redis.ticket(hash))
            .arg(format!("{}\n{claims}", expires.0))
            .arg("EX")
            .arg(TICKET_SECONDS);
        match self.redis.ask(&put).await {
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
        take.arg(self.redis.ticket(hash));
        let taken: Result<Option<String>, Trouble> = self.redis.ask(&take).await;
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
        tell.arg(self.redis.channel()).arg(revocation.number);
        // Who is not told reads it at the next poll.
        let _: Result<i64, Trouble> = self.redis.ask(&tell).await;
        Ok(revocation)
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        self.durable.revocations_since(number).await
    }

    async fn revocation_hint(&self, above: u64) -> u64 {
        let mut heard = self.heard.clone();
        let number = heard.wait_for(|number| *number > above).await;
        match number.map(|number| *number) {
            Ok(number) => number,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why Redis did not do something.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It was away a moment ago, or no connection could be made: nothing was sent.
    #[error("redis is away")]
    NotAsked,
    /// It did not answer in time. It may have done it.
    #[error("redis does not answer in time")]
    Unanswered,
    /// It answered with an error, or the connection was lost.
    #[error("{0}")]
    Failed(String),
}

/// One connection that everybody shares, made anew when it was lost.
#[derive(Clone)]
struct Redis(Arc<Inner>);

struct Inner {
    url: ServerUrl,
    client: Client,
    prefix: String,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    conn: Option<MultiplexedConnection>,
    failed_at: Option<Instant>,
}

impl Redis {
    fn ticket(&self, hash: [u8; 32]) -> Vec<u8> {
        let mut key = format!("{}:ticket:", self.0.prefix).into_bytes();
        key.extend(hash);
        key
    }

    fn channel(&self) -> String {
        format!("{}:revocations", self.0.prefix)
    }

    /// Asks, unless it failed a moment ago.
    async fn ask<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> Result<T, Trouble> {
        let failed_at = self.0.link.lock().failed_at;
        if failed_at.is_some_and(|at| at.elapsed() < RESPITE) {
            return Err(Trouble::NotAsked);
        }
        self.ask_anyway(cmd).await
    }

    async fn ask_anyway<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> Result<T, Trouble> {
        let mut conn = match self.connection().await {
            Ok(conn) => conn,
            Err(trouble) => {
                self.failed(&trouble);
                return Err(Trouble::NotAsked);
            }
        };
        let outcome = match timeout(PATIENCE, cmd.query_async(&mut conn)).await {
            Ok(Ok(answer)) => {
                self.0.link.lock().failed_at = None;
                return Ok(answer);
            }
            Ok(Err(error)) => Trouble::Failed(self.clean(&error)),
            Err(_) => Trouble::Unanswered,
        };
        self.failed(&outcome);
        Err(outcome)
    }

    async fn connection(&self) -> Result<MultiplexedConnection, Trouble> {
        let known = self.0.link.lock().conn.clone();
        if let Some(conn) = known {
            return Ok(conn);
        }
        let made = timeout(PATIENCE, self.0.client.get_multiplexed_async_connection());
        let conn = match made.await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => return Err(Trouble::Failed(self.clean(&error))),
            Err(_) => return Err(Trouble::Unanswered),
        };
        self.0.link.lock().conn = Some(conn.clone());
        Ok(conn)
    }

    fn failed(&self, trouble: &Trouble) {
        let mut link = self.0.link.lock();
        if link.failed_at.is_none() {
            tracing::warn!(%trouble, "going on without redis");
        }
        link.conn = None;
        link.failed_at = Some(Instant::now());
        metrics::counter!("quikapp_redis_failures_total").increment(1);
    }

    fn clean(&self, error: &RedisError) -> String {
        self.0.url.scrub(&error.to_string())
    }
}

/// Hears of revocations, as long as Redis is there; otherwise they are polled.
async fn follow(redis: Redis, hear: watch::Sender<u64>) {
    loop {
        if let Err(error) = listen(&redis, &hear).await {
            tracing::debug!(error = redis.clean(&error), "not told of revocations");
        }
        sleep(RESPITE).await;
    }
}

async fn listen(redis: &Redis, hear: &watch::Sender<u64>) -> Result<(), RedisError> {
    let mut pubsub = redis.0.client.get_async_pubsub().await?;
    pubsub.subscribe(redis.channel()).await?;
    let mut messages = pubsub.into_on_message();
    while let Some(message) = messages.next().await {
        let number: u64 = message.get_payload()?;
        hear.send_if_modified(|known| {
            let is_new = number > *known;
            *known = number.max(*known);
            is_new
        });
    }
    Ok(())
}
