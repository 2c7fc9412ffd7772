//! What one node can be told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// A part of the product that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The edge and the actors: sockets, channels, conversations.
    Node,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how. Lines go to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// A filter as of tracing's `EnvFilter`: `info`, `quikapp_realtime=debug,warn`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// The whole configuration of a node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The name of this node in health checks, logs and metrics.
    pub name: String,
    /// The parts of the product that this process runs.
    pub roles: Vec<Role>,
    /// What is logged, and how.
    pub logging: LoggingConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "quikapp".to_owned(),
            roles: vec![Role::Node],
            logging: LoggingConfig::default(),
        }
    }
}

impl NodeConfig {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refused = |key: &str, problem: &str| {
            Err(ConfigError::Refused {
                key: key.to_owned(),
                problem: problem.to_owned(),
            })
        };
        if self.name.is_empty() {
            return refused("name", "must not be empty");
        }
        if self.roles.is_empty() {
            return refused("roles", "name at least one role");
        }
        Ok(())
    }
}
