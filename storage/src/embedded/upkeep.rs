//! Taking content out of logs, and writing views anew.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    EmbeddedStore, checkpoint, effects,
    fault::Sql,
    row::{self, Columns},
};
use crate::{
    AppendError, ConversationId, Epoch, JsonText, LogUpkeep, Message, Person, Seq, StoreError,
    UserId,
};

#[async_trait]
impl LogUpkeep for EmbeddedStore {
    async fn ever_in(
        &self,
        person: &Person,
        after: Option<&ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (person, after) = (person.clone(), after.cloned());
        self.read(move |conn| {
            let sql = "SELECT DISTINCT c.id FROM members m JOIN conversations c ON c.conv = m.conv
                       WHERE m.workspace = ?1 AND m.user = ?2 AND c.id > ?3
                       ORDER BY c.id LIMIT ?4";
            let after = after.as_ref().map_or("", ConversationId::as_str);
            let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
            let key = (workspace, user, after, row::rows(limit));
            row::all(conn, sql, key, |row| {
                Ok(ConversationId::from_stored(row.text(0)?))
            })
        })
        .await
    }

    async fn redact(
        &self,
        id: &ConversationId,
        payloads: Vec<(Seq, JsonText)>,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |conn| {
            let Some(conv) = row::conversation_row(conn, &id)? else {
                return Ok(());
            };
            let mut each = payloads.iter();
            each.try_for_each(|(seq, payload)| effects::redact(conn, conv, *seq, payload))
        })
        .await
    }

    async fn forget_hidden(&self, id: &ConversationId, user: &UserId) -> Result<(), StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.write(move |conn| {
            let sql = "DELETE FROM hidden WHERE user = ?2
                           AND conv = (SELECT conv FROM conversations WHERE id = ?1)";
            row::run(conn, sql, (id.as_str(), user.as_str())).map(drop)
        })
        .await
    }

    async fn put_views(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        views: Vec<Message>,
    ) -> Result<(), AppendError> {
        let id = id.clone();
        self.write(move |conn| put_views(conn, &id, epoch, &views))
            .await?
    }

    /// All conversations share one write-ahead log.
    async fn scrub(&self, _: &[ConversationId]) -> Result<(), StoreError> {
        let place = Arc::clone(&self.place);
        let emptied = tokio::task::spawn_blocking(|| checkpoint::empty(place)).await;
        emptied.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}

fn put_views(
    conn: &Connection,
    id: &ConversationId,
    epoch: Epoch,
    views: &[Message],
) -> Sql<Result<(), AppendError>> {
    let sql = "SELECT conv, epoch FROM conversations WHERE id = ?1";
    let found = row::first(conn, sql, [id.as_str()], |row| {
        Ok((row.get(0)?, Epoch(row.count(1)?)))
    })?;
    let Some((conv, _)) = found.filter(|(_, current)| *current == epoch) else {
        return Ok(Err(AppendError::Fenced));
    };
    let mut each = views.iter();
    each.try_for_each(|view| effects::put_view(conn, conv, view))?;
    Ok(Ok(()))
}
