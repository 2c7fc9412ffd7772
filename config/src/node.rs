//! What one node can be told.

use std::fmt::Display;

use quikapp_actors::{conversation, delivery, entities, notify, typing};
use quikapp_realtime::{auth, endpoint, policy, rest, socket, telemetry::LogFormat};
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
    /// The name of this node in health checks.
    pub name: String,
    /// The parts of the product that this process runs: `node`.
    #[schemars(with = "Vec<String>")]
    pub roles: Vec<Role>,
    /// What is logged, and how. Lines go to standard error.
    pub logging: LoggingConfig,
    /// The listener for sockets, REST, health and metrics.
    pub endpoint: endpoint::Config,
    /// Tokens, tickets, revocation and the limits of connecting.
    pub auth: auth::Config,
    /// What people of a workspace may see and use.
    pub policy: policy::Config,
    /// What one socket may do.
    pub socket: socket::Limits,
    /// How sockets are closed when the process stops.
    pub drain: socket::DrainOptions,
    /// Limits of the REST routes.
    pub rest: rest::Config,
    /// Sequencers, and the registers beside the log.
    pub conversation: conversation::Config,
    /// Projections, timers and the store-and-forward queue.
    pub delivery: delivery::Config,
    /// Entities: what is in memory of a person while somebody asks for it.
    pub entities: entities::Config,
    /// Who is told of messages that people are not looking at.
    pub notify: notify::Config,
    /// Typing indicators.
    pub typing: typing::Config,
    /// Which store keeps what, and how the embedded store keeps its data.
    pub storage: quikapp_storage::Config,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "quikapp".to_owned(),
            roles: vec![Role::Node],
            logging: LoggingConfig::default(),
            endpoint: Default::default(),
            auth: Default::default(),
            policy: Default::default(),
            socket: Default::default(),
            drain: Default::default(),
            rest: Default::default(),
            conversation: Default::default(),
            delivery: Default::default(),
            entities: Default::default(),
            notify: Default::default(),
            typing: Default::default(),
            storage: Default::default(),
        }
    }
}

impl NodeConfig {
    /// The configuration as a file would say it, without its secrets.
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        shown.auth.secret = None;
        shown.auth.previous_secrets.clear();
        toml::to_string(&shown).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        refuse_if("name", self.name.is_empty(), "must not be empty")?;
        refuse_if("roles", self.roles.is_empty(), "name at least one role")?;
        section("endpoint", self.endpoint.validate())?;
        section("auth", self.auth.validate())?;
        section("socket", self.socket.validate())?;
        section("rest", self.rest.validate())?;
        section("typing", self.typing.validate())?;
        section("conversation", self.conversation.validate())?;
        section("delivery", self.delivery.validate())?;
        section("entities", self.entities.validate())?;
        section("storage", self.storage.validate())?;
        refuse_if(
            "drain.batch",
            self.drain.batch == 0,
            "must be more than zero",
        )
    }
}

fn refuse_if(key: &str, holds: bool, problem: &str) -> Result<(), ConfigError> {
    if holds {
        return Err(ConfigError::Refused {
            key: key.to_owned(),
            problem: problem.to_owned(),
        });
    }
    Ok(())
}

fn section<E: Display>(name: &str, checked: Result<(), E>) -> Result<(), ConfigError> {
    checked.map_err(|problem| ConfigError::Refused {
        key: name.to_owned(),
        problem: problem.to_string(),
    })
}
