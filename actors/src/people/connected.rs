//! How somebody is connected, over all nodes, and how nodes write it to each other.

use aws_lc_rs::digest;
use quikapp_storage::DeviceId;

use super::{Chosen, Status};
use crate::presence::SEPARATOR;

/// Devices of a person that other nodes are told of.
const DEVICES: usize = 16;

/// A person with at least one socket, invisible or not. Not for others to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// What they chose to be; `None` where nodes do not agree, and the profile knows.
    pub status: Option<Status>,
    /// The devices that they are connected with and that have ids, each once.
    pub devices: Vec<DeviceId>,
}

/// What a person chose, in as few letters as tell it from other choices: one for the status, and
/// behind it 32 bits of a hash of the rest, where there is a rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn of(chosen: &Chosen, last_seen_public: bool) -> Self {
        let mut text = String::from(letter(chosen.status));
        if chosen.custom.is_some() || last_seen_public {
            // Statuses and times have no keys that JSON could not hold.
            let rest = serde_json::to_vec(&(&chosen.custom, last_seen_public));
            let hash = digest::digest(&digest::SHA256, &rest.unwrap_or_default());
            let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
            text.push_str(&format!("{:08x}", u32::from_be_bytes(first)));
        }
        Self(text)
    }
}

impl Connected {
    /// The mark of what was chosen, then the ids of devices: `o`, US, id, US, id, ...
    pub(super) fn write(&self, mark: &Mark) -> String {
        let mut text = mark.0.clone();
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

fn status(mark: &str) -> Option<Status> {
    Some(match mark.chars().next()? {
        'o' => Status::Online,
        'a' => Status::Away,
        'b' => Status::Busy,
        'd' => Status::Dnd,
        'i' => Status::Invisible,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{people::CustomStatus, presence::says_alike};

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
            for (devices, public) in [(&[][..], false), (&["phone"], true), (&["a b", "c"], true)] {
                let said = connected(Some(status), devices);
                let chosen = Chosen {
                    status,
                    custom: None,
                };
                let written = said.write(&Mark::of(&chosen, public));
                assert_eq!(Connected::read(&written), said);
            }
        }
        let later = Connected::read("x\u{1f}phone\u{1f}");
        assert_eq!(later, connected(None, &["phone"]));
    }

    #[test]
    fn a_mark_differs_with_whatever_was_chosen_and_with_nothing_else() {
        let words = |text: &str| {
            Some(Box::new(CustomStatus {
                text: text.into(),
                emoji: None,
                expires_at: None,
            }))
        };
        let chosen = |status, custom| Chosen { status, custom };
        let marks = [
            Mark::of(&chosen(Status::Online, None), false),
            Mark::of(&chosen(Status::Online, None), true),
            Mark::of(&chosen(Status::Away, None), false),
            Mark::of(&chosen(Status::Away, words("lunch")), false),
            Mark::of(&chosen(Status::Away, words("tea")), false),
            Mark::of(&chosen(Status::Away, words("tea")), true),
        ];
        for (at, mark) in marks.iter().enumerate() {
            let written = connected(None, &["phone"]).write(mark);
            for (other, known) in marks.iter().enumerate() {
                let known = connected(None, &["laptop"]).write(known);
                assert_eq!(says_alike(&known, &written), at == other, "{written}");
            }
        }
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
