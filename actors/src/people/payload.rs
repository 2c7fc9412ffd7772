//! What is broadcast of people.

use quikapp_storage::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{CustomStatus, DeviceSeen, Status};

/// `user:online`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct OnlinePayload {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// What they show.
    pub status: Status,
    /// Since when.
    #[ts(type = "string")]
    pub online_at: Timestamp,
}

/// `user:offline`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct OfflinePayload {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// When, if the person lets everyone know.
    #[ts(type = "string | null")]
    pub last_seen: Option<Timestamp>,
}

/// `user:status:changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct StatusPayload {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// What they chose; `invisible` only on their own topic.
    pub status: Status,
    /// When.
    #[ts(type = "string")]
    pub changed_at: Timestamp,
}

/// `devices:changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub struct DevicesPayload {
    /// The devices that the person is connected with, one item each.
    pub devices: Vec<DeviceSeen>,
}

/// `user:custom_status:changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct CustomStatusPayload {
    /// Who.
    #[ts(type = "string")]
    pub user_id: UserId,
    /// Their words; null once they are cleared.
    pub custom_status: Option<CustomStatus>,
    /// When.
    #[ts(type = "string")]
    pub changed_at: Timestamp,
}
