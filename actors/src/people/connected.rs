//! How somebody is connected, over all nodes, and how nodes write it to each other.

use quikapp_storage::DeviceId;

use super::Status;

/// Devices of a person that other nodes are told of.
const DEVICES: usize = 16;
/// Between the parts of what is written: no id holds it.
const SEPARATOR: char = '\u{1f}';

/// A person with at least one socket, invisible or not. Not for others to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// What they chose to be; `None` where nodes do not agree, and the profile knows.
    pub status: Option<Status>,
    /// The devices that they are connected with and that have ids, each once.
    pub devices: Vec<DeviceId>,
}

impl Connected {
    /// One letter for the status, then the ids of devices: `o`, US, id, US, id, ...
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        text.extend(self.status.map(letter));
        for device in self.devices.iter().take(DEVICES) {
            text.push(SEPARATOR);
            text.push_str(device.as_str());
        }
        text
    }

    /// Reads what another node wrote. A letter that is not known here is that of a later version.
    pub(super) fn read(text: &str) -> Self {
        let mut parts = text.split(SEPARATOR);
        let status = parts.next().and_then(status);
        let devices = parts.filter_map(|id| DeviceId::new(id).ok());
        Self {
            status,
            devices: devices.collect(),
        }
    }

    /// The same person, as two nodes know them.
    pub(super) fn and(mut self, other: Self) -> Self {
        if self.status != other.status {
            self.status = None;
        }
        for device in other.devices {
            if !self.devices.contains(&device) {
                self.devices.push(device);
            }
        }
        self
    }
}

fn letter(status: Status) -> char {
    match status {
        Status::Online => 'o',
        Status::Away => 'a',
        Status::Busy => 'b',
        Status::Dnd => 'd',
        Status::Invisible => 'i',
    }
}

fn status(text: &str) -> Option<Status> {
    Some(match text {
        "o" => Status::Online,
        "a" => Status::Away,
        "b" => Status::Busy,
        "d" => Status::Dnd,
        "i" => Status::Invisible,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn connected(status: Option<Status>, devices: &[&str]) -> Connected {
        let devices = devices.iter().map(|id| DeviceId::new(id).unwrap());
        Connected {
            status,
            devices: devices.collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_later_versions_are_understood() {
        use Status::{Away, Busy, Dnd, Invisible, Online};
        for status in [Online, Away, Busy, Dnd, Invisible] {
            for devices in [&[][..], &["phone"], &["a b", "c"]] {
                let said = connected(Some(status), devices);
                assert_eq!(Connected::read(&said.write()), said);
            }
        }
        let later = Connected::read("x\u{1f}phone\u{1f}");
        assert_eq!(later, connected(None, &["phone"]));
    }

    #[test]
    fn devices_are_each_once_and_who_disagrees_does_not_know_the_status() {
        let here = connected(Some(Status::Online), &["a", "b"]);
        let there = connected(Some(Status::Online), &["b", "c"]);
        let both = connected(Some(Status::Online), &["a", "b", "c"]);
        assert_eq!(here.clone().and(there), both);
        let hidden = connected(Some(Status::Invisible), &[]);
        assert_eq!(here.and(hidden), connected(None, &["a", "b"]));
    }
}
