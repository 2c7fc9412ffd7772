//! Conversations, who is in them, and a person's list of them.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    EmbeddedStore,
    fault::{Fault, Sql},
    history, registers,
    row::{self, Columns, Numbered, conversation_columns},
};
use crate::{
    Conversation, ConversationId, ConversationKind, ConversationStore, ConversationSummary,
    Created, Member, NewConversation, Person, Role, StoreError, Timestamp, UserId, WorkspaceId,
};

#[async_trait]
impl ConversationStore for EmbeddedStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Created, StoreError> {
        self.write(move |conn| create(conn, &new)).await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError> {
        let id = id.clone();
        self.read(move |conn| conversation(conn, &id)).await
    }

    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError> {
        let (workspace, a, b) = (workspace.clone(), a.clone(), b.clone());
        self.read(move |conn| {
            let found = direct(conn, &workspace, &a, &b)?;
            Ok(found.map(|conversation| conversation.id))
        })
        .await
    }

    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let (id, after) = (id.clone(), after.cloned());
        self.read(move |conn| members(conn, &id, after.as_ref(), limit))
            .await
    }

    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError> {
        let (id, user) = (id.clone(), user.clone());
        self.read(move |conn| match row::conversation_row(conn, &id)? {
            Some(conv) => intervals(conn, conv, &user),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let sql = "SELECT c.id, m.role
                       FROM members m JOIN conversations c ON c.conv = m.conv
                       WHERE m.workspace = ?1 AND m.user = ?2 AND m.to_seq IS NULL
                         AND c.kind <> ?3";
            let key = (
                person.workspace.as_str(),
                person.user.as_str(),
                ConversationKind::Person.number(),
            );
            row::all(conn, sql, key, |row| {
                Ok((ConversationId::from_stored(row.text(0)?), row.one_of(1)?))
            })
        })
        .await
    }

    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        let person = person.clone();
        self.read(move |conn| list(conn, &person, below.as_ref(), limit))
            .await
    }

    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError> {
        let (person, id) = (person.clone(), id.clone());
        self.read(move |conn| summary(conn, &person, &id)).await
    }
}

fn create(conn: &Connection, new: &NewConversation) -> Sql<Created> {
    let pair = pair_of(new)?;
    if let Some(existing) = conversation(conn, &new.id)? {
        return Ok(Created::Existing(existing));
    }
    if let Some((a, b)) = pair
        && let Some(existing) = direct(conn, &new.workspace, a, b)?
    {
        return Ok(Created::Existing(existing));
    }
    let conv = insert(conn, new)?;
    for (user, role) in &new.members {
        insert_member(conn, conv, new, user, *role)?;
    }
    if let Some((a, b)) = pair {
        insert_pair(conn, conv, new, ordered(a, b))?;
    }
    conversation(conn, &new.id)?
        .map(Created::New)
        .ok_or_else(|| Fault::Corrupt(format!("{} is gone at once", new.id)))
}

/// The two members of a direct conversation.
fn pair_of(new: &NewConversation) -> Sql<Option<(&UserId, &UserId)>> {
    match (new.kind, new.members.as_slice()) {
        (ConversationKind::Direct, [(a, _), (b, _)]) if a != b => Ok(Some((a, b))),
        (ConversationKind::Direct, _) => Err(Fault::Invalid(
            "a direct conversation has two members".to_owned(),
        )),
        _ => Ok(None),
    }
}

fn ordered<'a>(a: &'a UserId, b: &'a UserId) -> (&'a str, &'a str) {
    let (a, b) = (a.as_str(), b.as_str());
    if a < b { (a, b) } else { (b, a) }
}

fn insert(conn: &Connection, new: &NewConversation) -> Sql<i64> {
    row::run(
        conn,
        "INSERT INTO conversations (id, workspace, kind, name, created_by, created_at, active_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
        params![
            new.id.as_str(),
            new.workspace.as_str(),
            new.kind.number(),
            new.name,
            new.created_by.as_str(),
            new.created_at.0,
        ],
    )?;
    Ok(conn.last_insert_rowid())
}

fn insert_member(
    conn: &Connection,
    conv: i64,
    new: &NewConversation,
    user: &UserId,
    role: Role,
) -> Sql<()> {
    row::run(
        conn,
        "INSERT INTO members (conv, user, from_seq, role, workspace) VALUES (?1, ?2, 1, ?3, ?4)",
        (conv, user.as_str(), role.number(), new.workspace.as_str()),
    )?;
    Ok(())
}

fn insert_pair(
    conn: &Connection,
    conv: i64,
    new: &NewConversation,
    (a, b): (&str, &str),
) -> Sql<()> {
    let sql = "INSERT INTO direct_pairs (workspace, a, b, conv) VALUES (?1, ?2, ?3, ?4)";
    row::run(conn, sql, (new.workspace.as_str(), a, b, conv))?;
    Ok(())
}

/// One conversation.
pub(super) fn conversation(conn: &Connection, id: &ConversationId) -> Sql<Option<Conversation>> {
    let sql = concat!(
        "SELECT ",
        conversation_columns!(),
        " FROM conversations c WHERE c.id = ?1"
    );
    row::first(conn, sql, [id.as_str()], row::conversation)
}

fn direct(
    conn: &Connection,
    workspace: &WorkspaceId,
    a: &UserId,
    b: &UserId,
) -> Sql<Option<Conversation>> {
    let (a, b) = ordered(a, b);
    let sql = concat!(
        "SELECT ",
        conversation_columns!(),
        " FROM direct_pairs p JOIN conversations c ON c.conv = p.conv
          WHERE p.workspace = ?1 AND p.a = ?2 AND p.b = ?3"
    );
    row::first(conn, sql, (workspace.as_str(), a, b), row::conversation)
}

/// Open memberships by user id, above `after`.
pub(super) fn members(
    conn: &Connection,
    id: &ConversationId,
    after: Option<&UserId>,
    limit: usize,
) -> Sql<Vec<Member>> {
    let sql = "SELECT m.user, m.from_seq, m.to_seq, m.role
               FROM conversations c JOIN members m ON m.conv = c.conv AND m.to_seq IS NULL
               WHERE c.id = ?1 AND m.user > ?2 ORDER BY m.user LIMIT ?3";
    // An id is never empty, so every id is above the empty text.
    let after = after.map_or("", UserId::as_str);
    let key = (id.as_str(), after, row::rows(limit));
    row::all(conn, sql, key, row::member)
}

fn intervals(conn: &Connection, conv: i64, user: &UserId) -> Sql<Vec<Member>> {
    let sql = "SELECT user, from_seq, to_seq, role FROM members
               WHERE conv = ?1 AND user = ?2 ORDER BY from_seq";
    row::all(conn, sql, (conv, user.as_str()), row::member)
}

/// A conversation as a person's list has it, before the parts that cost queries of their own.
struct Item {
    conversation: Conversation,
    conv: i64,
    active_at: Timestamp,
    role: Role,
}

macro_rules! item_query {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            conversation_columns!(),
            ", c.conv, c.active_at, m.role
              FROM members m JOIN conversations c ON c.conv = m.conv
              WHERE m.workspace = ?1 AND m.user = ?2 AND m.to_seq IS NULL AND ",
            $condition
        )
    };
}

fn item(row: &Row<'_>) -> Sql<Item> {
    Ok(Item {
        conversation: row::conversation(row)?,
        conv: row.get(9)?,
        active_at: Timestamp(row.get(10)?),
        role: row.one_of(11)?,
    })
}

/// Sorts a person's memberships by activity: an index that did so would cost a write per member
/// and message.
fn list(
    conn: &Connection,
    person: &Person,
    below: Option<&(Timestamp, ConversationId)>,
    limit: usize,
) -> Sql<Vec<ConversationSummary>> {
    let sql = item_query!(
        "c.kind <> ?3 AND (?4 IS NULL OR (c.active_at, c.id) < (?4, ?5))
         ORDER BY c.active_at DESC, c.id DESC LIMIT ?6"
    );
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        ConversationKind::Person.number(),
        below.map(|(at, _)| at.0),
        below.map(|(_, id)| id.as_str()),
        row::rows(limit),
    );
    let items = row::all(conn, sql, key, item)?;
    let summaries = items.into_iter();
    summaries.map(|item| complete(conn, person, item)).collect()
}

fn summary(
    conn: &Connection,
    person: &Person,
    id: &ConversationId,
) -> Sql<Option<ConversationSummary>> {
    let sql = item_query!("c.id = ?3");
    let key = (person.workspace.as_str(), person.user.as_str(), id.as_str());
    let found = row::first(conn, sql, key, item)?;
    found.map(|item| complete(conn, person, item)).transpose()
}

fn complete(conn: &Connection, person: &Person, item: Item) -> Sql<ConversationSummary> {
    let visible = intervals(conn, item.conv, &person.user)?;
    Ok(ConversationSummary {
        unread: registers::unread(conn, item.conv, item.conversation.n, &person.user)?,
        last_message: history::newest(conn, item.conv, &visible, &person.user)?,
        conversation: item.conversation,
        role: item.role,
        active_at: item.active_at,
    })
}
