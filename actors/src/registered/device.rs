//! One device, and what may be said of it.

use quikapp_storage::{DeviceId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;

/// Of everything that is said of a device.
const MAX_CHARS: usize = 64;

/// What it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// An iPhone or iPad.
    Ios,
    /// A phone, tablet or television with Android.
    Android,
    /// A browser.
    Web,
    /// An application on a computer.
    Desktop,
    /// Anything else.
    Other,
}

/// One that only a later version of this program knows is another one here.
fn platform_or_other<'de, D: Deserializer<'de>>(from: D) -> Result<Platform, D::Error> {
    let name = String::deserialize(from)?;
    let known = serde_json::from_value(name.into());
    Ok(known.unwrap_or(Platform::Other))
}

/// A device that its person has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RegisteredDevice {
    /// As its sockets name it.
    #[ts(type = "string")]
    pub device_id: DeviceId,
    /// What it runs on.
    #[serde(deserialize_with = "platform_or_other")]
    pub platform: Platform,
    /// What its person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub name: Option<String>,
    /// Of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub app_version: Option<String>,
    /// Of the operating system, or the browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub os_version: Option<String>,
    /// As its maker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model: Option<String>,
    /// Since when it is in the list.
    #[ts(type = "string")]
    pub registered_at: Timestamp,
    /// When something of it changed, or, at most once a day, it said that it is in use.
    #[ts(type = "string")]
    pub updated_at: Timestamp,
}

/// Something that is said of a device, or taken back (`Some(None)`), or left as it is (`None`).
pub type Said = Option<Option<String>>;

/// What is said of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// What its person calls it.
    pub name: Said,
    /// Of the application.
    pub app_version: Said,
    /// Of the operating system, or the browser.
    pub os_version: Said,
    /// As its maker calls it.
    pub model: Said,
}

/// Something that cannot be said of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {detail}")]
pub struct InvalidDevice {
    /// Which field.
    pub field: &'static str,
    /// Why.
    pub detail: &'static str,
}

impl Details {
    /// Without the white space around; each has from 1 to 64 characters, none of them a control
    /// character.
    pub fn checked(mut self) -> Result<Self, InvalidDevice> {
        for (field, said) in [
            ("name", &mut self.name),
            ("app_version", &mut self.app_version),
            ("os_version", &mut self.os_version),
            ("model", &mut self.model),
        ] {
            if let Some(Some(text)) = said {
                *text = checked(field, text)?;
            }
        }
        Ok(self)
    }

    /// Says it of a device.
    pub(super) fn apply(&self, device: &mut RegisteredDevice) {
        for (said, kept) in [
            (&self.name, &mut device.name),
            (&self.app_version, &mut device.app_version),
            (&self.os_version, &mut device.os_version),
            (&self.model, &mut device.model),
        ] {
            if let Some(said) = said {
                kept.clone_from(said);
            }
        }
    }
}

fn checked(field: &'static str, text: &str) -> Result<String, InvalidDevice> {
    let text = text.trim();
    let fits = (1..=MAX_CHARS).contains(&text.chars().count());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(InvalidDevice {
            field,
            detail: "from 1 to 64 characters, none of them a control character",
        }),
    }
}
