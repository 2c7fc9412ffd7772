//! Forgetting a person beside the log.

use async_trait::async_trait;

use super::{
    MySqlStore,
    fault::Sql,
    head,
    pool::{Db, transact},
};
use crate::{ConversationId, ErasureStore, Person, StoreError, UserId};

#[async_trait]
impl ErasureStore for MySqlStore {
    async fn forget_registers(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        transact!(self.pool, |db| forget_registers(db, id, user).await).await
    }

    async fn forget_devices(&self, person: &Person) -> Result<(), StoreError> {
        let rows = [
            "DELETE FROM device_cursors WHERE workspace = ? AND user = ?",
            "DELETE FROM stream_cursors WHERE workspace = ? AND user = ?",
            "DELETE FROM devices WHERE workspace = ? AND user = ?",
            "DELETE FROM pending WHERE workspace = ? AND user = ?",
            "DELETE FROM pending_totals WHERE workspace = ? AND user = ?",
        ];
        transact!(self.pool, |db| delete(db, &rows, person).await).await
    }

    async fn forget_profile(&self, person: &Person) -> Result<(), StoreError> {
        let rows = [
            "DELETE FROM profiles WHERE workspace = ? AND user = ?",
            "DELETE FROM blocks WHERE workspace = ? AND user = ?",
            "DELETE FROM blocks WHERE workspace = ? AND other = ?",
        ];
        transact!(self.pool, |db| delete(db, &rows, person).await).await
    }
}

async fn forget_registers(db: &mut Db<'_>, id: &ConversationId, user: &UserId) -> Sql<()> {
    let Some(conv) = head::any_conv(db, id).await? else {
        return Ok(());
    };
    for rows in [
        "DELETE FROM marks WHERE conv = ? AND user = ?",
        "DELETE FROM personal WHERE conv = ? AND user = ?",
        "DELETE FROM thread_followers WHERE conv = ? AND user = ?",
        "DELETE FROM thread_marks WHERE conv = ? AND user = ?",
    ] {
        db.run(rows, (conv, user.as_str())).await?;
    }
    Ok(())
}

async fn delete(db: &mut Db<'_>, rows: &[&str], person: &Person) -> Sql<()> {
    for rows in rows {
        let key = (person.workspace.as_str(), person.user.as_str());
        db.run(rows, key).await?;
    }
    Ok(())
}
