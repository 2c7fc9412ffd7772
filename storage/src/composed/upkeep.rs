//! Taking content out of logs, and forgetting people, each where it is kept.

use async_trait::async_trait;

use super::Composed;
use crate::{
    AppendError, ConversationId, DeviceId, DeviceStore, Epoch, ErasureStore, JsonText, LogUpkeep,
    Message, Person, Seq, StoreError, Timestamp, UserId,
};

#[async_trait]
impl LogUpkeep for Composed {
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.log.ever_in(person, after, limit).await
    }

    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError> {
        self.log.redact(id, payloads).await
    }

    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        self.log.forget_hidden(id, user).await
    }

    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError> {
        self.log.put_views(id, epoch, views).await
    }

    /// Every store has copies of its own.
    async fn scrub(&self, ids: &[ConversationId]) -> Result<(), StoreError> {
        self.log.scrub(ids).await?;
        for store in &self.distinct {
            store.scrub(ids).await?;
        }
        match self.devices_apart() {
            Some(devices) => devices.scrub_documents().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl DeviceStore for Composed {
    async fn devices_used(
        &self,
        devices: Vec<(Person, DeviceId)>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.beside.devices_used(devices, at).await
    }

    async fn forget_unused_devices(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Person>, StoreError> {
        self.beside.forget_unused_devices(before, now, limit).await
    }

    async fn forget_excess_devices(
        &self,
        person: &Person,
        most: usize,
        in_hand: &[DeviceId],
    ) -> Result<u64, StoreError> {
        let gone = self.beside.forget_excess_devices(person, most, in_hand);
        gone.await
    }

    async fn forget_device(&self, person: &Person, device: &DeviceId) -> Result<bool, StoreError> {
        self.beside.forget_device(person, device).await
    }

    async fn last_used(
        &self,
        person: &Person,
        devices: &[DeviceId],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.beside.last_used(person, devices).await
    }
}

#[async_trait]
impl ErasureStore for Composed {
    async fn forget_registers(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        self.beside.forget_registers(id, user).await
    }

    async fn forget_devices(&self, person: &Person) -> Result<(), StoreError> {
        self.beside.forget_devices(person).await
    }

    async fn forget_profile(&self, person: &Person) -> Result<(), StoreError> {
        self.people.forget_profile(person).await
    }
}
