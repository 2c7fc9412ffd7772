//! Taking content out of logs, and writing views anew.

use async_trait::async_trait;

use super::{
    MySqlStore, effects,
    fault::Sql,
    head,
    pool::{Db, run, transact},
    row::{self, Columns},
};
use crate::{
    AppendError, ConversationId, Epoch, JsonText, LogUpkeep, Message, Person, Seq, StoreError,
    UserId,
};

#[async_trait]
impl LogUpkeep for MySqlStore {
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let sql = "SELECT DISTINCT c.id FROM members m JOIN conversations c ON c.conv = m.conv
                   WHERE m.workspace = ? AND m.user = ? AND c.id > ? ORDER BY c.id LIMIT ?";
        let after = after.map_or("", ConversationId::as_str);
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        let key = (workspace, user, after, row::rows(limit));
        run!(self.pool, |db| db
            .all(sql, key, |row| row.conversation_id(0))
            .await)
        .await
    }

    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError> {
        transact!(self.pool, |db| {
            let Some(conv) = head::conv(db, id).await? else {
                return Ok(());
            };
            for (seq, payload) in &payloads {
                effects::redact(db, conv, *seq, payload).await?;
            }
            Ok(())
        })
        .await
    }

    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        transact!(self.pool, |db| {
            let Some(conv) = head::conv(db, id).await? else {
                return Ok(());
            };
            let sql = "DELETE FROM hidden WHERE conv = ? AND user = ?";
            db.run(sql, (conv, user.as_str())).await.map(drop)
        })
        .await
    }

    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError> {
        transact!(self.pool, |db| put_views(db, id, epoch, &views).await).await?
    }

    /// What the server keeps for itself (undo, redo and binary logs) is its operator's to purge.
    async fn scrub(&self, _: &[ConversationId]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The conversation's row is locked, so nobody takes it before the commit.
async fn put_views(
    db: &mut Db<'_>,
    id: &ConversationId,
    epoch: Epoch,
    views: &[Message],
) -> Sql<Result<(), AppendError>> {
    let heads = head::lock(db, &[id]).await?;
    let Some(head) = heads.first().filter(|head| head.epoch == epoch) else {
        return Ok(Err(AppendError::Fenced));
    };
    for view in views {
        effects::put_view(db, head.conv, view.applied_seq, view).await?;
    }
    Ok(Ok(()))
}
