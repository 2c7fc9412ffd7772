//! Opens the stores that the configuration chose, and composes them.

use std::sync::Arc;

use crate::{
    Backend, Config, Keeper, Keepers, MongoDocuments, MongoError, MongoLog, OpenError, Scheme,
    ServerUrl, Shared, SharedDocuments, SharedKeeper, SharedLog, SharedStore, compose,
    composed::compose_with,
    mysql, open_keeper,
    redis::{Beside, RedisProbe},
};

/// Why the stores did not open. No message holds a secret of an address.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The embedded store did not open.
    #[error("cannot open the store in {directory}: {source}")]
    Embedded {
        /// Its directory.
        directory: String,
        /// Why.
        source: OpenError,
    },
    /// A server cannot be used.
    #[error("cannot use {url}: {reason}")]
    Server {
        /// Its address, without secrets.
        url: String,
        /// Why.
        reason: String,
    },
    /// There is no adapter for this kind of server.
    #[error("this program has no store for {0}:// addresses")]
    NoAdapter(&'static str),
}

/// The stores of a node.
pub struct Connected {
    /// All of them as one.
    pub store: SharedStore,
    /// Each of them, for readiness.
    pub dependencies: Vec<Dependency>,
    /// What nodes share besides, if there is something to share it through.
    pub shared: Option<Shared>,
}

/// A server or a store that the node works with.
#[derive(Clone)]
pub struct Dependency {
    /// What to call it: `store` where it is the only one and embedded, else the kind of server,
    /// numbered where there are several.
    pub name: String,
    /// What it keeps, for people: `log, registers`.
    pub keeps: String,
    /// Whether the node goes on without it.
    pub is_optional: bool,
    probe: Probe,
}

#[derive(Clone)]
enum Probe {
    Log(SharedLog),
    Documents(SharedDocuments),
    Redis(RedisProbe),
}

impl Dependency {
    /// Whether it takes writes, or what is wrong.
    pub async fn check(&self) -> Result<(), String> {
        let health = match &self.probe {
            Probe::Log(log) => log.log_health().await,
            Probe::Documents(documents) => documents.documents_health().await,
            Probe::Redis(redis) => redis.health().await,
        };
        match health.writable {
            true => Ok(()),
            false => {
                let detail = health.detail.as_deref().unwrap_or("takes no writes");
                Err(format!("{}: {detail}", self.keeps))
            }
        }
    }
}

/// Opens every store that the configuration names, each once, and brings their schemas up to date.
pub async fn connect(config: &Config) -> Result<Connected, ConnectError> {
    let mut opening = Opening {
        config,
        opened: Vec::new(),
    };
    let keepers = Keepers {
        log: opening.log(&config.log).await?,
        registers: opening.keeper("registers", &config.registers).await?,
        timers: opening.keeper("timers", &config.timers).await?,
        people: opening.keeper("people", &config.people).await?,
        devices: opening.devices(config.devices()).await?,
        security: opening.keeper("security", &config.security).await?,
    };
    let mut dependencies = dependencies(opening.opened);
    let Some(url) = &config.redis else {
        let store = compose(&keepers);
        return Ok(Connected {
            store,
            dependencies,
            shared: None,
        });
    };
    let durable: SharedStore = Arc::<dyn Keeper>::clone(&keepers.security);
    let beside = Beside::start(url, config.redis_roots.as_deref(), durable)?;
    dependencies.push(Dependency {
        name: "redis".to_owned(),
        keeps: "tickets, hints, rates, presence, typing".to_owned(),
        is_optional: true,
        probe: Probe::Redis(beside.probe),
    });
    Ok(Connected {
        store: compose_with(&keepers, beside.security),
        dependencies,
        shared: Some(beside.shared),
    })
}

struct Opening<'a> {
    config: &'a Config,
    opened: Vec<Opened>,
}

struct Opened {
    backend: Backend,
    store: Store,
    keeps: Vec<&'static str>,
}

/// A store that is open, by what it can keep.
enum Store {
    Everything(SharedKeeper),
    /// A log, and documents beside it.
    Mongo(Arc<MongoLog>),
    Documents(SharedDocuments),
}

impl Store {
    fn probe(self) -> Probe {
        match self {
            Self::Everything(keeper) => Probe::Log(keeper),
            Self::Mongo(log) => Probe::Log(log),
            Self::Documents(documents) => Probe::Documents(documents),
        }
    }
}

impl Opening<'_> {
    /// The store of the log, which is opened first.
    async fn log(&mut self, backend: &Backend) -> Result<SharedLog, ConnectError> {
        let url = match backend {
            Backend::Server(url) if url.scheme() == Scheme::MongoDb => url,
            _ => return Ok(self.keeper("log", backend).await?),
        };
        let log = MongoLog::open(url, self.config).await;
        let log = Arc::new(log.map_err(|error| unusable(url, &error))?);
        let store: SharedLog = Arc::<MongoLog>::clone(&log);
        self.opened(backend, Store::Mongo(log), "log");
        Ok(store)
    }

    /// The store of registered devices, which is opened last of those that can keep more.
    async fn devices(&mut self, backend: &Backend) -> Result<SharedDocuments, ConnectError> {
        let url = match backend {
            Backend::Server(url) if url.scheme() == Scheme::MongoDb => url,
            _ => return Ok(self.keeper("devices", backend).await?),
        };
        if let Some(known) = self.known(backend)
            && let Store::Mongo(log) = &known.store
        {
            let beside = Arc::new(MongoDocuments::beside(log));
            known.keeps.push("devices");
            return Ok(beside);
        }
        let documents = MongoDocuments::open(url, self.config).await;
        let documents: SharedDocuments =
            Arc::new(documents.map_err(|error| unusable(url, &error))?);
        let store = Store::Documents(Arc::clone(&documents));
        self.opened(backend, store, "devices");
        Ok(documents)
    }

    /// The store behind an address, which is opened once.
    async fn keeper(
        &mut self,
        concern: &'static str,
        backend: &Backend,
    ) -> Result<SharedKeeper, ConnectError> {
        if let Some(known) = self.known(backend)
            && let Store::Everything(keeper) = &known.store
        {
            let keeper = Arc::clone(keeper);
            known.keeps.push(concern);
            return Ok(keeper);
        }
        let keeper = open_one(backend, self.config).await?;
        let store = Store::Everything(Arc::clone(&keeper));
        self.opened(backend, store, concern);
        Ok(keeper)
    }

    fn known(&mut self, backend: &Backend) -> Option<&mut Opened> {
        let mut opened = self.opened.iter_mut();
        opened.find(|known| known.backend == *backend)
    }

    fn opened(&mut self, backend: &Backend, store: Store, concern: &'static str) {
        self.opened.push(Opened {
            backend: backend.clone(),
            store,
            keeps: vec![concern],
        });
    }
}

fn unusable(url: &ServerUrl, error: &MongoError) -> ConnectError {
    ConnectError::Server {
        url: url.to_string(),
        reason: error.to_string(),
    }
}

async fn open_one(backend: &Backend, config: &Config) -> Result<SharedKeeper, ConnectError> {
    match backend {
        Backend::Embedded => open_keeper(config).map_err(|source| ConnectError::Embedded {
            directory: config.data_dir.display().to_string(),
            source,
        }),
        Backend::Server(url) => match url.scheme() {
            Scheme::MySql => mysql::open(url, config).await,
            Scheme::MongoDb | Scheme::Redis => Err(ConnectError::NoAdapter(url.scheme().name())),
        },
    }
}

fn dependencies(opened: Vec<Opened>) -> Vec<Dependency> {
    let single = matches!(opened.as_slice(), [only] if only.backend == Backend::Embedded);
    let mut dependencies: Vec<Dependency> = Vec::with_capacity(opened.len());
    for one in opened {
        let kind = if single { "store" } else { one.backend.name() };
        let alike = dependencies
            .iter()
            .filter(|known| known.name.split('_').next() == Some(kind));
        let name = match alike.count() {
            0 => kind.to_owned(),
            before => format!("{kind}_{}", before + 1),
        };
        dependencies.push(Dependency {
            name,
            keeps: one.keeps.join(", "),
            is_optional: false,
            probe: one.store.probe(),
        });
    }
    dependencies
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ServerUrl;

    #[tokio::test]
    async fn an_embedded_store_for_everything_is_one_dependency() {
        let dir = tempfile::tempdir().unwrap();
        let connected = connect(&Config::at(dir.path())).await.unwrap();
        let [only] = connected.dependencies.as_slice() else {
            panic!("one store was opened");
        };
        assert_eq!(only.name, "store");
        assert_eq!(
            only.keeps,
            "log, registers, timers, people, devices, security"
        );
        connected.store.close().await;
        let problem = only.check().await.unwrap_err();
        assert!(problem.starts_with("log, registers"), "{problem}");
    }

    #[tokio::test]
    async fn what_does_not_open_is_named_without_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        let url = ServerUrl::parse("redis://:s3cret@localhost:1/0").unwrap();
        let config = Config {
            people: Backend::Server(url),
            ..Config::at(dir.path())
        };
        let error = connect(&config).await.map(drop).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("redis") && !text.contains("s3cret"), "{text}");
    }
}
