//! What an operator may change about delivery.

use std::time::Duration;

use quikapp_storage::Consumer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of projections, timers and the store-and-forward queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For how long new entries are gathered before projections see them. What connected devices
    /// acknowledge meanwhile is never queued.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub projection_window: Duration,
    /// How long one step of a projection may take before it is given up and tried again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub projection_timeout: Duration,
    /// How often due timers are looked for.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timer_poll: Duration,
    /// For how long what an offline device missed is kept for replay. Later it is told
    /// `reset_required`. A device that has no socket, and neither joins nor acknowledges anything
    /// for as long, is forgotten.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub queue_ttl: Duration,
    /// How much an offline device may miss, in entries over all of its person's conversations.
    /// Beyond, it is told `reset_required`.
    pub queue_entries: usize,
    /// Above so many members nothing is queued per person: cursors alone say what is due.
    pub queue_up_to_members: usize,
    /// Devices that a person may have. Beyond, the one that was not used for longest is forgotten,
    /// and told `reset_required` should it come again.
    pub devices_per_person: usize,
    /// Messages that one person may have scheduled.
    pub scheduled_per_person: usize,
    /// How far ahead a message may be scheduled.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub scheduled_ahead: Duration,
    /// Readers of the event feed that conversations wait for before they are at rest. One that is
    /// added later is given what is at rest only by `quikapp rebuild feed:NAME`.
    pub feeds: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            projection_window: Duration::from_millis(500),
            projection_timeout: Duration::from_secs(30),
            timer_poll: Duration::from_secs(1),
            queue_ttl: Duration::from_secs(168 * 3600),
            queue_entries: 10_000,
            queue_up_to_members: 256,
            devices_per_person: 100,
            scheduled_per_person: 100,
            scheduled_ahead: Duration::from_secs(365 * 24 * 3600),
            feeds: Vec::new(),
        }
    }
}

impl Config {
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), String> {
        let durations = [
            ("projection_timeout", self.projection_timeout),
            ("timer_poll", self.timer_poll),
            ("queue_ttl", self.queue_ttl),
        ];
        for (name, value) in durations {
            if value.is_zero() {
                return Err(format!("{name} must be longer than 0s"));
            }
        }
        if self.queue_entries == 0 {
            return Err("queue_entries must be at least 1".to_owned());
        }
        if self.devices_per_person == 0 {
            return Err("devices_per_person must be at least 1".to_owned());
        }
        for name in &self.feeds {
            if Consumer::feed(name).is_none() {
                return Err(format!(
                    "feeds: {name:?} is not 1 to 64 of a-z, 0-9, - and _"
                ));
            }
        }
        Ok(())
    }

    /// The feeds as consumers.
    pub(super) fn feeds(&self) -> impl Iterator<Item = Consumer> {
        self.feeds.iter().filter_map(|name| Consumer::feed(name))
    }

    /// [`Config::queue_ttl`] in milliseconds.
    pub fn queue_ttl_ms(&self) -> u64 {
        u64::try_from(self.queue_ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_key() {
        assert_eq!(Config::default().validate(), Ok(()));
        let bad = Config {
            feeds: vec!["Kafka!".to_owned()],
            ..Config::default()
        };
        let refusal = bad.validate().err().unwrap_or_default();
        assert!(refusal.starts_with("feeds: \"Kafka!\""), "{refusal}");
    }
}
