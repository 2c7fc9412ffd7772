//! The devices that a person has registered: what they are, and what their person calls them.
//!
//! The list is a document of the person ([`Documents`](crate::documents::Documents)): an entry of
//! their own conversation for each version, so that all of their devices have it in order. It is
//! apart from which devices are known by their cursors and when those were used
//! ([`DeviceStore`](quikapp_storage::DeviceStore)), and from who is connected
//! ([`People`](crate::people::People)): a device may be one without the other.
//!
//! What is secret of a device, such as a token to push to it, has no place in the list, which is in
//! the log and read by every device: it belongs beside, under the same person and `device_id`.

mod device;
mod handle;
mod list;
pub mod payload;

pub use device::{Details, InvalidDevice, Platform, RegisteredDevice, Said};
pub use handle::{Devices, DevicesError, List, Refused, Seen};
pub use list::{Activity, Full, MAX_DEVICES, Registered, Registering, Registration, Unknown};

#[cfg(test)]
mod tests;
