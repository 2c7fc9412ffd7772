//! Documents of a person's own: what all their devices agree on.

use super::JsonText;
use crate::Person;

/// What sort of document it is; of each a person has at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocumentKind {
    /// How the person wants to be told of things.
    Preferences,
    /// The devices that the person has registered.
    Devices,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Preferences, Self::Devices];

    /// Its name in stores, which outlives the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preferences => "preferences",
            Self::Devices => "devices",
        }
    }
}

/// A document as of one of its versions. The log of the person's own conversation has every
/// version; what a store keeps besides is the latest that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Whose.
    pub person: Person,
    /// Which.
    pub kind: DocumentKind,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The whole of it (JSON).
    pub json: JsonText,
}
