//! What a person prefers: whether, when and how they are told of what is said.
//!
//! A document of the person's own, changed by JSON merge patches (RFC 7396). It holds over all of
//! their conversations; what is set for one conversation, its mute, stands above. Pure.

mod patch;
mod quiet;
#[cfg(test)]
mod tests;
mod time;
mod types;

pub use patch::Unfit;
pub use quiet::QuietHours;
pub use time::{Day, Days, TimeOfDay};
pub use types::{Notify, Preferences, PreferencesPayload, Previews};
