//! The document.

use quikapp_storage::{JsonText, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::QuietHours;

/// What a person prefers. What is not said is the default.
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
    /// What a document holds; the defaults where there is none. Fields that a later version of this
    /// program has written are passed over, and so is what this one cannot read of a field: nobody
    /// is disturbed at night, or locked out of their preferences, for the sake of another field.
    pub fn of(document: Option<&JsonText>) -> Self {
        let Some(text) = document else {
            return Self::default();
        };
        serde_json::from_str(text).unwrap_or_else(|_| Self::as_far_as_readable(text))
    }

    fn as_far_as_readable(text: &str) -> Self {
        let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let alone = |member: (String, Value)| Value::Object(Map::from_iter([member]));
        let is_readable = |(name, value): &(String, Value)| {
            let alone = alone((name.clone(), value.clone()));
            serde_json::from_value::<Self>(alone).is_ok()
        };
        let readable = members.into_iter().filter(is_readable);
        serde_json::from_value(Value::Object(readable.collect())).unwrap_or_default()
    }

    /// The document.
    pub fn document(&self) -> JsonText {
        self.written_over(None)
    }

    /// The document, in place of another. What a later version of this program has written there
    /// stays: fields that are not known here, and those that were not changed.
    pub fn written_over(&self, document: Option<&JsonText>) -> JsonText {
        let before = Self::of(document).members();
        let text = document.map_or("{}", |text| text);
        let mut members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        for (name, value) in self.members() {
            if before.get(&name) != Some(&value) || !members.contains_key(&name) {
                members.insert(name, value);
            }
        }
        Value::Object(members).to_string().into()
    }

    fn members(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        }
    }

    /// When the quiet hours are over that hold now, if any do.
    pub fn quiet_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.quiet_hours.as_ref()?.until(now)
    }
}
