//! What an operator may change about sequencing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whoever did not hear what became of a message tries again for longer than a moment.
const LEAST_HORIZON: Duration = Duration::from_secs(3600);

/// Settings of the sequencers and of the registers beside the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Shard actors over which conversations are hashed.
    pub shards: usize,
    /// Commands admitted to one shard and not answered yet; above it callers hear `overloaded`.
    pub shard_queue: usize,
    /// Commands waiting in one conversation; above it callers hear `overloaded`.
    pub conversation_queue: usize,
    /// Commands that are written in one batch at most.
    pub batch: usize,
    /// How long an ownership stands before another process may take the conversation over.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub min_tenure: Duration,
    /// How long a command waits for a conversation that another process holds before it is
    /// answered `moved`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub takeover_deadline: Duration,
    /// After so long without a command a conversation is released.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle: Duration,
    /// How often the tails of locally joined conversations are read, to publish what other
    /// processes have written. A removal that another process wrote takes so long to cut off the
    /// member's channels here.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub poll: Duration,
    /// For how long changes of receipts, drafts and mutes are gathered into one write.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub register_window: Duration,
    /// Register changes admitted and not answered yet.
    pub register_queue: usize,
    /// Above so many members receipts are published as counts.
    pub receipts_up_to_members: usize,
    /// Sizes of what clients send.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 16,
            shard_queue: 8_192,
            conversation_queue: 2_048,
            batch: 256,
            min_tenure: Duration::from_secs(2),
            takeover_deadline: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            poll: Duration::from_millis(500),
            register_window: Duration::from_millis(250),
            register_queue: 8_192,
            receipts_up_to_members: 100,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("shards", self.shards),
            ("shard_queue", self.shard_queue),
            ("conversation_queue", self.conversation_queue),
            ("batch", self.batch),
            ("register_queue", self.register_queue),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(format!("{name} must be at least 1"));
            }
        }
        let durations = [("idle", self.idle), ("poll", self.poll)];
        for (name, value) in durations {
            if value.is_zero() {
                return Err(format!("{name} must be longer than 0s"));
            }
        }
        let horizon = self.limits.client_id_horizon;
        if !horizon.is_zero() && horizon < LEAST_HORIZON {
            return Err("limits.client_id_horizon must be 0s or at least 1h".to_owned());
        }
        Ok(())
    }
}

/// Sizes of what clients send. Beyond them a command is refused with `invalid_field`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Text of a message, in bytes.
    pub content_bytes: usize,
    /// An emoji, in bytes.
    pub emoji_bytes: usize,
    /// People mentioned in one message.
    pub mentions: usize,
    /// Attachments of one message.
    pub attachments: usize,
    /// All attachments of a message as JSON, in bytes.
    pub attachments_bytes: usize,
    /// An end-to-end encrypted envelope as JSON, in bytes.
    pub envelope_bytes: usize,
    /// Edits of one message.
    pub edits: usize,
    /// Different emoji on one message.
    pub reactions: usize,
    /// A conversation's name, in bytes.
    pub name_bytes: usize,
    /// Members of one conversation.
    pub members: usize,
    /// The shortest life of a message that disappears, in seconds.
    pub ttl_min_seconds: u64,
    /// The longest.
    pub ttl_max_seconds: u64,
    /// How long a message of class `until_delivered` waits for the last device, in seconds,
    /// unless it names a time itself.
    pub undelivered_seconds: u64,
    /// How old a `client_id` may be. Each must be a UUIDv7 then, which says when it was made; it
    /// may be up to a day ahead of this machine's clock. At least 1h; 0s is without, and any text
    /// is a `client_id`.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub client_id_horizon: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content_bytes: 16 * 1024,
            emoji_bytes: 64,
            mentions: 100,
            attachments: 32,
            attachments_bytes: 64 * 1024,
            envelope_bytes: 64 * 1024,
            edits: 1_000,
            reactions: 100,
            name_bytes: 256,
            members: 10_000,
            ttl_min_seconds: 5,
            ttl_max_seconds: 90 * 24 * 3600,
            undelivered_seconds: 168 * 3600,
            client_id_horizon: Duration::ZERO,
        }
    }
}
