//! Redis beside the durable stores: it takes tickets off them, spreads revocations at once, and
//! carries what nodes share ([`Shared`]): rates, who is present, who types, broadcasts.
//!
//! What Redis holds may be gone after a restart or a failover, so nothing that must last is here
//! alone: a ticket that is lost is issued again, every node reads revocations from the durable
//! store whether it was told of them or not, and rates and presence are each node's own while it
//! is away. A Redis that is slow or away costs one request 200 ms once a second; everything else
//! goes past it.

mod addresses;
mod counters;
mod follower;
mod gossip;
mod link;
mod security;

use std::{path::Path, sync::Arc, time::Duration};

use redis::{Client, TlsCertificates};
use tokio::time::Instant;

use self::{
    addresses::RedisAddresses, counters::RedisCounters, follower::Follower, gossip::RedisGossip,
    link::Link, security::RedisSecurity,
};
use crate::{Channel, ConnectError, Health, SecurityStore, ServerUrl, Shared, SharedStore};

/// A request that somebody waits for takes no longer than this.
const PATIENCE: Duration = Duration::from_millis(200);
/// One that nobody waits for, and that may carry a whole snapshot, no longer than this.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(2);

/// What Redis does.
pub(crate) struct Beside {
    pub(crate) security: Arc<dyn SecurityStore>,
    pub(crate) shared: Shared,
    pub(crate) probe: RedisProbe,
}

impl Beside {
    /// Goes without Redis until it is there: only an address that cannot be read is refused, or
    /// certificates (PEM) that cannot.
    pub(crate) fn start(
        url: &ServerUrl,
        roots: Option<&Path>,
        durable: SharedStore,
    ) -> Result<Self, ConnectError> {
        let client = client(url, roots).map_err(|reason| ConnectError::Server {
            url: url.to_string(),
            reason: url.scrub(&reason),
        })?;
        // Stores that are not the same data do not share names either.
        let names = Names(format!("quikapp:{}", durable.store_id().simple()).into());
        let link = Link::new(url, &client, PATIENCE);
        let follower = Follower::of_news(url, &client, &names);
        let background = || Link::new(url, &client, BACKGROUND_PATIENCE);
        let broadcasts = Follower::of_broadcasts(url, &client, &names);
        let gossip = Arc::new(RedisGossip {
            names: names.clone(),
            link: background(),
            follower: follower.clone(),
            broadcasts: (background(), broadcasts),
        });
        Ok(Self {
            probe: RedisProbe(link.clone()),
            shared: Shared {
                counters: Arc::new(RedisCounters {
                    link: link.clone(),
                    names: names.clone(),
                }),
                gossip: gossip.clone(),
                snapshots: gossip,
                addresses: Arc::new(RedisAddresses {
                    link: link.clone(),
                    names: names.clone(),
                }),
            },
            security: Arc::new(RedisSecurity {
                durable,
                link,
                names,
                follower,
            }),
        })
    }
}

/// Asks Redis whether it is there.
#[derive(Clone)]
pub(crate) struct RedisProbe(Link);

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

/// What things are called in Redis.
#[derive(Debug, Clone)]
struct Names(Arc<str>);

impl Names {
    fn ticket(&self, hash: [u8; 32]) -> Vec<u8> {
        let mut key = format!("{}:ticket:", self.0).into_bytes();
        key.extend(hash);
        key
    }

    fn revocations(&self) -> String {
        format!("{}:revocations", self.0)
    }

    fn rate(&self, key: &str) -> String {
        format!("{}:rate:{key}", self.0)
    }

    fn channel(&self, channel: Channel) -> String {
        format!("{}:{}", self.0, channel.name())
    }

    fn address(&self, node: u64) -> String {
        format!("{}:node:{node:016x}", self.0)
    }

    fn kept(&self, replica: u64) -> String {
        format!("{}:present:{replica:016x}", self.0)
    }
}

fn client(url: &ServerUrl, roots: Option<&Path>) -> Result<Client, String> {
    let Some(roots) = roots else {
        return Client::open(url.with_secrets()).map_err(|error| error.to_string());
    };
    let pem = std::fs::read(roots).map_err(|error| format!("{}: {error}", roots.display()))?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(pem),
    };
    Client::build_with_tls(url.with_secrets(), certificates).map_err(|error| error.to_string())
}
