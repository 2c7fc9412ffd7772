//! Conversations, who is in them, and a person's list of them.

use async_trait::async_trait;
use mysql_async::Row;

use super::{
    MySqlStore,
    fault::{Fault, Sql},
    head, history,
    pool::{Db, run, transact},
    registers,
    row::{self, CONVERSATION, Columns, Numbered, p},
};
use crate::{
    Conversation, ConversationId, ConversationKind, ConversationStore, ConversationSummary,
    Created, Member, NewConversation, Person, Role, StoreError, Timestamp, UserId, WorkspaceId,
};

#[async_trait]
impl ConversationStore for MySqlStore {
    async fn create_conversation(&self, new: NewConversation) -> Result<Created, StoreError> {
        let created = transact!(self.pool, |db| create(db, &new).await);
        match created.await {
            // Somebody else has made the pair, or the id, meanwhile.
            Err(StoreError::Invalid(_)) if pair_of(&new).is_ok() => {
                transact!(self.pool, |db| create(db, &new).await).await
            }
            other => other,
        }
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError> {
        run!(self.pool, |db| conversation(db, id).await).await
    }

    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError> {
        let found = run!(self.pool, |db| direct(db, workspace, a, b).await).await?;
        Ok(found.map(|conversation| conversation.id))
    }

    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        run!(self.pool, |db| members(db, id, after, limit).await).await
    }

    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError> {
        run!(self.pool, |db| match head::conv(db, id).await? {
            Some(conv) => intervals(db, conv, user).await,
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        let sql = "SELECT c.id, m.role FROM members m JOIN conversations c ON c.conv = m.conv
                   WHERE m.workspace = ? AND m.user = ? AND m.to_seq IS NULL AND c.kind <> ?";
        let key = (
            person.workspace.as_str(),
            person.user.as_str(),
            ConversationKind::Person.number(),
        );
        run!(self.pool, |db| {
            db.all(sql, key, |row| {
                Ok((row.conversation_id(0)?, row.one_of(1)?))
            })
            .await
        })
        .await
    }

    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        run!(self.pool, |db| list(db, person, below.as_ref(), limit)
            .await)
        .await
    }

    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError> {
        run!(self.pool, |db| summary(db, person, id).await).await
    }
}

async fn create(db: &mut Db<'_>, new: &NewConversation) -> Sql<Created> {
    let pair = pair_of(new)?;
    if let Some(existing) = conversation(db, &new.id).await? {
        return Ok(Created::Existing(existing));
    }
    if let Some((a, b)) = pair
        && let Some(existing) = direct(db, &new.workspace, a, b).await?
    {
        return Ok(Created::Existing(existing));
    }
    let conv = insert(db, new).await?;
    insert_members(db, conv, new).await?;
    if let Some((a, b)) = pair {
        let (a, b) = ordered(a, b);
        let sql = "INSERT INTO direct_pairs (workspace, a, b, conv) VALUES (?, ?, ?, ?)";
        db.run(sql, (new.workspace.as_str(), a, b, conv)).await?;
    }
    let made = conversation(db, &new.id).await?;
    made.map(Created::New)
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

/// A row that was made for registers alone becomes that of a conversation.
async fn insert(db: &mut Db<'_>, new: &NewConversation) -> Sql<i64> {
    let record = vec![
        p(new.workspace.as_str()),
        p(new.kind.number()),
        p(new.name.as_deref()),
        p(new.created_by.as_str()),
        p(new.created_at.0),
        p(new.created_at.0),
        p(new.id.as_str()),
    ];
    let sql = "UPDATE conversations
               SET workspace = ?, kind = ?, name = ?, created_by = ?, created_at = ?, active_at = ?
               WHERE id = ? AND kind = 0";
    if let Some(conv) = head::any_conv(db, &new.id).await? {
        db.run(sql, record).await?;
        return Ok(conv);
    }
    let sql = "INSERT INTO conversations
                   (workspace, kind, name, created_by, created_at, active_at, id)
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    db.run(sql, record).await?;
    db.made().map(row::int)
}

async fn insert_members(db: &mut Db<'_>, conv: i64, new: &NewConversation) -> Sql<()> {
    for some in new.members.chunks(500) {
        let sql = format!(
            "INSERT INTO members (conv, user, from_seq, role, workspace) VALUES {}",
            row::groups(some.len(), 5)
        );
        let mut params = Vec::with_capacity(some.len() * 5);
        for (user, role) in some {
            params.extend([
                p(conv),
                p(user.as_str()),
                p(1),
                p(role.number()),
                p(new.workspace.as_str()),
            ]);
        }
        db.run(&sql, params).await?;
    }
    Ok(())
}

/// One conversation.
pub(super) async fn conversation(
    db: &mut Db<'_>,
    id: &ConversationId,
) -> Sql<Option<Conversation>> {
    let sql = format!("SELECT {CONVERSATION} FROM conversations c WHERE c.id = ? AND c.kind <> 0");
    db.first(&sql, (id.as_str(),), row::conversation).await
}

async fn direct(
    db: &mut Db<'_>,
    workspace: &WorkspaceId,
    a: &UserId,
    b: &UserId,
) -> Sql<Option<Conversation>> {
    let (a, b) = ordered(a, b);
    let sql = format!(
        "SELECT {CONVERSATION} FROM direct_pairs p JOIN conversations c ON c.conv = p.conv
         WHERE p.workspace = ? AND p.a = ? AND p.b = ?"
    );
    db.first(&sql, (workspace.as_str(), a, b), row::conversation)
        .await
}

/// Open memberships by user id, above `after`.
pub(super) async fn members(
    db: &mut Db<'_>,
    id: &ConversationId,
    after: Option<&UserId>,
    limit: usize,
) -> Sql<Vec<Member>> {
    let sql = "SELECT m.user, m.from_seq, m.to_seq, m.role
               FROM conversations c JOIN members m ON m.conv = c.conv
               WHERE c.id = ? AND m.to_seq IS NULL AND m.user > ? ORDER BY m.user LIMIT ?";
    // An id is never empty, so every id is above the empty text.
    let after = after.map_or("", UserId::as_str);
    db.all(sql, (id.as_str(), after, row::rows(limit)), row::member)
        .await
}

/// Every interval of one person's membership, oldest first.
pub(super) async fn intervals(db: &mut Db<'_>, conv: i64, user: &UserId) -> Sql<Vec<Member>> {
    let sql = "SELECT user, from_seq, to_seq, role FROM members
               WHERE conv = ? AND user = ? ORDER BY from_seq";
    db.all(sql, (conv, user.as_str()), row::member).await
}

/// A conversation as a person's list has it, before the parts that cost queries of their own.
struct Item {
    conversation: Conversation,
    conv: i64,
    active_at: Timestamp,
    role: Role,
}

fn item(row: &mut Row) -> Sql<Item> {
    Ok(Item {
        conversation: row::conversation(row)?,
        conv: row.value(9)?,
        active_at: row.at(10)?,
        role: row.one_of(11)?,
    })
}

fn items(condition: &str) -> String {
    format!(
        "SELECT {CONVERSATION}, c.conv, c.active_at, m.role
         FROM members m JOIN conversations c ON c.conv = m.conv
         WHERE m.workspace = ? AND m.user = ? AND m.to_seq IS NULL AND {condition}"
    )
}

async fn list(
    db: &mut Db<'_>,
    person: &Person,
    below: Option<&(Timestamp, ConversationId)>,
    limit: usize,
) -> Sql<Vec<ConversationSummary>> {
    let (at, id) = match below {
        Some((at, id)) => (at.0, id.as_str()),
        None => (i64::MAX, ""),
    };
    let sql = items(
        "c.kind <> ? AND (c.active_at < ? OR (c.active_at = ? AND c.id < ?))
         ORDER BY c.active_at DESC, c.id DESC LIMIT ?",
    );
    let key = (
        person.workspace.as_str(),
        person.user.as_str(),
        ConversationKind::Person.number(),
        at,
        at,
        id,
        row::rows(limit),
    );
    let items = db.all(&sql, key, item).await?;
    let mut summaries = Vec::with_capacity(items.len());
    for item in items {
        summaries.push(complete(db, person, item).await?);
    }
    Ok(summaries)
}

async fn summary(
    db: &mut Db<'_>,
    person: &Person,
    id: &ConversationId,
) -> Sql<Option<ConversationSummary>> {
    let key = (person.workspace.as_str(), person.user.as_str(), id.as_str());
    match db.first(&items("c.id = ?"), key, item).await? {
        Some(item) => complete(db, person, item).await.map(Some),
        None => Ok(None),
    }
}

async fn complete(db: &mut Db<'_>, person: &Person, item: Item) -> Sql<ConversationSummary> {
    let visible = intervals(db, item.conv, &person.user).await?;
    Ok(ConversationSummary {
        unread: registers::unread(db, item.conv, item.conversation.n, &person.user).await?,
        last_message: history::newest(db, item.conv, &visible, &person.user).await?,
        conversation: item.conversation,
        role: item.role,
        active_at: item.active_at,
    })
}
