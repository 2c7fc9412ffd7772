//! What an operator may change about entities.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the host of entities; they hold for each kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Shard actors over which entities are hashed.
    pub shards: usize,
    /// Messages admitted by the host and not handled yet; above it callers hear `overloaded`.
    pub host_queue: usize,
    /// Messages waiting for one entity; above it callers hear `overloaded`.
    pub entity_queue: usize,
    /// After so long without a message an entity is written away and forgotten.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle: Duration,
    /// So many panics of one entity within `restart_window` are answered by starting it again;
    /// one more, and it is quarantined.
    pub restarts: usize,
    /// The window in which panics are counted.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub restart_window: Duration,
    /// How long an entity stays in quarantine unless it is released.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub cool_down: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 8,
            host_queue: 65_536,
            entity_queue: 1_024,
            idle: Duration::from_secs(60),
            restarts: 3,
            restart_window: Duration::from_secs(60),
            cool_down: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("shards", self.shards),
            ("host_queue", self.host_queue),
            ("entity_queue", self.entity_queue),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(format!("{name} must be at least 1"));
            }
        }
        match self.idle.is_zero() {
            true => Err("idle must be longer than 0s".to_owned()),
            false => Ok(()),
        }
    }
}
