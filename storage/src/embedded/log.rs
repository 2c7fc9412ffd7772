//! The logs and the views that commit with them.

use async_trait::async_trait;

use super::{
    EmbeddedStore, append, conversations,
    fault::Sql,
    history, registers,
    row::{self, Columns, entry_columns, int},
    search, stream,
};
use crate::{
    AcquireError, Acquired, Append, AppendError, Appended, Claim, ConversationId, Entry, Epoch,
    Key16, LogStore, Member, Message, MessageId, MessageSearch, Missed, Page, Person, Seq,
    StoreError, StreamCursor, UserId,
};

#[async_trait]
impl LogStore for EmbeddedStore {
    async fn acquire(&self, id: &ConversationId, claim: Claim) -> Result<Acquired, AcquireError> {
        let conversation = id.clone();
        let epoch = self
            .write(move |conn| append::acquire(conn, &conversation, claim))
            .await??;
        // Members may be many, so they are read on the side and not by the writer. Whoever takes
        // over in between only makes this state newer, and its epoch void.
        let id = id.clone();
        let found = self
            .read(move |conn| {
                let conversation = conversations::conversation(conn, &id)?;
                let members = conversations::members(conn, &id, None, usize::MAX)?;
                Ok(conversation.map(|conversation| (conversation, members)))
            })
            .await?;
        let (mut conversation, members) = found.ok_or(AcquireError::NotFound)?;
        conversation.epoch = epoch;
        Ok(Acquired {
            conversation,
            members,
        })
    }

    async fn append(&self, parts: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let count = parts.len();
        let outcome = self
            .writer
            .write_guarded(move |conn, guard| append::append_all(conn, guard, &parts).map(Ok))
            .await;
        outcome.unwrap_or_else(|error| vec![Err(AppendError::Store(error)); count])
    }

    async fn release(
        &self,
        id: &ConversationId,
        epoch: Epoch,
        tail: Seq,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |conn| append::release(conn, &id, epoch, tail))
            .await
    }

    async fn by_keys(&self, id: &ConversationId, keys: &[Key16]) -> Result<Vec<Entry>, StoreError> {
        let (id, keys) = (id.clone(), keys.to_vec());
        self.read(move |conn| by_keys(conn, &id, &keys)).await
    }

    async fn entries(
        &self,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = concat!(
                "SELECT ",
                entry_columns!(),
                " FROM conversations c JOIN entries e ON e.conv = c.conv
                  WHERE c.id = ?1 AND e.seq > ?2 ORDER BY e.seq LIMIT ?3"
            );
            let key = (id.as_str(), int(after.0), row::rows(limit));
            row::all(conn, sql, key, row::entry)
        })
        .await
    }

    async fn tails(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<(ConversationId, Seq)>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |conn| {
            let mut tails = Vec::with_capacity(ids.len());
            for id in ids {
                let sql = "SELECT tail FROM conversations WHERE id = ?1";
                let tail = row::first(conn, sql, [id.as_str()], |row| row.seq(0))?;
                tails.extend(tail.map(|tail| (id, tail)));
            }
            Ok(tails)
        })
        .await
    }

    async fn messages(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        let (id, ids) = (id.clone(), ids.to_vec());
        self.read(move |conn| history::by_ids(conn, &id, &ids))
            .await
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
        let (id, visible, person) = (id.clone(), visible.to_vec(), hidden_for.clone());
        self.read(move |conn| history::page(conn, &id, &visible, &person, thread, page, limit))
            .await
    }

    async fn search(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        let (id, search) = (id.clone(), search.clone());
        self.read(move |conn| search::search(conn, &id, &search))
            .await
    }

    async fn hide_message(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.write(move |conn| history::hide(conn, &id, &user, message))
            .await
    }

    async fn pinned(&self, id: &ConversationId) -> Result<Vec<Message>, StoreError> {
        let id = id.clone();
        self.read(move |conn| history::pinned(conn, &id)).await
    }

    async fn missed(
        &self,
        person: &Person,
        after: &StreamCursor,
        limit: usize,
    ) -> Result<Missed, StoreError> {
        let store = self.place.store_id();
        let person = person.clone();
        let after = stream::parse(store, after);
        self.read(move |conn| {
            let newest = stream::newest(conn)?;
            match after {
                Some(after) if after <= newest => {
                    stream::missed(conn, store, &person, after, limit)
                }
                _ => Ok(Missed {
                    entries: Vec::new(),
                    next: stream::format(store, newest),
                    more: false,
                }),
            }
        })
        .await
    }

    async fn cursor_now(&self) -> Result<StreamCursor, StoreError> {
        let store = self.place.store_id();
        self.read(move |conn| Ok(stream::format(store, stream::newest(conn)?)))
            .await
    }

    async fn cursor_valid(&self, cursor: &StreamCursor) -> Result<bool, StoreError> {
        let Some(pos) = stream::parse(self.place.store_id(), cursor) else {
            return Ok(false);
        };
        self.read(move |conn| Ok(pos <= stream::newest(conn)?))
            .await
    }

    fn cursor_rank(&self, cursor: &StreamCursor) -> Option<u64> {
        stream::parse(self.place.store_id(), cursor)
    }

    async fn counts(&self, places: &[(ConversationId, Seq)]) -> Result<Vec<u64>, StoreError> {
        let places = places.to_vec();
        self.read(move |conn| {
            let counts = places
                .iter()
                .map(|(id, seq)| match row::conversation_row(conn, id)? {
                    Some(conv) => registers::n_at(conn, conv, *seq),
                    None => Ok(0),
                });
            counts.collect()
        })
        .await
    }

    async fn cursor_of(&self, id: &ConversationId, seq: Seq) -> Result<StreamCursor, StoreError> {
        let store = self.place.store_id();
        let id = id.clone();
        self.read(move |conn| Ok(stream::format(store, stream::position(conn, &id, seq)?)))
            .await
    }
}

fn by_keys(conn: &rusqlite::Connection, id: &ConversationId, keys: &[Key16]) -> Sql<Vec<Entry>> {
    let Some(conv) = row::conversation_row(conn, id)? else {
        return Ok(Vec::new());
    };
    let sql = concat!(
        "SELECT ",
        entry_columns!(),
        " FROM entries e WHERE e.conv = ?1 AND e.key = ?2"
    );
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        found.extend(row::first(conn, sql, (conv, &key.0[..]), row::entry)?);
    }
    Ok(found)
}
