//! One connection to Redis that everybody shares, made anew when it was lost, and left alone for
//! a while after a failure.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout_at};

use crate::ServerUrl;

/// After a failure nothing is asked for so long; then one request finds out.
pub(super) const RESPITE: Duration = Duration::from_secs(1);
/// For so long a connection may be in the making, whoever waits for it.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why Redis did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
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

/// One round trip.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl<'a> From<&'a Cmd> for Request<'a> {
    fn from(one: &'a Cmd) -> Self {
        Self::One(one)
    }
}

impl<'a> From<&'a Pipeline> for Request<'a> {
    fn from(many: &'a Pipeline) -> Self {
        Self::Many(many)
    }
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, conn: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::One(cmd) => cmd.query_async(conn).await,
            Self::Many(pipeline) => pipeline.query_async(conn).await,
        }
    }
}

/// See the module. Cloning shares it.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    url: ServerUrl,
    client: Client,
    patience: Duration,
    /// Held while a connection is made, so that only one is.
    making: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    conn: Option<MultiplexedConnection>,
    failed_at: Option<Instant>,
}

impl Link {
    /// Nothing is connected before the first request. A request takes no longer than `patience`, the
    /// wait for a connection included.
    pub(super) fn new(url: &ServerUrl, client: &Client, patience: Duration) -> Self {
        Self(Arc::new(Inner {
            url: url.clone(),
            client: client.clone(),
            patience,
            making: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }))
    }

    /// Asks, unless it failed a moment ago.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        request: impl Into<Request<'_>>,
    ) -> Result<T, Trouble> {
        match self.may_ask() {
            true => self.ask_anyway(request).await,
            false => Err(Trouble::NotAsked),
        }
    }

    pub(super) async fn ask_anyway<T: FromRedisValue>(
        &self,
        request: impl Into<Request<'_>>,
    ) -> Result<T, Trouble> {
        let until = Instant::now() + self.0.patience;
        let mut conn = match timeout_at(until, self.connection()).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => {
                self.failed(&Trouble::Failed(self.clean(&error)));
                return Err(Trouble::NotAsked);
            }
            Err(_) => {
                self.failed(&Trouble::NotAsked);
                return Err(Trouble::NotAsked);
            }
        };
        let outcome = match timeout_at(until, request.into().send(&mut conn)).await {
            Ok(Ok(answer)) => {
                self.0.state.lock().failed_at = None;
                return Ok(answer);
            }
            Ok(Err(error)) => Trouble::Failed(self.clean(&error)),
            Err(_) => Trouble::Unanswered,
        };
        self.0.state.lock().conn = None;
        self.failed(&outcome);
        Err(outcome)
    }

    /// What a driver's error says, without secrets.
    pub(super) fn clean(&self, error: &RedisError) -> String {
        self.0.url.scrub(&error.to_string())
    }

    /// After a failure one request a [`RESPITE`] may find out; the others are not held up by it.
    fn may_ask(&self) -> bool {
        let mut state = self.0.state.lock();
        match state.failed_at {
            Some(at) if at.elapsed() < RESPITE => false,
            Some(_) => {
                state.failed_at = Some(Instant::now());
                true
            }
            None => true,
        }
    }

    /// A connection, which is made in the background: who no longer waits for it leaves it to the
    /// next.
    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        if let Some(conn) = self.known() {
            return Ok(conn);
        }
        let link = self.clone();
        let made = tokio::spawn(async move { link.connect().await });
        made.await.unwrap_or_else(|_| Err(away()))
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let Ok(_alone) = self.0.making.try_lock() else {
            let _made = self.0.making.lock().await;
            return self.known().ok_or_else(away);
        };
        // The driver's own limits would be shorter, or longer, than what is waited here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(None);
        let client = &self.0.client;
        let conn = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        self.0.state.lock().conn = Some(conn.clone());
        Ok(conn)
    }

    fn known(&self) -> Option<MultiplexedConnection> {
        self.0.state.lock().conn.clone()
    }

    fn failed(&self, trouble: &Trouble) {
        let mut state = self.0.state.lock();
        if state.failed_at.is_none() {
            tracing::warn!(%trouble, "going on without redis");
        }
        state.failed_at = Some(Instant::now());
        metrics::counter!("quikapp_redis_failures_total").increment(1);
    }
}

fn away() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::NotConnected).into()
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.0.url)
    }
}
