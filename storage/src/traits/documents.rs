//! Documents of people's own, as the log last had them.

use async_trait::async_trait;

use crate::{Document, DocumentKind, Health, Person, Store, StoreError, UserId, WorkspaceId};

/// The latest version of each document. The log of the person's own conversation is the truth;
/// what is kept here follows from it and can be derived anew, but is read at once for many people.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Documents of a kind, of those who have one, in no particular order.
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError>;

    /// Keeps a document, unless one of the same or a higher version is kept; says whether it was.
    async fn put_document(&self, document: &Document) -> Result<bool, StoreError>;

    /// Forgets what is kept of a person. Part of an erasure, but lives where documents live.
    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError>;
}

/// A store of documents, which may keep nothing else. Every whole [`Store`] is one.
#[async_trait]
pub trait DocumentKeeper: DocumentStore + 'static {
    /// As [`Store::health`].
    async fn documents_health(&self) -> Health;

    /// As [`LogUpkeep::scrub`](crate::LogUpkeep::scrub), of what was forgotten.
    async fn scrub_documents(&self) -> Result<(), StoreError>;

    /// As [`Store::close`].
    async fn close_documents(&self);
}

#[async_trait]
impl<T: Store> DocumentKeeper for T {
    async fn documents_health(&self) -> Health {
        self.health().await
    }

    async fn scrub_documents(&self) -> Result<(), StoreError> {
        self.scrub(&[]).await
    }

    async fn close_documents(&self) {
        self.close().await;
    }
}
