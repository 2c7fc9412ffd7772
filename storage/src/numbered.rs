//! Enums as the numbers that SQL stores keep.

use crate::{ConversationKind, EntryKind, Role, TimerKind};

/// An enum that is stored as a small number. Numbers are for ever: new kinds get new ones.
pub(super) trait Numbered: Sized + Copy + 'static {
    /// Every variant with its number.
    const NUMBERS: &'static [(Self, i64)];

    /// Reads a number.
    fn from_number(number: i64) -> Option<Self> {
        let found = Self::NUMBERS.iter().find(|(_, known)| *known == number);
        found.map(|(kind, _)| *kind)
    }

    /// The number to store.
    fn number(self) -> i64;
}

macro_rules! numbered {
    ($name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        impl Numbered for $name {
            const NUMBERS: &'static [(Self, i64)] = &[$((Self::$variant, $number)),+];

            fn number(self) -> i64 {
                match self {
                    $(Self::$variant => $number),+
                }
            }
        }
    };
}

numbered!(ConversationKind {
    Direct = 1,
    Group = 2,
    Person = 3,
});
numbered!(Role {
    Member = 1,
    Admin = 2,
    Owner = 3,
});
numbered!(EntryKind {
    Message = 1,
    Edit = 2,
    Delete = 3,
    ReactionAdd = 4,
    ReactionRemove = 5,
    Pin = 6,
    Unpin = 7,
    MemberJoined = 8,
    MemberLeft = 9,
    RoleChanged = 10,
    ConversationUpdated = 11,
    Notice = 12,
    Forget = 13,
});
numbered!(TimerKind {
    SendMessage = 1,
    Expire = 2,
    UntilDelivered = 3,
    Erase = 4,
    Announce = 5,
});
