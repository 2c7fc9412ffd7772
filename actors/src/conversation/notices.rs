//! Telling people, in their own conversations, what happened to their memberships.
//!
//! These notices are a projection of the membership entries: when a process dies between the two,
//! the membership stands, and the person finds it in the list of conversations.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, Entry, EntryKind, JsonText, NewConversation,
    Person, Role, UserId, WorkspaceId,
};

use super::{
    Command, CommandError, Outcome,
    batch::refusal_of,
    core::{Author, Core},
    handle::Shared,
    payload::{ConversationPayload, NewConversationPayload, UpdatePayload},
    wire,
};

/// Notices written at the same time.
const CONCURRENCY: usize = 64;
/// How often a notice is tried when the store or a shard is overloaded for a moment.
const ATTEMPTS: u32 = 4;
const BACK_OFF: Duration = Duration::from_millis(100);

/// Tells those whom entries of a conversation made members, or made cease to be.
pub(crate) fn of_entries(
    shared: &Arc<Shared>,
    core: &Core,
    id: &ConversationId,
    entries: &[Entry],
) {
    for entry in entries {
        let is_about_members =
            matches!(entry.kind, EntryKind::MemberJoined | EntryKind::MemberLeft);
        if !is_about_members {
            continue;
        }
        let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
            continue;
        };
        let members = update.members.into_iter().map(|member| member.user_id);
        let task_shared = Arc::clone(shared);
        if entry.kind == EntryKind::MemberJoined {
            let (id, members) = (id.clone(), members.collect());
            shared.tasks.spawn(joined_by_id(task_shared, id, members));
        } else {
            // The first is who left; one who became owner thereby hears it on the topic.
            let workspace = core.workspace().clone();
            let pushed = wire::placed(&entry.payload, entry.seq, None);
            let left = members.take(1).collect();
            let event = "conversation:updated";
            let told = notify_all(task_shared, workspace, left, event, pushed);
            shared.tasks.spawn(told);
        }
    }
}

/// `conversation:new` for people who have become members.
pub(crate) async fn joined(shared: Arc<Shared>, conversation: Conversation, members: Vec<UserId>) {
    let workspace = conversation.workspace.clone();
    let payload = NewConversationPayload {
        conversation_id: conversation.id.clone(),
        conversation: ConversationPayload::from(&conversation),
    };
    let Ok(payload) = serde_json::to_string(&payload) else {
        return;
    };
    notify_all(
        shared,
        workspace,
        members,
        "conversation:new",
        payload.into(),
    )
    .await;
}

async fn joined_by_id(shared: Arc<Shared>, id: ConversationId, members: Vec<UserId>) {
    match shared.store.conversation(&id).await {
        Ok(Some(conversation)) => joined(shared, conversation, members).await,
        Ok(None) => {}
        Err(error) => tracing::warn!(conversation = %id, %error, "new members not told"),
    }
}

async fn notify_all(
    shared: Arc<Shared>,
    workspace: WorkspaceId,
    members: Vec<UserId>,
    event: &'static str,
    payload: JsonText,
) {
    let tell = |user: UserId| {
        let person = Person {
            workspace: workspace.clone(),
            user,
        };
        let (shared, payload) = (Arc::clone(&shared), payload.clone());
        async move {
            if let Err(error) = notify(&shared, &person, event, payload).await {
                tracing::warn!(user = %person.user, event, %error, "notice not written");
            }
        }
    };
    stream::iter(members)
        .for_each_concurrent(CONCURRENCY, tell)
        .await;
}

/// Writes a notice, making the person's conversation where there is none.
pub(crate) async fn notify(
    shared: &Shared,
    person: &Person,
    event: &str,
    payload: JsonText,
) -> Result<Outcome, CommandError> {
    let id = person.own_conversation();
    let mut attempt = 1;
    loop {
        let command = Command::Notice {
            event: event.to_owned(),
            payload: payload.clone(),
        };
        match shared.submit(Author::Server, &id, command).await {
            Err(CommandError::ConversationNotFound) if attempt < ATTEMPTS => {
                create_own(shared, person).await?;
            }
            Err(CommandError::Overloaded | CommandError::Moved { .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(BACK_OFF * attempt).await;
            }
            answer => return answer,
        }
        attempt += 1;
    }
}

async fn create_own(shared: &Shared, person: &Person) -> Result<(), CommandError> {
    let new = NewConversation {
        id: person.own_conversation(),
        workspace: person.workspace.clone(),
        kind: ConversationKind::Person,
        name: None,
        created_by: person.user.clone(),
        created_at: shared.clock.now(),
        members: vec![(person.user.clone(), Role::Owner)],
    };
    let created = shared.store.create_conversation(new).await;
    created.map(drop).map_err(|error| refusal_of(&error))
}
