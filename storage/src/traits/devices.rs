//! Which devices people use, so that those that nobody uses are forgotten.

use async_trait::async_trait;

use crate::{DeviceId, Person, StoreError, Timestamp};

/// When devices were last in use. A device is known from the first cursor that it wrote
/// ([`QueueStore`](crate::QueueStore)), and lives where the cursors live.
///
/// A device that is forgotten goes with all of its cursors at once, in one transaction. One that
/// acknowledges at that moment either keeps what it wrote, if that was later, or has no place any
/// more: never an older one. (Beside a log of its own, what a stream's cursor says of a conversation
/// may be written down late, and make a device known again by a place that it truly has.) What is queued only for it goes with the next
/// [`trim_queue`](crate::QueueStore::trim_queue).
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Devices are in use at a moment. Nothing becomes of those that are not known, nor of those
    /// of which a later moment is known.
    async fn devices_used(
        &self,
        devices: Vec<(Person, DeviceId)>,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets devices that were last in use before a moment, those first that were so earliest, at
    /// most `limit`; whose they were, one item for each. A device of which nothing has been said
    /// counts as in use at `now`, from now on.
    async fn forget_unused_devices(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError>;

    /// Forgets those of a person's devices that were in use earliest, until there are `most`, or a
    /// thousand have gone; how many. A device of which nothing has been said is newer than others,
    /// and those that are `in_hand` stay, whatever is known of them.
    async fn forget_excess_devices(
        &self,
        person: &Person,
        most: usize,
        in_hand: &[DeviceId],
    ) -> Result<u64, StoreError>;

    /// Forgets one device of a person; whether it was known.
    async fn forget_device(&self, person: &Person, device: &DeviceId) -> Result<bool, StoreError>;

    /// When devices of a person were last in use, in the order in which they are named; `None` for
    /// one that is not known, or of which nothing has been said.
    async fn last_used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Timestamp>>, StoreError>;
}
