//! Which store keeps what, and what the embedded store can be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Backend, Scheme, ServerUrl};

/// The concerns that MongoDB can keep.
const IN_MONGODB: [&str; 2] = ["log", "devices"];

/// Which store keeps what, and how the embedded store keeps its data.
///
/// A store is `embedded`, or the address of a server. Concerns with the same address share a
/// store, and with it their transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The store of conversations, members, entries and messages: `embedded`, `mysql://...` or
    /// `mongodb://...`.
    pub log: Backend,
    /// The store of read marks, drafts, mutes, the cursors of devices, the store-and-forward
    /// queue and counts per thread: `embedded` or `mysql://...`.
    pub registers: Backend,
    /// The store of timers (messages sent later, messages that disappear): `embedded` or
    /// `mysql://...`.
    pub timers: Backend,
    /// The store of profiles, blocks and preferences: `embedded` or `mysql://...`.
    pub people: Backend,
    /// The store of registered devices: `embedded`, `mysql://...` or `mongodb://...`; that of
    /// `people`, without. (The cursors of devices are in that of `registers`.)
    pub devices: Option<Backend>,
    /// The store of tickets and revocations: `embedded` or `mysql://...`.
    pub security: Backend,
    /// A Redis beside the stores (`redis://user:password@host:port/number`, or `rediss://` for
    /// TLS): it takes tickets off the store of `security`, spreads revocations at once, and lets
    /// nodes share rates, presence, typing and broadcasts. What must last is never in it alone,
    /// and without it nodes go on.
    pub redis: Option<ServerUrl>,
    /// The certificates (a PEM file) by which a `rediss://` server is known; those of the system,
    /// without.
    pub redis_roots: Option<PathBuf>,
    /// Connections to each server, besides the one that asks it how it is.
    pub connections: usize,
    /// For how long, in milliseconds, a request waits for a connection to a server; after that
    /// it is refused as overloaded.
    pub connection_wait_ms: u64,
    /// For how long, in milliseconds, a server may take to answer; after that it is unavailable.
    pub server_timeout_ms: u64,
    /// The directory of the database. It is created, closed to others (0700), where there is
    /// none. Several processes of one host may use it at the same time.
    pub data_dir: PathBuf,
    /// Connections that read at the same time.
    pub readers: usize,
    /// Writes that may wait for the writer; beyond that a write is refused as overloaded.
    pub write_queue: usize,
    /// Reads that may wait for a connection; beyond that a read is refused as overloaded.
    pub read_queue: usize,
    /// Writes that share one commit at most.
    pub max_batch: usize,
    /// For how long, in milliseconds, a write waits for another process that is writing.
    pub busy_timeout_ms: u64,
    /// Page cache of the writer, in MiB. All readers together get as much again.
    pub cache_mib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: Backend::Embedded,
            registers: Backend::Embedded,
            timers: Backend::Embedded,
            people: Backend::Embedded,
            devices: None,
            security: Backend::Embedded,
            redis: None,
            redis_roots: None,
            connections: 16,
            connection_wait_ms: 2000,
            server_timeout_ms: 10_000,
            data_dir: PathBuf::from("quikapp-data"),
            readers: 4,
            write_queue: 8192,
            read_queue: 8192,
            max_batch: 1024,
            busy_timeout_ms: 5000,
            cache_mib: 32,
        }
    }
}

/// A setting of the store is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct ConfigError {
    /// Which setting.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Config {
    /// The concerns that servers keep.
    pub fn kept_elsewhere(&self) -> Vec<&'static str> {
        let is_elsewhere = |(name, backend): (&'static str, &Backend)| {
            (*backend != Backend::Embedded).then_some(name)
        };
        self.concerns()
            .into_iter()
            .filter_map(is_elsewhere)
            .collect()
    }

    /// The defaults, in a given directory.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            ..Self::default()
        }
    }

    /// Each concern with the store that was chosen for it, the log first.
    pub fn concerns(&self) -> [(&'static str, &Backend); 6] {
        [
            ("log", &self.log),
            ("registers", &self.registers),
            ("timers", &self.timers),
            ("people", &self.people),
            ("devices", self.devices()),
            ("security", &self.security),
        ]
    }

    /// The store of registered devices.
    pub fn devices(&self) -> &Backend {
        self.devices.as_ref().unwrap_or(&self.people)
    }

    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_backends()?;
        self.validate_bounds()
    }

    fn validate_backends(&self) -> Result<(), ConfigError> {
        for (key, backend) in self.concerns() {
            let Backend::Server(url) = backend else {
                continue;
            };
            let problem = match url.scheme() {
                // What Redis holds may be gone after a failover.
                Scheme::Redis if IN_MONGODB.contains(&key) => {
                    "must be embedded, mysql:// or mongodb://: redis:// forgets"
                }
                Scheme::Redis => "must be embedded or mysql://: redis:// forgets",
                Scheme::MongoDb if !IN_MONGODB.contains(&key) => {
                    "must be embedded or mysql://: mongodb:// keeps the log and devices alone"
                }
                Scheme::MongoDb | Scheme::MySql => continue,
            };
            return Err(ConfigError { key, problem });
        }
        if self
            .redis
            .as_ref()
            .is_some_and(|url| url.scheme() != Scheme::Redis)
        {
            let (key, problem) = ("redis", "must be redis://... or rediss://...");
            return Err(ConfigError { key, problem });
        }
        Ok(())
    }

    fn validate_bounds(&self) -> Result<(), ConfigError> {
        let rules = [
            (
                "connections",
                (1..=1024).contains(&self.connections),
                "must be 1 to 1024",
            ),
            (
                "connection_wait_ms",
                (1..=60_000).contains(&self.connection_wait_ms),
                "must be 1 to 60000",
            ),
            (
                "server_timeout_ms",
                (100..=600_000).contains(&self.server_timeout_ms),
                "must be 100 to 600000",
            ),
            (
                "data_dir",
                !self.data_dir.as_os_str().is_empty(),
                "must not be empty",
            ),
            (
                "readers",
                (1..=64).contains(&self.readers),
                "must be 1 to 64",
            ),
            (
                "write_queue",
                (1..=1 << 20).contains(&self.write_queue),
                "must be 1 to 1048576",
            ),
            (
                "read_queue",
                (1..=1 << 20).contains(&self.read_queue),
                "must be 1 to 1048576",
            ),
            (
                "max_batch",
                (1..=1 << 16).contains(&self.max_batch),
                "must be 1 to 65536",
            ),
            (
                "busy_timeout_ms",
                (1..=60_000).contains(&self.busy_timeout_ms),
                "must be 1 to 60000",
            ),
            (
                "cache_mib",
                (1..=65_536).contains(&self.cache_mib),
                "must be 1 to 65536",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((key, _, problem)) => Err(ConfigError { key, problem }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_key() {
        let config = Config {
            readers: 0,
            ..Config::default()
        };
        let refusal = config.validate().map_err(|error| error.to_string());
        assert_eq!(refusal, Err("readers must be 1 to 64".to_owned()));
    }

    #[test]
    fn devices_are_with_people_unless_they_are_named() {
        let config: Config = serde_json::from_str(r#"{"people": "mysql://db/quikapp"}"#).unwrap();
        assert_eq!(config.devices(), &config.people);
        assert_eq!(config.kept_elsewhere(), ["people", "devices"]);
        let text = r#"{"people": "mysql://db/quikapp", "devices": "embedded"}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.kept_elsewhere(), ["people"]);
    }

    #[test]
    fn mongodb_keeps_the_log_and_devices_alone() {
        let refused = |key: &str| {
            let text = format!(r#"{{"{key}": "mongodb://:s3cret@localhost"}}"#);
            let config: Config = serde_json::from_str(&text).unwrap();
            config.validate().err().map(|error| error.to_string())
        };
        assert_eq!([refused("log"), refused("devices")], [None, None]);
        for key in ["registers", "timers", "people", "security"] {
            let refusal = refused(key).expect("is refused");
            assert!(refusal.starts_with(&format!("{key} must be")), "{refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn redis_keeps_nothing_that_must_last() {
        for (key, _) in Config::default().concerns() {
            let text = format!(r#"{{"{key}": "redis://:s3cret@localhost"}}"#);
            let config: Config = serde_json::from_str(&text).expect("an address");
            let refusal = config.validate().map_err(|error| error.to_string());
            let refusal = refusal.expect_err("is refused");
            assert!(refusal.starts_with(key), "{refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = serde_json::from_str::<Config>(r#"{"data_dirr": "/x"}"#)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("data_dirr"), "{error}");
    }
}
