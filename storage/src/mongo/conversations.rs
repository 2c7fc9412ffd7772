//! Conversations, who is in them, and a person's list of them.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use mongodb::bson::{Bson, Document, doc};

use super::{
    MongoLog,
    doc::{self, Fields, limit as at_most},
    schema::{CONVERSATIONS, MEMBERS, PAIRS},
};
use crate::{
    Conversation, ConversationId, ConversationKind, ConversationStore, ConversationSummary,
    Created, Member, NewConversation, Page, Person, Role, StoreError, Timestamp, UserId,
    WorkspaceId, numbered::Numbered,
};

#[async_trait]
impl ConversationStore for MongoLog {
    async fn create_conversation(&self, mut new: NewConversation) -> Result<Created, StoreError> {
        let pair = pair_of(&new)?;
        if let Some(existing) = self.find_conversation(&new.id).await? {
            return self.existing(&existing).await;
        }
        if let Some(pair) = pair {
            // Whoever holds the pair names the conversation; if they did not come to make it, it
            // is made under that name now.
            new.id = self.hold_pair(&pair, &new.id).await?;
            step!(self, Held);
        }
        let document = conversation_document(&new);
        let conversations = self.db.collection(CONVERSATIONS);
        let inserted = self
            .db
            .insert_new(conversations.insert_one(&document).into_future())
            .await?;
        if inserted {
            step!(self, Made);
            self.complete(&document).await?;
            return doc::conversation(&document).map(Created::New);
        }
        let existing = self.find_conversation(&new.id).await?;
        let existing =
            existing.ok_or_else(|| StoreError::Corrupt(format!("{} is gone at once", new.id)))?;
        self.existing(&existing).await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, StoreError> {
        let found = self.find_conversation(id).await?;
        found.as_ref().map(doc::conversation).transpose()
    }

    async fn direct(
        &self,
        workspace: &WorkspaceId,
        a: &UserId,
        b: &UserId,
    ) -> Result<Option<ConversationId>, StoreError> {
        let pairs = self.db.collection(PAIRS);
        let pair = doc! { "_id": pair_key(workspace, a, b) };
        let found = self.db.read(pairs.find_one(pair).into_future()).await?;
        let Some(found) = found else { return Ok(None) };
        // A pair is held before its conversation is made.
        let id = found.conversation("conv")?;
        Ok(self.find_conversation(&id).await?.map(|_| id))
    }

    async fn members(
        &self,
        id: &ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        let members = self.db.collection(MEMBERS);
        // An id is never empty, so every id is above the empty text.
        let open = doc! {
            "conv": id.as_str(),
            "to": Bson::Null,
            "user": { "$gt": after.map_or("", UserId::as_str) },
        };
        let found = members
            .find(open)
            .sort(doc! { "user": 1 })
            .limit(at_most(limit));
        self.db.all(found).await?.iter().map(doc::member).collect()
    }

    async fn membership(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<Member>, StoreError> {
        let members = self.db.collection(MEMBERS);
        let of = doc! { "conv": id.as_str(), "user": user.as_str() };
        let found = members.find(of).sort(doc! { "from": 1 });
        self.db.all(found).await?.iter().map(doc::member).collect()
    }

    async fn conversations_of(
        &self,
        person: &Person,
    ) -> Result<Vec<(ConversationId, Role)>, StoreError> {
        Ok(self.roles(person).await?.into_iter().collect())
    }

    async fn list_conversations(
        &self,
        person: &Person,
        below: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        let roles = self.roles(person).await?;
        let ids: Vec<&str> = roles.keys().map(ConversationId::as_str).collect();
        let mut filter = doc! { "_id": { "$in": ids } };
        if let Some((at, id)) = below {
            let earlier = doc! { "active_at": { "$lt": at.0 } };
            let same = doc! { "active_at": at.0, "_id": { "$lt": id.as_str() } };
            filter.insert("$or", vec![earlier, same]);
        }
        let conversations = self.db.collection(CONVERSATIONS);
        let found = conversations
            .find(filter)
            .sort(doc! { "active_at": -1, "_id": -1 })
            .limit(at_most(limit));
        let found = self.db.all(found).await?;
        let summaries = found.iter().filter_map(|conversation| {
            let role = roles.get(&conversation.conversation("_id").ok()?)?;
            Some(self.summarize(person, conversation, *role))
        });
        try_join_all(summaries).await
    }

    async fn summary(
        &self,
        person: &Person,
        id: &ConversationId,
    ) -> Result<Option<ConversationSummary>, StoreError> {
        let Some(found) = self.find_conversation(id).await? else {
            return Ok(None);
        };
        if found.text("workspace")? != person.workspace.as_str() {
            return Ok(None);
        }
        let intervals = self.membership(id, &person.user).await?;
        let open = intervals.iter().find(|member| member.to_seq.is_none());
        match open {
            Some(open) => self.summarize(person, &found, open.role).await.map(Some),
            None => Ok(None),
        }
    }
}

impl MongoLog {
    /// A conversation's document.
    pub(super) async fn find_conversation(
        &self,
        id: &ConversationId,
    ) -> Result<Option<Document>, StoreError> {
        let conversations = self.db.collection(CONVERSATIONS);
        let found = conversations.find_one(doc! { "_id": id.as_str() });
        self.db.read(found.into_future()).await
    }

    /// Makes the first members of a conversation, which stand in its document until that is done.
    pub(super) async fn complete(&self, conversation: &Document) -> Result<(), StoreError> {
        let first = conversation.list("first_members");
        if first.is_empty() {
            return Ok(());
        }
        let id = conversation.text("_id")?;
        let members = self.db.collection(MEMBERS);
        for member in first {
            let interval = doc! {
                "conv": id,
                "user": member.text("user")?,
                "from": 1_i64,
                "to": Bson::Null,
                "role": member.integer("role")?,
                "workspace": conversation.text("workspace")?,
                "applied": 0_i64,
            };
            self.db
                .insert_new(members.insert_one(interval).into_future())
                .await?;
        }
        let done = doc! { "$unset": { "first_members": "" } };
        self.update(CONVERSATIONS, doc! { "_id": id }, done)
            .await
            .map(drop)
    }

    async fn existing(&self, found: &Document) -> Result<Created, StoreError> {
        self.complete(found).await?;
        doc::conversation(found).map(Created::Existing)
    }

    /// Which conversation a pair has; from now on the named one, if it had none.
    async fn hold_pair(
        &self,
        pair: &str,
        id: &ConversationId,
    ) -> Result<ConversationId, StoreError> {
        let pairs = self.db.collection(PAIRS);
        let held = doc! { "_id": pair, "conv": id.as_str() };
        if self
            .db
            .insert_new(pairs.insert_one(held).into_future())
            .await?
        {
            return Ok(id.clone());
        }
        let found = pairs.find_one(doc! { "_id": pair });
        let found = self.db.read(found.into_future()).await?;
        match found {
            Some(found) => found.conversation("conv"),
            None => Err(StoreError::Corrupt("a pair is gone at once".to_owned())),
        }
    }

    /// The conversations in which a person is a member now, without their own.
    async fn roles(&self, person: &Person) -> Result<HashMap<ConversationId, Role>, StoreError> {
        let members = self.db.collection(MEMBERS);
        let open = members.find(doc! {
            "workspace": person.workspace.as_str(),
            "user": person.user.as_str(),
            "to": Bson::Null,
        });
        let own = person.own_conversation();
        let mut roles = HashMap::new();
        for interval in self.db.all(open).await? {
            let id = interval.conversation("conv")?;
            if id != own {
                roles.insert(id, interval.one_of("role")?);
            }
        }
        Ok(roles)
    }

    /// Unread is left at 0: marks are in another store, and who composes the two counts.
    async fn summarize(
        &self,
        person: &Person,
        found: &Document,
        role: Role,
    ) -> Result<ConversationSummary, StoreError> {
        let conversation = doc::conversation(found)?;
        let visible = self.membership(&conversation.id, &person.user).await?;
        let newest = self
            .history_page(&conversation, &visible, &person.user, None, Page::Latest, 1)
            .await?;
        Ok(ConversationSummary {
            active_at: Timestamp(found.integer("active_at")?),
            conversation,
            role,
            unread: 0,
            last_message: newest.into_iter().next(),
        })
    }
}

/// The key of the two members of a direct conversation.
fn pair_of(new: &NewConversation) -> Result<Option<String>, StoreError> {
    match (new.kind, new.members.as_slice()) {
        (ConversationKind::Direct, [(a, _), (b, _)]) if a != b => {
            Ok(Some(pair_key(&new.workspace, a, b)))
        }
        (ConversationKind::Direct, _) => Err(StoreError::Invalid(
            "a direct conversation has two members".to_owned(),
        )),
        _ => Ok(None),
    }
}

/// Ids hold no control characters.
fn pair_key(workspace: &WorkspaceId, a: &UserId, b: &UserId) -> String {
    let (a, b) = if a < b { (a, b) } else { (b, a) };
    format!("{workspace}\u{1f}{a}\u{1f}{b}")
}

fn conversation_document(new: &NewConversation) -> Document {
    let members = new.members.iter();
    let members: Vec<Document> = members
        .map(|(user, role)| doc! { "user": user.as_str(), "role": role.number() })
        .collect();
    doc! {
        "_id": new.id.as_str(),
        "workspace": new.workspace.as_str(),
        "kind": new.kind.number(),
        "name": new.name.as_deref(),
        "name_seq": 0_i64,
        "created_by": new.created_by.as_str(),
        "created_at": new.created_at.0,
        "active_at": new.created_at.0,
        "tail": 0_i64,
        "n": 0_i64,
        "epoch": 0_i64,
        "taken_at": 0_i64,
        "hot": false,
        "first_members": members,
    }
}
