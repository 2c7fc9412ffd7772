//! The document.

use quikapp_storage::{JsonText, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::QuietHours;

/// What a person prefers. What is not said is the default; fields that a later version of this
/// program has written are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default)]
pub struct Preferences {
    /// Of what they are told, where a conversation's mute does not decide.
    pub notify: Notify,
    /// Whether they are told of replies in threads. Of those that mention them they are in any
    /// case.
    pub threads: bool,
    /// What a push may show.
    pub previews: Previews,
    /// When they are not to be disturbed.
    pub quiet_hours: Option<QuietHours>,
    /// Their language: a BCP 47 tag of at most 35 characters.
    pub locale: Option<String>,
    /// What clients keep of their own settings, opaque to the server: at most 4 KiB of JSON, at
    /// most 32 levels deep.
    #[ts(type = "Record<string, unknown> | null")]
    pub app: Option<Map<String, Value>>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            notify: Notify::All,
            threads: true,
            previews: Previews::Full,
            quiet_hours: None,
            locale: None,
            app: None,
        }
    }
}

/// Of what a person is told. What is urgent is told in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// Everything.
    #[default]
    All,
    /// What is said to them alone, and what mentions them.
    DirectAndMentions,
    /// Nothing.
    Nothing,
}

/// What a push may show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Previews {
    /// Who said what.
    #[default]
    Full,
    /// Who said something.
    Sender,
    /// That something was said.
    None,
}

/// `preferences:changed`, and what a request about preferences is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PreferencesPayload {
    /// Counts the changes: 0 as long as there was none.
    pub version: u64,
    /// All of them, defaults included.
    pub preferences: Preferences,
}

impl Preferences {
    /// What a document holds; the defaults where there is none.
    pub fn of(document: Option<&JsonText>) -> Result<Self, serde_json::Error> {
        document.map_or_else(|| Ok(Self::default()), |text| serde_json::from_str(text))
    }

    /// The document.
    pub fn document(&self) -> JsonText {
        serde_json::to_string(self).unwrap_or_default().into()
    }

    /// When the quiet hours are over that hold now, if any do.
    pub fn quiet_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours.as_ref()?.until(now)
    }
}
