//! Limits of the REST routes.

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one request, and one person's requests together, may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest request body.
    #[schemars(with = "String")]
    pub max_body: ByteSize,
    /// Requests of one person (or of one address, where nobody is signed in) within a minute; 0 is
    /// without limit.
    pub requests_per_minute: u32,
    /// How many people a conversation may be created with, or be given at once.
    pub max_members_per_request: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body: ByteSize::kib(256),
            requests_per_minute: 3000,
            max_members_per_request: 1000,
        }
    }
}

impl Config {
    /// Checks what would leave no route usable. The message names the key.
    pub fn validate(&self) -> Result<(), String> {
        let zero = [
            ("max_body", self.max_body.as_u64() == 0),
            ("max_members_per_request", self.max_members_per_request == 0),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(format!("{key}: must be more than zero")),
            None => Ok(()),
        }
    }

    pub(super) fn max_body(&self) -> usize {
        usize::try_from(self.max_body.as_u64()).unwrap_or(usize::MAX)
    }
}
