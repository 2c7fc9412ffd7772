//! What a person's devices are told.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::RegisteredDevice;

/// `devices:registered`, an entry of one's own conversation: the devices that one has registered,
/// all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct RegisteredPayload {
    /// Counts the changes, from 1.
    pub version: u64,
    /// In the order in which they were registered; at most 10.
    pub devices: Vec<RegisteredDevice>,
}
