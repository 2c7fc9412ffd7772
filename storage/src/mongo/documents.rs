//! Documents of people's own: a collection for each kind, and in it one document for each person,
//! whose `_id` is that of the person's own conversation. An update asks for an earlier version, so
//! that whoever comes late changes nothing.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::{self, doc};

use super::{
    MongoError, MongoLog,
    db::Db,
    doc::{Fields, damaged, int},
    probe::Probe,
    schema,
};
use crate::{
    Config, Document, DocumentKeeper, DocumentKind, DocumentStore, Health, Person, ServerUrl,
    StoreError, UserId, WorkspaceId,
};

/// People asked about at once.
const PEOPLE: usize = 500;

/// Documents in MongoDB, beside a log or without one.
#[derive(Debug)]
pub struct MongoDocuments {
    db: Arc<Db>,
    probe: Probe,
}

impl MongoDocuments {
    /// Opens a database for documents alone.
    pub async fn open(url: &ServerUrl, config: &Config) -> Result<Self, MongoError> {
        let db = Db::open(url, config).await?;
        schema::identify(&db).await?;
        Ok(Self::over(Arc::new(db)))
    }

    /// Documents in the database of a log, over its connections.
    #[must_use]
    pub fn beside(log: &MongoLog) -> Self {
        Self::over(Arc::clone(&log.db))
    }

    fn over(db: Arc<Db>) -> Self {
        Self {
            db,
            probe: Probe::default(),
        }
    }

    async fn update(
        &self,
        document: &Document,
        may_insert: bool,
    ) -> Result<Option<bool>, StoreError> {
        let earlier = doc! {
            "_id": document.person.own_conversation().as_str(),
            "version": { "$lt": int(document.version) },
        };
        let change = doc! { "$set": {
            "workspace": document.person.workspace.as_str(),
            "user": document.person.user.as_str(),
            "version": int(document.version),
            "json": &*document.json,
        } };
        let documents = self.db.collection(document.kind.as_str());
        let update = documents.update_one(earlier, change).upsert(may_insert);
        let done = self.db.unless_taken(update.into_future()).await?;
        Ok(done.map(|done| done.matched_count > 0 || done.upserted_id.is_some()))
    }
}

#[async_trait]
impl DocumentStore for MongoDocuments {
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError> {
        let documents = self.db.collection(kind.as_str());
        let id_of = |user: &UserId| {
            let (workspace, user) = (workspace.clone(), user.clone());
            Person { workspace, user }.own_conversation().to_string()
        };
        let mut found = Vec::new();
        for some in users.chunks(PEOPLE) {
            let ids: Vec<String> = some.iter().map(id_of).collect();
            let page = self.db.all(documents.find(doc! { "_id": { "$in": ids } }));
            for document in page.await? {
                found.push(decode(kind, &document)?);
            }
        }
        Ok(found)
    }

    /// Two that put the first one at the same time both find none, and one of them finds the `_id`
    /// taken: it looks again at which of them is later.
    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        match self.update(document, true).await? {
            Some(kept) => Ok(kept),
            None => Ok(self.update(document, false).await?.unwrap_or(false)),
        }
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        for kind in DocumentKind::ALL {
            let theirs = doc! { "_id": person.own_conversation().as_str() };
            let documents = self.db.collection(kind.as_str());
            self.db
                .write(documents.delete_one(theirs).into_future())
                .await?;
        }
        Ok(())
    }
}

#[async_trait]
impl DocumentKeeper for MongoDocuments {
    async fn documents_health(&self) -> Health {
        self.probe.health(&self.db).await
    }

    /// The copies that the server makes are its own.
    async fn scrub_documents(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close_documents(&self) {
        self.db.close().await;
    }
}

fn decode(kind: DocumentKind, from: &bson::Document) -> Result<Document, StoreError> {
    Ok(Document {
        person: Person {
            workspace: WorkspaceId::new(from.text("workspace")?)
                .map_err(|_| damaged("workspace"))?,
            user: from.user("user")?,
        },
        kind,
        version: from.count("version")?,
        json: from.text("json")?.into(),
    })
}
