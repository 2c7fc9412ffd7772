//! Forgetting a person beside the log.

use async_trait::async_trait;
use rusqlite::Connection;

use super::{EmbeddedStore, detached, fault::Sql, row};
use crate::{ConversationId, ErasureStore, Person, StoreError, UserId};

#[async_trait]
impl ErasureStore for EmbeddedStore {
    async fn forget_registers(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.write(move |conn| forget_registers(conn, &id, &user))
            .await
    }

    async fn forget_devices(&self, person: &Person) -> Result<(), StoreError> {
        let person = person.clone();
        self.write(move |conn| {
            let rows = [
                "DELETE FROM device_cursors WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM stream_cursors WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM detached_stream_cursors WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM devices WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM pending WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM pending_totals WHERE workspace = ?1 AND user = ?2",
            ];
            delete(conn, &rows, &person)
        })
        .await
    }

    async fn forget_profile(&self, person: &Person) -> Result<(), StoreError> {
        let person = person.clone();
        self.write(move |conn| {
            let rows = [
                "DELETE FROM profiles WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM blocks WHERE workspace = ?1 AND user = ?2",
                "DELETE FROM blocks WHERE workspace = ?1 AND other = ?2",
            ];
            delete(conn, &rows, &person)
        })
        .await
    }
}

fn forget_registers(conn: &Connection, id: &ConversationId, user: &UserId) -> Sql<()> {
    let Some(conv) = detached::any_row(conn, id)? else {
        return Ok(());
    };
    for rows in [
        "DELETE FROM marks WHERE conv = ?1 AND user = ?2",
        "DELETE FROM personal WHERE conv = ?1 AND user = ?2",
        "DELETE FROM thread_followers WHERE conv = ?1 AND user = ?2",
        "DELETE FROM thread_marks WHERE conv = ?1 AND user = ?2",
    ] {
        row::run(conn, rows, (conv, user.as_str()))?;
    }
    Ok(())
}

fn delete(conn: &Connection, rows: &[&str], person: &Person) -> Sql<()> {
    for rows in rows {
        let key = (person.workspace.as_str(), person.user.as_str());
        row::run(conn, rows, key)?;
    }
    Ok(())
}
