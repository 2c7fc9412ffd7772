//! What people choose and what others see of it.

use quikapp_storage::{DeviceId, Profile, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What a person chose to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(rename = "ChosenStatus")]
pub enum Status {
    /// Here.
    #[default]
    Online,
    /// Connected, but not at the keyboard.
    Away,
    /// Here, but occupied.
    Busy,
    /// Do not disturb.
    Dnd,
    /// Here, and looking offline to everybody else.
    Invisible,
}

/// What others see of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(rename = "ShownStatus")]
pub enum Shown {
    /// As chosen.
    Online,
    /// As chosen.
    Away,
    /// As chosen.
    Busy,
    /// As chosen.
    Dnd,
    /// Only to oneself.
    Invisible,
    /// Not connected, or invisible.
    Offline,
}

impl From<Status> for Shown {
    fn from(status: Status) -> Self {
        match status {
            Status::Online => Self::Online,
            Status::Away => Self::Away,
            Status::Busy => Self::Busy,
            Status::Dnd => Self::Dnd,
            Status::Invisible => Self::Invisible,
        }
    }
}

/// A few words about oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct CustomStatus {
    /// At most 100 characters.
    pub text: String,
    /// At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub emoji: Option<String>,
    /// When it clears itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "string")]
    pub expires_at: Option<Timestamp>,
}

/// A custom status that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {detail}")]
pub struct InvalidStatus {
    /// Which field.
    pub field: &'static str,
    /// Why.
    pub detail: &'static str,
}

impl CustomStatus {
    /// Whether it may be set now.
    pub fn validate(&self, now: Timestamp) -> Result<(), InvalidStatus> {
        let refuse = |field, detail| Err(InvalidStatus { field, detail });
        if self.text.chars().count() > 100 {
            return refuse("text", "at most 100 characters");
        }
        if self.emoji.as_ref().is_some_and(|emoji| emoji.len() > 64) {
            return refuse("emoji", "at most 64 bytes");
        }
        if self.text.is_empty() && self.emoji.as_ref().is_none_or(String::is_empty) {
            return refuse("text", "a text or an emoji is needed");
        }
        if self.has_expired(now) {
            return refuse("expires_at", "lies in the past");
        }
        Ok(())
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What a profile keeps of a person's choices ([`Profile::presence`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chosen {
    /// The status.
    #[serde(default)]
    pub status: Status,
    /// The custom status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Box<CustomStatus>>,
}

impl Chosen {
    /// What a profile says that holds still; nothing chosen if it says nothing (or nothing
    /// readable).
    pub fn of(profile: &Profile, now: Timestamp) -> Self {
        Self::read(profile, now).unwrap_or_default()
    }

    /// The same, and `None` where the profile says something that this version cannot read.
    pub(super) fn read(profile: &Profile, now: Timestamp) -> Option<Self> {
        let Some(text) = profile.presence.as_deref() else {
            return Some(Self::default());
        };
        let mut chosen: Self = serde_json::from_str(text).ok()?;
        chosen.custom.take_if(|custom| custom.has_expired(now));
        Some(chosen)
    }
}

/// One device that a person is connected with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub struct DeviceSeen {
    /// Its id, if it has one.
    #[ts(type = "string | null")]
    pub device_id: Option<DeviceId>,
    /// Since when.
    #[ts(type = "string")]
    pub online_at: Timestamp,
}

/// A person as one asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub struct PersonSeen {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// What to show.
    pub status: Shown,
    /// When they were last here; null while they are, or when it is not known.
    #[ts(type = "string | null")]
    pub last_seen: Option<Timestamp>,
    /// Their words; null for none, and for people who look offline.
    pub custom_status: Option<CustomStatus>,
    /// Their devices, one item each; empty for people who look offline.
    pub devices: Vec<DeviceSeen>,
}
