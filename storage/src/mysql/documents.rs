//! Documents of people's own.

use async_trait::async_trait;
use mysql_async::Value;

use super::{
    MySqlStore,
    fault::Sql,
    pool::{Db, run, transact},
    row::{self, Columns, int, p},
};
use crate::{Document, DocumentKind, DocumentStore, Person, StoreError, UserId, WorkspaceId};

/// People asked about with one statement.
const PEOPLE: usize = 500;

#[async_trait]
impl DocumentStore for MySqlStore {
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError> {
        let mut documents = Vec::new();
        for some in users.chunks(PEOPLE) {
            let sql = format!(
                "SELECT user, version, json FROM documents
                 WHERE workspace = ? AND kind = ? AND user IN ({})",
                row::marks(some.len())
            );
            let key = [p(workspace.as_str()), p(kind.as_str())].into_iter();
            let key: Vec<Value> = key
                .chain(some.iter().map(|user| p(user.as_str())))
                .collect();
            let page = run!(self.pool, |db| {
                db.all(&sql, key.clone(), |row| {
                    Ok(Document {
                        person: Person {
                            workspace: workspace.clone(),
                            user: row.user(0)?,
                        },
                        kind,
                        version: row.count(1)?,
                        json: row.text(2)?,
                    })
                })
                .await
            });
            documents.extend(page.await?);
        }
        Ok(documents)
    }

    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        transact!(self.pool, |db| put(db, document).await).await
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        let sql = "DELETE FROM documents WHERE workspace = ? AND user = ?";
        let key = (person.workspace.as_str(), person.user.as_str());
        transact!(self.pool, |db| db.run(sql, key).await.map(drop)).await
    }
}

/// Two that put the first one at the same time both find none: whoever is not first to insert it
/// looks again at which of them is later.
async fn put(db: &mut Db<'_>, document: &Document) -> Sql<bool> {
    Ok(
        advance(db, document).await?
            || insert(db, document).await?
            || advance(db, document).await?,
    )
}

async fn advance(db: &mut Db<'_>, document: &Document) -> Sql<bool> {
    let sql = "UPDATE documents SET version = ?, json = ?
               WHERE workspace = ? AND user = ? AND kind = ? AND version < ?";
    let version = int(document.version);
    let record = (
        version,
        &*document.json,
        document.person.workspace.as_str(),
        document.person.user.as_str(),
        document.kind.as_str(),
        version,
    );
    Ok(db.run(sql, record).await? > 0)
}

async fn insert(db: &mut Db<'_>, document: &Document) -> Sql<bool> {
    let sql = "INSERT IGNORE INTO documents (workspace, user, kind, version, json)
               VALUES (?, ?, ?, ?, ?)";
    let record = (
        document.person.workspace.as_str(),
        document.person.user.as_str(),
        document.kind.as_str(),
        int(document.version),
        &*document.json,
    );
    Ok(db.run(sql, record).await? > 0)
}
