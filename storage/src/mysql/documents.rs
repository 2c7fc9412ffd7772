//! Documents of people's own.

use async_trait::async_trait;
use mysql_async::{Params, Value, params};

use super::{
    MySqlStore,
    pool::{run, transact},
    row::{self, Columns, int, p},
};
use crate::{Document, DocumentKind, DocumentStore, Person, StoreError, UserId, WorkspaceId};

/// People asked about with one statement.
const PEOPLE: usize = 500;
const ADVANCE: &str = "UPDATE documents SET version = :version, json = :json
     WHERE workspace = :workspace AND user = :user AND kind = :kind AND version < :version";
const INSERT: &str = "INSERT IGNORE INTO documents (workspace, user, kind, version, json)
     VALUES (:workspace, :user, :kind, :version, :json)";

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

    /// Two that put the first one at the same time both find none: whoever is not first to insert it
    /// looks again at which of them is later. Each step commits by itself: whoever finds the row
    /// taken would hold a lock that the others wait for.
    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        for step in [ADVANCE, INSERT, ADVANCE] {
            let record = record(document);
            let kept = transact!(self.pool, |db| db.run(step, record.clone()).await);
            if kept.await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        let sql = "DELETE FROM documents WHERE workspace = ? AND user = ?";
        let key = (person.workspace.as_str(), person.user.as_str());
        transact!(self.pool, |db| db.run(sql, key).await.map(drop)).await
    }
}

/// The parameters of [`ADVANCE`] and [`INSERT`].
fn record(document: &Document) -> Params {
    params! {
        "workspace" => document.person.workspace.as_str(),
        "user" => document.person.user.as_str(),
        "kind" => document.kind.as_str(),
        "version" => int(document.version),
        "json" => &*document.json,
    }
}
