//! Telling people, in their own conversations, what happened to their memberships, and that they
//! were mentioned.
//!
//! Notices follow from the log. They are written as soon as their entry is, and once more by a
//! projection, whose cursor moves only once they stand: a process that dies between the two, or
//! does not know whether the entry was written, loses none. Each has a key that is made of the
//! entry's place, the person and the event, so that it is written once, however often it is tried.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use memchr::memmem::Finder;
use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, Entry, EntryKind, JsonText, Key16, Member,
    NewConversation, Person, Role, Seq, StoreError, Timestamp, UserId, WorkspaceId,
};

use super::{
    Command, CommandError, Gone, Outcome,
    batch::refusal_of,
    core::{Author, Core, text_of},
    handle::Shared,
    key,
    payload::{
        ConversationPayload, InvitePayload, MessagePayload, NewConversationPayload,
        NotificationKind, NotificationPayload, UpdatePayload,
    },
    wire,
};

/// How a message's payload looks where somebody is mentioned.
static MENTIONS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""mentions":[""#));
/// Notices written at the same time.
const CONCURRENCY: usize = 64;
/// How often a notice is tried when the store or a shard fails it for a moment.
const ATTEMPTS: u32 = 4;
const BACK_OFF: Duration = Duration::from_millis(100);

/// One thing to tell one person.
#[derive(Debug)]
pub(crate) struct Notice {
    person: Person,
    /// Of which conversation.
    about: ConversationId,
    event: &'static str,
    payload: JsonText,
    key: Key16,
    holds: Holds,
}

/// What a notice says, whomever it is for.
#[derive(Clone, Copy)]
struct Told<'a> {
    workspace: &'a WorkspaceId,
    about: &'a ConversationId,
    seq: Seq,
    event: &'static str,
    payload: &'a JsonText,
    holds: Holds,
}

/// Whether something is still to be told when it is told late.
#[derive(Debug, Clone, Copy)]
enum Holds {
    /// Whoever became a member hears of it even if they have left since: their stream shows what
    /// was said until then. Only of a person who was erased nothing is left to tell.
    Joined,
    /// Not to those who have come back since.
    Left,
    /// To those who are members and may see the place.
    MemberAt(Seq),
}

/// Notices that are written together; the next round follows when those before it were tried.
pub(crate) type Rounds = Vec<Vec<Notice>>;

/// How notices are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// What they say has just happened.
    AtOnce,
    /// They may stand already, and what they say may no longer hold.
    Late,
}

/// Whether an entry has something to tell somebody.
pub(crate) fn concerns_somebody(entry: &Entry) -> bool {
    match entry.kind {
        EntryKind::MemberJoined | EntryKind::MemberLeft => true,
        // Most messages mention nobody, and are not read for it.
        EntryKind::Message => MENTIONS.find(entry.payload.as_bytes()).is_some(),
        _ => false,
    }
}

/// Tells those whom entries that have just been written made members, or made cease to be, or
/// mention. What cannot be written is left to the projection.
pub(crate) fn of_entries(
    shared: &Arc<Shared>,
    core: &Core,
    id: &ConversationId,
    entries: &[Entry],
) {
    let workspace = core.workspace();
    for entry in entries.iter().filter(|entry| concerns_somebody(entry)) {
        let round = match entry.kind {
            EntryKind::MemberJoined => {
                let told = tell_who_joined(Arc::clone(shared), id.clone(), entry.clone());
                shared.tasks.spawn(told);
                continue;
            }
            EntryKind::MemberLeft => who_left(workspace, id, entry),
            _ => who_is_mentioned(workspace, id, entry, |user| core.is_member(user)),
        };
        if !round.is_empty() {
            let told = tell(Arc::clone(shared), vec![round], Telling::AtOnce);
            // What went wrong has been said.
            shared.tasks.spawn(told.map(drop));
        }
    }
}

/// Says that what was read of a conversation no longer holds, and of those whom entries made
/// members, or made cease to be.
pub(crate) fn count_changes(
    shared: &Shared,
    workspace: &WorkspaceId,
    id: &ConversationId,
    entries: &[Entry],
) {
    let changes = shared.tails.changes();
    changes.in_conversation(id);
    let memberships = [EntryKind::MemberJoined, EntryKind::MemberLeft];
    for entry in entries.iter().filter(|it| memberships.contains(&it.kind)) {
        for user in concerned(entry) {
            changes.of_person(&Person {
                workspace: workspace.clone(),
                user,
            });
        }
    }
}

/// Tells what entries had to tell and nobody has told yet, in their order, as far as it still
/// holds. An error means that something is left.
pub(crate) async fn late(
    shared: &Arc<Shared>,
    id: &ConversationId,
    entries: &[&Entry],
) -> Result<(), CommandError> {
    let Some(conversation) = conversation(shared, id).await? else {
        return Ok(());
    };
    let workspace = &conversation.workspace;
    for entry in entries {
        let rounds = match entry.kind {
            EntryKind::MemberJoined => who_joined(&conversation, entry),
            EntryKind::MemberLeft => vec![who_left(workspace, id, entry)],
            _ => vec![who_is_mentioned(workspace, id, entry, |_| true)],
        };
        count_changes(shared, workspace, id, std::slice::from_ref(*entry));
        tell(Arc::clone(shared), rounds, Telling::Late).await?;
    }
    Ok(())
}

pub(crate) async fn conversation(
    shared: &Shared,
    id: &ConversationId,
) -> Result<Option<Conversation>, CommandError> {
    let found = shared.store.conversation(id).await;
    found.map_err(|error| refusal_of(&error))
}

async fn tell_who_joined(shared: Arc<Shared>, id: ConversationId, entry: Entry) {
    match shared.store.conversation(&id).await {
        Ok(Some(conversation)) => {
            let rounds = who_joined(&conversation, &entry);
            // What went wrong has been said.
            let _ = tell(shared, rounds, Telling::AtOnce).await;
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(conversation = %id, %error, "new members not told yet"),
    }
}

/// Whom an entry about memberships names.
fn concerned(entry: &Entry) -> Vec<UserId> {
    let update = serde_json::from_str::<UpdatePayload>(&entry.payload);
    let members = update.map(|update| update.members).unwrap_or_default();
    members.into_iter().map(|member| member.user_id).collect()
}

fn who_joined(conversation: &Conversation, entry: &Entry) -> Rounds {
    let by = (&entry.sender, entry.at);
    of_members(conversation, entry.seq, &concerned(entry), by)
}

fn who_left(workspace: &WorkspaceId, id: &ConversationId, entry: &Entry) -> Vec<Notice> {
    let Ok(update) = serde_json::from_str::<UpdatePayload>(&entry.payload) else {
        return Vec::new();
    };
    if update.reason == Some(Gone::Erased) {
        // There is nobody any more to tell.
        return Vec::new();
    }
    let told = Told {
        workspace,
        about: id,
        seq: entry.seq,
        event: "conversation:updated",
        payload: &wire::placed(&entry.payload, entry.seq, None),
        holds: Holds::Left,
    };
    // The first is who left; one who became owner thereby hears it on the topic.
    let left = update.members.into_iter().take(1);
    left.map(|member| told.to(member.user_id)).collect()
}

/// `notification` for members who are mentioned. Others hear nothing, whatever a message says.
fn who_is_mentioned(
    workspace: &WorkspaceId,
    id: &ConversationId,
    entry: &Entry,
    is_member: impl Fn(&UserId) -> bool,
) -> Vec<Notice> {
    let Ok(message) = serde_json::from_str::<MessagePayload>(&entry.payload) else {
        return Vec::new();
    };
    let is_left = message.deleted_at.is_none();
    let is_told = |user: &UserId| is_left && *user != entry.sender && is_member(user);
    let mentioned: BTreeSet<_> = message.mentions.into_iter().filter(is_told).collect();
    let notification = NotificationPayload {
        kind: NotificationKind::Mention,
        conversation_id: id.clone(),
        message_id: entry.id,
        message_seq: entry.seq,
        from: entry.sender.clone(),
        created_at: entry.at,
    };
    let told = Told {
        workspace,
        about: id,
        seq: entry.seq,
        event: "notification",
        payload: &text_of(&notification),
        holds: Holds::MemberAt(entry.seq),
    };
    mentioned.into_iter().map(|user| told.to(user)).collect()
}

/// `conversation:new` for people who have become members, and behind it `conversation:invite` for
/// those of a group whom somebody else made one. The place is that of their entry, 0 of those who
/// are in it from the beginning.
pub(crate) fn of_members(
    conversation: &Conversation,
    seq: Seq,
    members: &[UserId],
    (by, at): (&UserId, Timestamp),
) -> Rounds {
    let about = &conversation.id;
    let new = NewConversationPayload {
        conversation_id: about.clone(),
        conversation: ConversationPayload::from(conversation),
    };
    let invite = InvitePayload {
        conversation_id: new.conversation_id.clone(),
        conversation: new.conversation.clone(),
        invited_by: by.clone(),
        invited_at: at,
    };
    let told = Told {
        workspace: &conversation.workspace,
        about,
        seq,
        event: "conversation:new",
        payload: &text_of(&new),
        holds: Holds::Joined,
    };
    let invited = Told {
        event: "conversation:invite",
        payload: &text_of(&invite),
        ..told
    };
    let is_group = conversation.kind == ConversationKind::Group;
    let others = members.iter().filter(|user| is_group && *user != by);
    vec![
        members.iter().map(|user| told.to(user.clone())).collect(),
        others.map(|user| invited.to(user.clone())).collect(),
    ]
}

/// Writes notices, all of them, round by round. The first error that trying again may help
/// against is returned.
pub(crate) async fn tell(
    shared: Arc<Shared>,
    rounds: Rounds,
    telling: Telling,
) -> Result<(), CommandError> {
    let mut told = Ok(());
    for round in rounds {
        let one = |notice| tell_one(Arc::clone(&shared), notice, telling);
        let all = stream::iter(round).map(one).buffer_unordered(CONCURRENCY);
        told = all
            .fold(told, async |told: Result<_, _>, one| told.and(one))
            .await;
    }
    told
}

/// Writes a notice. What no trying again would help against is said, and given up.
async fn tell_one(
    shared: Arc<Shared>,
    notice: Notice,
    telling: Telling,
) -> Result<(), CommandError> {
    if telling == Telling::Late {
        let due = is_due(&shared, &notice).await;
        if !due.map_err(|error| refusal_of(&error))? {
            return Ok(());
        }
    }
    let Notice {
        person,
        event,
        payload,
        key,
        ..
    } = notice;
    match notify(&shared, &person, event, payload, Some(key)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_passing() => {
            tracing::warn!(user = %person.user, event, %error, "notice not written yet");
            Err(error)
        }
        Err(error) => {
            tracing::error!(user = %person.user, event, %error, "notice not written");
            Ok(())
        }
    }
}

async fn is_due(shared: &Shared, notice: &Notice) -> Result<bool, StoreError> {
    let (store, id) = (&shared.store, &notice.about);
    let own = notice.person.own_conversation();
    if !store.by_keys(&own, &[notice.key]).await?.is_empty() {
        return Ok(false);
    }
    let intervals = store.membership(id, &notice.person.user).await?;
    let open = intervals.iter().find(|it| it.to_seq.is_none());
    Ok(match notice.holds {
        Holds::Joined => open.is_some() || !was_erased(shared, id, &intervals).await?,
        Holds::Left => open.is_none(),
        Holds::MemberAt(seq) => open.is_some_and(|it| it.from_seq <= seq),
    })
}

/// Whether the last membership of somebody who is a member no more ended with the person; so it
/// counts for whoever never was one.
async fn was_erased(
    shared: &Shared,
    id: &ConversationId,
    intervals: &[Member],
) -> Result<bool, StoreError> {
    let Some(end) = intervals.iter().filter_map(|it| it.to_seq).max() else {
        return Ok(true);
    };
    let before = Seq(end.0.saturating_sub(1));
    let ends = shared.store.entries(id, before, 1).await?;
    let update = ends
        .first()
        .and_then(|entry| serde_json::from_str::<UpdatePayload>(&entry.payload).ok());
    Ok(update.is_some_and(|update| update.reason == Some(Gone::Erased)))
}

/// Writes a notice, making the person's conversation where there is none. Under a key it is tried
/// again even where it may have been written.
pub(crate) async fn notify(
    shared: &Shared,
    person: &Person,
    event: &str,
    payload: JsonText,
    key: Option<Key16>,
) -> Result<Outcome, CommandError> {
    let id = person.own_conversation();
    let mut attempt = 1;
    loop {
        let command = Command::Notice {
            event: event.to_owned(),
            payload: payload.clone(),
            key,
        };
        let mut answer = shared.submit(Author::Server, &id, command).await;
        if attempt == ATTEMPTS || shared.is_stopping() {
            return answer;
        }
        if let Err(CommandError::ConversationNotFound) = answer {
            match create_own(shared, person).await {
                Ok(()) => {
                    attempt += 1;
                    continue;
                }
                Err(error) => answer = Err(error),
            }
        }
        match answer {
            Err(error) if is_tried_again(&error, key) => {
                tokio::time::sleep(BACK_OFF * attempt).await;
            }
            answer => return answer,
        }
        attempt += 1;
    }
}

fn is_tried_again(error: &CommandError, key: Option<Key16>) -> bool {
    match error {
        CommandError::Overloaded | CommandError::Moved { .. } => true,
        _ => key.is_some() && error.is_passing(),
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

impl Told<'_> {
    fn to(self, user: UserId) -> Notice {
        Notice {
            key: key::of_notice(self.about, self.seq, &user, self.event),
            person: Person {
                workspace: self.workspace.clone(),
                user,
            },
            about: self.about.clone(),
            event: self.event,
            payload: self.payload.clone(),
            holds: self.holds,
        }
    }
}
