//! Documents of people's own that all their devices agree on: preferences, registered devices.
//!
//! A change is an entry in the log of the person's own conversation, which carries the whole new
//! document and its version. Its key is made of the person, the kind and the version, so that each
//! version is written once, by whichever process comes first: the log is the compare-and-set. What
//! the [store](quikapp_storage::DocumentStore) keeps of it is a view, read at once for many people.
//! It follows the entry before the answer is given, and again with the projection of notices, so
//! that a crash between the two heals.

mod entry;
mod handle;
mod view;

pub use entry::event_of;
pub use handle::{ChangeError, Documents};
pub(crate) use view::{fold, rebuild};
