//! The list. Pure.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripts;

use std::collections::HashMap;

use quikapp_storage::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Details, Platform, RegisteredDevice};

/// Devices that a person may register.
pub const MAX_DEVICES: usize = 10;
/// What only says that a device is in use is an entry of the log: one a day is enough, in
/// milliseconds.
const DAY: i64 = 24 * 3_600_000;

/// A person's registered devices, in the order in which they were registered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registered {
    devices: Vec<RegisteredDevice>,
}

/// A device that is to be in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// As its sockets name it.
    pub device_id: DeviceId,
    /// What it runs on.
    pub platform: Platform,
    /// What else is said of it, [checked](Details::checked).
    pub details: Details,
}

/// What is known of the use of devices, registered or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activity {
    /// Those that have a socket.
    pub connected: Vec<DeviceId>,
    /// When the others were last in use, where it is known.
    pub last_used: HashMap<DeviceId, Timestamp>,
}

/// How a device came into the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registering {
    /// It was there.
    Known,
    /// It is new.
    New {
        /// The device that had to go for it.
        replaced: Option<DeviceId>,
    },
}

/// There are as many devices as there may be, and none to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_DEVICES} devices are registered")]
pub struct Full;

/// There is no such device in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device is not registered")]
pub struct Unknown;

impl Registered {
    /// All of them.
    pub fn devices(&self) -> &[RegisteredDevice] {
        &self.devices
    }

    /// One of them.
    pub fn get(&self, id: &DeviceId) -> Option<&RegisteredDevice> {
        self.devices.iter().find(|device| device.device_id == *id)
    }

    /// Puts a device into the list, or says of one that is there what is new. Where there is no
    /// room, the one that was in use earliest goes, if `replacing` tells which that is; one that is
    /// connected never does.
    pub fn register(
        &mut self,
        registration: Registration,
        replacing: Option<&Activity>,
        now: Timestamp,
    ) -> Result<Registering, Full> {
        let Registration {
            device_id,
            platform,
            details,
        } = registration;
        if let Ok(device) = self.get_mut(&device_id) {
            change(device, now, |device| {
                device.platform = platform;
                details.apply(device);
            });
            touch(device, now);
            return Ok(Registering::Known);
        }
        let replaced = self.make_room(replacing)?;
        let mut device = RegisteredDevice {
            device_id,
            platform,
            name: None,
            app_version: None,
            os_version: None,
            model: None,
            registered_at: now,
            updated_at: now,
        };
        details.apply(&mut device);
        self.devices.push(device);
        Ok(Registering::New { replaced })
    }

    /// Says something of a device.
    pub fn update(
        &mut self,
        id: &DeviceId,
        details: &Details,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        change(self.get_mut(id)?, now, |device| details.apply(device));
        Ok(())
    }

    /// A device is in use, and nothing else tells so.
    pub fn touch(&mut self, id: &DeviceId, now: Timestamp) -> Result<(), Unknown> {
        touch(self.get_mut(id)?, now);
        Ok(())
    }

    /// Takes a device out; whether it was in.
    pub fn remove(&mut self, id: &DeviceId) -> bool {
        let before = self.devices.len();
        self.devices.retain(|device| device.device_id != *id);
        self.devices.len() < before
    }

    fn get_mut(&mut self, id: &DeviceId) -> Result<&mut RegisteredDevice, Unknown> {
        let mut devices = self.devices.iter_mut();
        devices
            .find(|device| device.device_id == *id)
            .ok_or(Unknown)
    }

    fn make_room(&mut self, replacing: Option<&Activity>) -> Result<Option<DeviceId>, Full> {
        if self.devices.len() < MAX_DEVICES {
            return Ok(None);
        }
        let place = self.least_active(replacing.ok_or(Full)?).ok_or(Full)?;
        Ok(Some(self.devices.remove(place).device_id))
    }

    /// Of those that were in use at the same time, the one that was registered first.
    fn least_active(&self, activity: &Activity) -> Option<usize> {
        let devices = self.devices.iter().enumerate();
        let free = devices.filter(|(_, it)| !activity.connected.contains(&it.device_id));
        let least = free.min_by_key(|(_, device)| activity.of(device));
        least.map(|(place, _)| place)
    }
}

impl Activity {
    /// When a device was last in use, as far as anything tells.
    fn of(&self, device: &RegisteredDevice) -> Timestamp {
        let used = self.last_used.get(&device.device_id);
        used.map_or(device.updated_at, |used| device.updated_at.max(*used))
    }
}

fn change(device: &mut RegisteredDevice, now: Timestamp, act: impl FnOnce(&mut RegisteredDevice)) {
    let before = device.clone();
    act(device);
    if *device != before {
        device.updated_at = now;
    }
}

fn touch(device: &mut RegisteredDevice, now: Timestamp) {
    if now.0.saturating_sub(device.updated_at.0) >= DAY {
        device.updated_at = now;
    }
}
