//! The logs and the views that commit with them.

use async_trait::async_trait;

use super::{
    MySqlStore, conversations,
    fault::Sql,
    head, history,
    pool::{Db, run, transact},
    row::{self, Columns, ENTRY, int, p},
    stream,
};
use crate::{
    AcquireError, Acquired, Append, AppendError, Appended, Claim, ConversationId, Entry, Epoch,
    Key16, LogStore, Member, Message, MessageId, MessageSearch, Missed, Page, Person, Seq,
    StoreError, StreamCursor, UserId, position,
};

#[async_trait]
impl LogStore for MySqlStore {
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError> {
        let taken = transact!(self.pool, |db| acquire(db, id, claim).await);
        let epoch = taken.await??;
        // Whoever takes over in between only makes this state newer, and its epoch void.
        let found = run!(self.pool, |db| {
            let conversation = conversations::conversation(db, id).await?;
            let members = conversations::members(db, id, None, usize::MAX).await?;
            Ok(conversation.map(|conversation| (conversation, members)))
        });
        let (mut conversation, members) = found.await?.ok_or(AcquireError::NotFound)?;
        conversation.epoch = epoch;
        Ok(Acquired {
            conversation,
            members,
        })
    }

    async fn append(&self, parts: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        self.writer.append(parts).await
    }

    async fn release(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET hot = 0 WHERE id = ? AND epoch = ? AND tail = ?";
        let key = (id.as_str(), int(epoch.0), int(tail.0));
        transact!(self.pool, |db| db.run(sql, key).await.map(drop)).await
    }

    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError> {
        run!(self.pool, |db| by_keys(db, id, keys).await).await
    }

    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let sql = format!(
            "SELECT {ENTRY} FROM conversations c JOIN entries e ON e.conv = c.conv
             WHERE c.id = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"
        );
        let key = (id.as_str(), int(after.0), row::rows(limit));
        run!(self.pool, |db| db
            .all(&sql, key, |row| row::entry(row, 0))
            .await)
        .await
    }

    async fn tails(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        run!(self.pool, |db| tails(db, ids).await).await
    }

    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        run!(self.pool, |db| history::by_ids(db, id, ids).await).await
    }

    async fn history(
        &self,
        id: &ConversationId,
        visible: &[Member],
        hidden_for: &UserId,
        thread: Option<MessageId>,
        page: Page,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let of = (visible, hidden_for);
        run!(self.pool, |db| history::page(
            db, id, of, thread, page, limit
        )
        .await)
        .await
    }

    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        run!(self.pool, |db| history::search(db, id, search).await).await
    }

    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        transact!(self.pool, |db| history::hide(db, id, user, message).await).await
    }

    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError> {
        run!(self.pool, |db| history::pinned(db, id).await).await
    }

    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        let after = position::parse(self.store_id, after);
        run!(self.pool, |db| {
            stream::missed(db, self.store_id, person, after, limit).await
        })
        .await
    }

    async fn cursor_now(&self) -> Result<StreamCursor, StoreError> {
        let newest = run!(self.pool, |db| stream::newest(db).await);
        Ok(position::format(self.store_id, newest.await?))
    }

    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError> {
        let Some(pos) = position::parse(self.store_id, cursor) else {
            return Ok(false);
        };
        let newest = run!(self.pool, |db| stream::newest(db).await);
        Ok(pos <= newest.await?)
    }

    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64> {
        position::parse(self.store_id, cursor)
    }

    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError> {
        run!(self.pool, |db| {
            let mut counts = Vec::with_capacity(places.len());
            for (id, seq) in places {
                let sql = "SELECT e.n FROM conversations c JOIN entries e ON e.conv = c.conv
                               WHERE c.id = ? AND e.seq = ?";
                let key = (id.as_str(), int(seq.0));
                let n = db.first(sql, key, |row| row.count(0)).await?;
                counts.push(n.unwrap_or(0));
            }
            Ok(counts)
        })
        .await
    }

    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError> {
        let pos = run!(self.pool, |db| stream::position(db, id, seq).await);
        Ok(position::format(self.store_id, pos.await?))
    }
}

/// Takes a conversation; the new epoch.
async fn acquire(
    db: &mut Db<'_>,
    id: &ConversationId,
    claim: Claim,
) -> Sql<Result<Epoch, AcquireError>> {
    let sql = "SELECT conv, epoch, owner, taken_at, hot FROM conversations
               WHERE id = ? AND kind <> 0 FOR UPDATE";
    let holder = db.first(sql, (id.as_str(),), |row| {
        let is_hot: bool = row.value(4)?;
        let owner = row.maybe_uuid(2)?.filter(|_| is_hot);
        let (conv, taken_at) = (row.value::<i64>(0)?, row.value::<i64>(3)?);
        Ok((conv, row.count(1)?, owner, taken_at))
    });
    let Some((conv, epoch, owner, taken_at)) = holder.await? else {
        return Ok(Err(AcquireError::NotFound));
    };
    // A clock that went back must not make a tenure last for ever, so its sign does not count.
    let held_for_ms = claim.now.0.abs_diff(taken_at);
    if owner.is_some_and(|owner| owner != claim.owner.0) && held_for_ms < claim.min_tenure_ms {
        return Ok(Err(AcquireError::Held { held_for_ms }));
    }
    let sql = "UPDATE conversations SET epoch = ?, owner = ?, taken_at = ?, hot = 1
               WHERE conv = ?";
    let owner = claim.owner.0.as_bytes().to_vec();
    db.run(sql, (int(epoch + 1), owner, claim.now.0, conv))
        .await?;
    Ok(Ok(Epoch(epoch + 1)))
}

async fn by_keys(db: &mut Db<'_>, id: &ConversationId, keys: &[Key16]) -> Sql<Vec<Entry>> {
    let Some(conv) = head::conv(db, id).await? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::with_capacity(keys.len());
    for some in keys.chunks(500) {
        let sql = format!(
            "SELECT {ENTRY} FROM entries e WHERE e.conv = ? AND e.key16 IN ({})",
            row::marks(some.len())
        );
        let params = std::iter::once(p(conv)).chain(some.iter().map(|key| p(&key.0[..])));
        let page = db.all(&sql, params.collect::<Vec<_>>(), |row| row::entry(row, 0));
        found.extend(page.await?);
    }
    Ok(found)
}

async fn tails(db: &mut Db<'_>, ids: &[ConversationId]) -> Sql<Vec<(ConversationId, Seq)>> {
    let mut tails = Vec::with_capacity(ids.len());
    for some in ids.chunks(500) {
        let sql = format!(
            "SELECT id, tail FROM conversations WHERE kind <> 0 AND id IN ({})",
            row::marks(some.len())
        );
        let params: Vec<_> = some.iter().map(|id| p(id.as_str())).collect();
        let page = db.all(&sql, params, |row| {
            Ok((row.conversation_id(0)?, row.seq(1)?))
        });
        tails.extend(page.await?);
    }
    Ok(tails)
}
