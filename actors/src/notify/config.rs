//! What an operator may change about notifications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who is told of messages that people are not looking at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Write into the log, message by message and member by member, who may be notified and why.
    /// For development, and to see what a push would be decided on.
    pub log: bool,
}
