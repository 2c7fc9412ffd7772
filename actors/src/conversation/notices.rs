//! Telling people, in their own conversations, what happened to their memberships, and that they
//! were mentioned.
//!
//! These notices are a projection of the entries: when a process dies between the two, the entry
//! stands, and the person finds it in the list of conversations or in the history.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, Entry, EntryKind, JsonText, NewConversation,
    Person, Role, Timestamp, UserId, WorkspaceId,
};

use super::{
    Command, CommandError, Gone, Outcome,
    batch::refusal_of,
    core::{Author, Core, text_of},
    handle::Shared,
    payload::{
        ConversationPayload, InvitePayload, MessagePayload, NewConversationPayload,
        NotificationKind, NotificationPayload, UpdatePayload,
    },
    wire,
};

/// How a message's payload looks where somebody is mentioned.
const MENTIONS: &str = r#""mentions":[""#;
/// Notices written at the same time.
const CONCURRENCY: usize = 64;
/// How often a notice is tried when the store or a shard is overloaded for a moment.
const ATTEMPTS: u32 = 4;
const BACK_OFF: Duration = Duration::from_millis(100);

/// Tells those whom entries of a conversation made members, or made cease to be, or mention.
pub(crate) fn of_entries(
    shared: &Arc<Shared>,
    core: &Core,
    id: &ConversationId,
    entries: &[Entry],
) {
    for entry in entries {
        match entry.kind {
            EntryKind::MemberJoined => tell_who_joined(shared, id, entry),
            EntryKind::MemberLeft => tell_who_left(shared, core, entry),
            EntryKind::Message => tell_who_is_mentioned(shared, core, id, entry),
            _ => {}
        }
    }
}

/// Says that what was read of a conversation no longer holds, and of those whom entries made
/// members, or made cease to be.
pub(crate) fn count_changes(shared: &Shared, core: &Core, id: &ConversationId, entries: &[Entry]) {
    let changes = shared.tails.changes();
    changes.in_conversation(id);
    let memberships = [EntryKind::MemberJoined, EntryKind::MemberLeft];
    for entry in entries.iter().filter(|it| memberships.contains(&it.kind)) {
        let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
            continue;
        };
        for member in update.members {
            changes.of_person(&Person {
                workspace: core.workspace().clone(),
                user: member.user_id,
            });
        }
    }
}

fn tell_who_joined(shared: &Arc<Shared>, id: &ConversationId, entry: &Entry) {
    let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
        return;
    };
    let members = update.members.into_iter().map(|member| member.user_id);
    let (members, by, at) = (members.collect(), entry.sender.clone(), entry.at);
    let (id, task_shared) = (id.clone(), Arc::clone(shared));
    shared.tasks.spawn(async move {
        match task_shared.store.conversation(&id).await {
            Ok(Some(conversation)) => joined(task_shared, conversation, members, by, at).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(conversation = %id, %error, "new members not told"),
        }
    });
}

fn tell_who_left(shared: &Arc<Shared>, core: &Core, entry: &Entry) {
    let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
        return;
    };
    if update.reason == Some(Gone::Erased) {
        // There is nobody any more to tell.
        return;
    }
    // The first is who left; one who became owner thereby hears it on the topic.
    let members = update.members.into_iter().map(|member| member.user_id);
    let left = members.take(1).collect();
    let pushed = wire::placed(&entry.payload, entry.seq, None);
    let workspace = core.workspace().clone();
    let event = "conversation:updated";
    let told = notify_all(Arc::clone(shared), workspace, left, event, pushed);
    shared.tasks.spawn(told);
}

/// `notification` for members who are mentioned. Others hear nothing, whatever a message says.
fn tell_who_is_mentioned(shared: &Arc<Shared>, core: &Core, id: &ConversationId, entry: &Entry) {
    // Most messages mention nobody, and are not read for it.
    if !entry.payload.contains(MENTIONS) {
        return;
    }
    let Ok(message) = serde_json::from_str::<MessagePayload>(&entry.payload) else {
        return;
    };
    let is_told = |user: &UserId| *user != entry.sender && core.is_member(user);
    let mentioned: BTreeSet<_> = message.mentions.into_iter().filter(is_told).collect();
    if mentioned.is_empty() {
        return;
    }
    let notification = NotificationPayload {
        kind: NotificationKind::Mention,
        conversation_id: id.clone(),
        message_id: entry.id,
        message_seq: entry.seq,
        from: entry.sender.clone(),
        created_at: entry.at,
    };
    let mentioned = mentioned.into_iter().collect();
    let workspace = core.workspace().clone();
    let payload = text_of(&notification);
    let told = notify_all(
        Arc::clone(shared),
        workspace,
        mentioned,
        "notification",
        payload,
    );
    shared.tasks.spawn(told);
}

/// `conversation:new` for people who have become members, and `conversation:invite` for those of
/// a group whom somebody else made one.
pub(crate) async fn joined(
    shared: Arc<Shared>,
    conversation: Conversation,
    members: Vec<UserId>,
    by: UserId,
    at: Timestamp,
) {
    let workspace = conversation.workspace.clone();
    let new = NewConversationPayload {
        conversation_id: conversation.id.clone(),
        conversation: ConversationPayload::from(&conversation),
    };
    let invited: Vec<_> = match conversation.kind {
        ConversationKind::Group => members
            .iter()
            .filter(|user| **user != by)
            .cloned()
            .collect(),
        ConversationKind::Direct | ConversationKind::Person => Vec::new(),
    };
    let invite = InvitePayload {
        conversation_id: new.conversation_id.clone(),
        conversation: new.conversation.clone(),
        invited_by: by,
        invited_at: at,
    };
    let told = notify_all(
        Arc::clone(&shared),
        workspace.clone(),
        members,
        "conversation:new",
        text_of(&new),
    );
    told.await;
    notify_all(
        shared,
        workspace,
        invited,
        "conversation:invite",
        text_of(&invite),
    )
    .await;
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
