//! Documents of people's own.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    EmbeddedStore,
    fault::Sql,
    row::{self, Columns, int},
};
use crate::{Document, DocumentKind, DocumentStore, Person, StoreError, UserId, WorkspaceId};

#[async_trait]
impl DocumentStore for EmbeddedStore {
    async fn documents(
        &self,
        kind: DocumentKind,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Document>, StoreError> {
        let (workspace, users) = (workspace.clone(), users.to_vec());
        self.read(move |conn| {
            let mut documents = Vec::new();
            for user in users {
                let workspace = workspace.clone();
                documents.extend(document(conn, kind, Person { workspace, user })?);
            }
            Ok(documents)
        })
        .await
    }

    async fn put_document(&self, document: &Document) -> Result<bool, StoreError> {
        let document = document.clone();
        self.write(move |conn| put(conn, &document)).await
    }

    async fn forget_documents(&self, person: &Person) -> Result<(), StoreError> {
        let person = person.clone();
        self.write(move |conn| {
            let sql = "DELETE FROM documents WHERE workspace = ?1 AND user = ?2";
            let key = (person.workspace.as_str(), person.user.as_str());
            row::run(conn, sql, key).map(drop)
        })
        .await
    }
}

fn document(conn: &Connection, kind: DocumentKind, person: Person) -> Sql<Option<Document>> {
    let sql = "SELECT version, json FROM documents
               WHERE workspace = ?1 AND user = ?2 AND kind = ?3";
    let (workspace, user) = (person.workspace.clone(), person.user.clone());
    let key = (workspace.as_str(), user.as_str(), kind.as_str());
    row::first(conn, sql, key, |row| {
        Ok(Document {
            person,
            kind,
            version: row.count(0)?,
            json: row.text(1)?,
        })
    })
}

fn put(conn: &Connection, document: &Document) -> Sql<bool> {
    let sql = "INSERT INTO documents (workspace, user, kind, version, json)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (workspace, user, kind) DO UPDATE
                   SET version = excluded.version, json = excluded.json
                   WHERE version < excluded.version";
    let record = (
        document.person.workspace.as_str(),
        document.person.user.as_str(),
        document.kind.as_str(),
        int(document.version),
        &*document.json,
    );
    Ok(row::run(conn, sql, record)? > 0)
}
