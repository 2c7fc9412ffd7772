//! Concerns that one store keeps alone.

use async_trait::async_trait;

use super::{Composed, Registers};
use crate::{
    Conversation, ConversationId, ConversationStore, ConversationSummary, Created, DeviceCursor,
    DeviceId, Document, DocumentKind, DocumentStore, Marks, Member, Mute, NewConversation,
    PeopleStore, Person, Profile, ProfileChange, RegisterStore, RegisterWrite, Registers as Kept,
    Revocation, RevokedSubject, Role, SecurityStore, Seq, StoreError, StreamCursor, Timestamp,
    UserId, WorkspaceId,
};

impl Composed {
    fn registers(&self) -> &dyn RegisterStore {
        match &self.registers {
            Registers::WithLog => &*self.beside,
            Registers::Detached(detached, _) => detached,
        }
    }
}

#[async_trait]
impl ConversationStore for Composed {
    async fn create_conversation(&self, new: NewConversation) -> Result<Created, StoreError> {
        self.log.create_conversation(new).await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.log.conversation(id).await
    }

    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError> {
        self.log.direct(workspace, a, b).await
    }

    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.log.members(id, after, limit).await
    }

    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError> {
        self.log.membership(id, user).await
    }

    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        self.log.conversations_of(person).await
    }

    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        let list = self.log.list_conversations(person, below, limit).await?;
        match &self.registers {
            Registers::WithLog => Ok(list),
            Registers::Detached(detached, _) => detached.count_unread(&person.user, list).await,
        }
    }

    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError> {
        let found = self.log.summary(person, id).await?;
        match &self.registers {
            Registers::WithLog => Ok(found),
            Registers::Detached(detached, _) => {
                let found = found.into_iter().collect();
                Ok(detached.count_unread(&person.user, found).await?.pop())
            }
        }
    }
}

#[async_trait]
impl RegisterStore for Composed {
    async fn write_registers(&self, writes: Vec<RegisterWrite>) -> Result<Vec<Kept>, StoreError> {
        if let Registers::Detached(_, folder) = &self.registers {
            folder.settle_before(&writes).await?;
        }
        self.registers().write_registers(writes).await
    }

    async fn registers(&self, id: &ConversationId, user: &UserId) -> Result<Kept, StoreError> {
        self.registers().registers(id, user).await
    }

    async fn mutes(
        &self,
        id: &ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Option<Mute>>, StoreError> {
        self.registers().mutes(id, users).await
    }

    async fn marks_since(
        &self,
        id: &ConversationId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<(UserId, Marks)>, StoreError> {
        self.registers().marks_since(id, version, limit).await
    }

    async fn unread(&self, id: &ConversationId, user: &UserId) -> Result<u64, StoreError> {
        self.registers().unread(id, user).await
    }

    async fn write_cursors(&self, cursors: Vec<DeviceCursor>) -> Result<(), StoreError> {
        self.registers().write_cursors(cursors).await
    }

    async fn device_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        id: &ConversationId,
    ) -> Result<Option<Seq>, StoreError> {
        self.registers().device_cursor(person, device, id).await
    }

    async fn write_stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
        cursor: &StreamCursor,
    ) -> Result<(), StoreError> {
        self.registers()
            .write_stream_cursor(person, device, cursor)
            .await
    }

    async fn stream_cursor(
        &self,
        person: &Person,
        device: &DeviceId,
    ) -> Result<Option<StreamCursor>, StoreError> {
        self.registers().stream_cursor(person, device).await
    }
}

#[async_trait]
impl PeopleStore for Composed {
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError> {
        self.people.put_profile(person, change).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError> {
        self.people.profiles(workspace, users).await
    }

    async fn set_block(
        &self,
        person: &Person,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.people.set_block(person, other, blocked, at).await
    }

    async fn blocks(&self, person: &Person) -> Result<Vec<UserId>, StoreError> {
        self.people.blocks(person).await
    }
}

impl Composed {
    fn keeper_of(&self, kind: DocumentKind) -> &dyn DocumentStore {
        match kind {
            DocumentKind::Preferences => &*self.people,
            DocumentKind::Devices => &*self.devices,
        }
    }
}

#[async_trait]
impl DocumentStore for Composed {
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError> {
        self.keeper_of(kind).documents(kind, workspace, users).await
    }

    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        self.keeper_of(document.kind).put_document(document).await
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        for kind in DocumentKind::ALL {
            self.keeper_of(kind).forget_documents(person).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SecurityStore for Composed {
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        self.security.put_ticket(hash, claims, expires).await
    }

    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.security.take_ticket(hash, now).await
    }

    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError> {
        self.security.revoke(subject, at, forget_after).await
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        self.security.revocations_since(number).await
    }

    async fn revocation_hint(&self, above: u64) -> u64 {
        self.security.revocation_hint(above).await
    }
}
