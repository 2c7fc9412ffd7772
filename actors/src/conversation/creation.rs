//! Beginning a conversation, so that everybody who is in it from the beginning hears of it.
//!
//! A creation is no entry, so no projection of the log finds it. A timer stands instead until all
//! have been told: kept before the conversation is begun, and fired where the process died, or
//! never knew whether it was begun.

use std::{sync::Arc, time::Duration};

use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, Created, Fired, NewConversation, NewTimer,
    Person, Seq, TimerKind, Timestamp, UserId, timer_shard,
};
use serde::{Deserialize, Serialize};

use super::{
    CommandError, Conversations, Limits,
    batch::refusal_of,
    core::text_of,
    handle::Shared,
    notices::{self, Rounds, Telling},
};

/// So long after a creation those who have not been told are told.
const LATER_MS: i64 = 30_000;
/// A creation waits for its timer so long, and then goes on without.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is to be told of a conversation that was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Creation {
    conversation: ConversationId,
    members: Vec<UserId>,
    by: UserId,
    at: Timestamp,
}

impl Conversations {
    /// Creates a conversation, or finds the one that the pair already has. The members of a new
    /// one are told on their own topic (`conversation:new`, `conversation:invite`).
    pub async fn create(&self, new: NewConversation) -> Result<Created, CommandError> {
        let shared = &self.shared;
        check(&new, &shared.limits)?;
        let creation = Creation::of(&new);
        if let Some(existing) = existing(shared, &new).await? {
            return Ok(found(shared, existing, creation).await);
        }
        creation.keep(shared).await;
        let created = shared.store.create_conversation(new).await;
        match created.map_err(|error| refusal_of(&error))? {
            Created::Existing(existing) => Ok(found(shared, existing, creation).await),
            Created::New(conversation) => {
                creation.tell(shared, &conversation, Telling::AtOnce).await;
                Ok(Created::New(conversation))
            }
        }
    }

    /// Tells those who were not told of a creation. An error means that something is left.
    pub(crate) async fn tell_of(&self, creation: &Creation) -> Result<(), CommandError> {
        let shared = &self.shared;
        let begun = notices::conversation(shared, &creation.conversation).await?;
        let Some(conversation) = begun else {
            return Ok(());
        };
        creation.count_changes(shared, &conversation);
        let rounds = creation.rounds(&conversation);
        notices::tell(Arc::clone(shared), rounds, Telling::Late).await
    }
}

/// The conversation that a pair has already.
async fn existing(
    shared: &Shared,
    new: &NewConversation,
) -> Result<Option<Conversation>, CommandError> {
    let (ConversationKind::Direct, [(a, _), (b, _)]) = (new.kind, new.members.as_slice()) else {
        return Ok(None);
    };
    let id = shared.store.direct(&new.workspace, a, b).await;
    match id.map_err(|error| refusal_of(&error))? {
        Some(id) => notices::conversation(shared, &id).await,
        None => Ok(None),
    }
}

/// A conversation of two that was begun only just now may be one of which nobody knew whether it
/// was: those who have not been told of it are told.
async fn found(shared: &Arc<Shared>, existing: Conversation, creation: Creation) -> Created {
    let age = shared.clock.now().since_ms(existing.created_at);
    if age < LATER_MS.unsigned_abs() {
        let creation = Creation {
            conversation: existing.id.clone(),
            by: existing.created_by.clone(),
            at: existing.created_at,
            ..creation
        };
        creation.tell(shared, &existing, Telling::Late).await;
    }
    Created::Existing(existing)
}

impl Creation {
    fn of(new: &NewConversation) -> Self {
        Self {
            conversation: new.id.clone(),
            members: new.members.iter().map(|(user, _)| user.clone()).collect(),
            by: new.created_by.clone(),
            at: new.created_at,
        }
    }

    /// Keeps it until everybody has been told. Where that cannot be kept a conversation is begun
    /// all the same: its members are told at once, or find it when they come again.
    async fn keep(&self, shared: &Shared) {
        let timer = NewTimer {
            kind: TimerKind::Announce,
            id: self.conversation.to_string(),
            group: self.conversation.to_string(),
            shard: timer_shard(&self.conversation),
            due_at: Timestamp(shared.clock.now().0.saturating_add(LATER_MS)),
            payload: text_of(self),
        };
        let kept = tokio::time::timeout(PATIENCE, shared.store.put_timer(timer)).await;
        let error = match kept {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "took too long".to_owned(),
        };
        tracing::warn!(conversation = %self.conversation, error, "whom to tell of a conversation is not kept");
    }

    /// Tells everybody, in a task of its own, so that they are told even if the caller goes away.
    async fn tell(self, shared: &Arc<Shared>, conversation: &Conversation, telling: Telling) {
        self.count_changes(shared, conversation);
        let rounds = self.rounds(conversation);
        let (shared, id) = (Arc::clone(shared), conversation.id.clone());
        let told = shared.tasks.clone().spawn(async move {
            if notices::tell(Arc::clone(&shared), rounds, telling)
                .await
                .is_ok()
            {
                done(&shared, &id).await;
            }
        });
        let _ = told.await;
    }

    fn rounds(&self, conversation: &Conversation) -> Rounds {
        notices::of_members(conversation, Seq(0), &self.members, (&self.by, self.at))
    }

    fn count_changes(&self, shared: &Shared, conversation: &Conversation) {
        for user in &self.members {
            shared.tails.changes().of_person(&Person {
                workspace: conversation.workspace.clone(),
                user: user.clone(),
            });
        }
    }
}

/// Everybody has been told. A timer that has fired meanwhile finds that out by itself.
async fn done(shared: &Shared, id: &ConversationId) {
    let timer = Fired {
        kind: TimerKind::Announce,
        id: id.to_string(),
        version: 1,
    };
    if let Err(error) = shared.store.delete_timer(&timer).await {
        tracing::warn!(conversation = %id, %error, "a timer will fire in vain");
    }
}

fn check(new: &NewConversation, limits: &Limits) -> Result<(), CommandError> {
    let invalid = |field, detail: String| CommandError::InvalidField { field, detail };
    let is_listed_twice = |(index, (user, _)): (usize, &(_, _))| {
        new.members[..index].iter().any(|(other, _)| other == user)
    };
    if new.members.iter().enumerate().any(is_listed_twice) {
        return Err(invalid("members", "each at most once".to_owned()));
    }
    match new.kind {
        ConversationKind::Person => return Err(CommandError::Forbidden),
        ConversationKind::Direct if new.members.len() != 2 => {
            return Err(invalid(
                "members",
                "a direct conversation has two".to_owned(),
            ));
        }
        ConversationKind::Direct | ConversationKind::Group => {}
    }
    if new.members.len() > limits.members {
        return Err(invalid("members", format!("at most {}", limits.members)));
    }
    let most = limits.name_bytes;
    if new.name.as_ref().is_some_and(|name| name.len() > most) {
        return Err(invalid("name", format!("at most {most} bytes")));
    }
    Ok(())
}
