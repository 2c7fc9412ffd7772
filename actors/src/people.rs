//! Who is online: sockets, devices, chosen and custom status, last seen.
//!
//! [`People`] is the handle. A person is online while at least one socket of theirs has joined
//! something, whatever the number of tabs and devices. What they chose (a status, a custom status) is kept in their
//! profile and outlives restarts; it is persisted before it is published. Invisible people are
//! not filtered out of anything: nothing public is ever said of them, so they look offline since
//! the moment they went invisible, and only their own `user:` topic knows better.
//!
//! Whether somebody is connected at all, to whichever node, is for the server alone to know
//! ([`People::connected`]): nodes tell each other apart from presence. So they do of what people
//! chose, and each node shows its people as they chose last, wherever that was.

mod asking;
mod connected;
mod core;
mod effect;
mod entry;
mod handle;
mod keeper;
mod payload;
mod settling;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use asking::Asked;
pub use connected::Connected;
pub use core::{Core, NotConnected};
pub use effect::{Effect, Publicly};
pub use handle::{ChooseError, Joined, People};
pub use payload::{
    CustomStatusPayload, DevicesPayload, OfflinePayload, OnlinePayload, StatusPayload,
};
pub use types::{Chosen, CustomStatus, DeviceSeen, InvalidStatus, PersonSeen, Shown, Status};
pub use wire::{lobby_room, own_topic};
