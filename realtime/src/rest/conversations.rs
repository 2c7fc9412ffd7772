//! Conversations: beginning one, listing one's own.

use axum::{Json, extract::State};
use http::StatusCode;
use quikapp_actors::{
    conversation::{Command, wire},
    registers::payload::ThreadPayload,
};
use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, ConversationSummary, Created, NewConversation,
    Role, Seq, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{
    Rest,
    body::{Body, Params, Segments},
    cursor,
    identity::Signed,
    members::change,
    messages::{self, MessageDocument, ThreadDocument},
    problem::{Answer, ProblemDocument},
};
use crate::{
    auth::Principal,
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
};

/// Threads of a conversation that are looked at for something unread.
const THREADS: usize = 50;

/// What sort of conversation to begin.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NewKind {
    /// With one other person; there is one per pair.
    Direct,
    /// With any number of people.
    Group,
}

/// A conversation to begin.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateRequest {
    #[serde(rename = "type")]
    kind: NewKind,
    /// User ids; oneself may be left out.
    #[schema(value_type = Vec<String>)]
    members: Vec<UserId>,
    /// The name of a group.
    #[serde(default)]
    name: Option<String>,
}

/// A conversation, as one of its members sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Conversation)]
pub(super) struct ConversationDocument {
    #[schema(value_type = String)]
    id: ConversationId,
    /// direct or group.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: ConversationKind,
    name: Option<String>,
    #[schema(value_type = String)]
    created_by: UserId,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The last place of its log.
    #[schema(value_type = u64)]
    last_seq: Seq,
    /// One's own role: member, admin or owner.
    #[schema(value_type = String)]
    role: Role,
    /// Messages one has not read.
    unread: u64,
    /// Threads that one follows and has not read to the end; the most recent ones.
    #[schema(value_type = Vec<ThreadDocument>)]
    unread_threads: Vec<ThreadPayload>,
    #[schema(value_type = Option<MessageDocument>)]
    last_message: Option<Box<RawValue>>,
    /// When something was last written.
    #[schema(value_type = String, format = DateTime)]
    active_at: Timestamp,
}

impl TryFrom<ConversationSummary> for ConversationDocument {
    type Error = Refusal;

    fn try_from(summary: ConversationSummary) -> Result<Self, Refusal> {
        let conversation: Conversation = summary.conversation;
        let last_message = summary.last_message.as_ref().map(wire::message);
        Ok(Self {
            id: conversation.id,
            kind: conversation.kind,
            name: conversation.name,
            created_by: conversation.created_by,
            created_at: conversation.created_at,
            last_seq: conversation.tail,
            role: summary.role,
            unread: summary.unread,
            unread_threads: Vec::new(),
            last_message: last_message.as_deref().map(messages::raw).transpose()?,
            active_at: summary.active_at,
        })
    }
}

/// One conversation.
#[derive(Serialize, ToSchema)]
pub(super) struct ConversationAnswer {
    conversation: ConversationDocument,
}

/// Begin a conversation. Of a direct one there is one per pair: asked for again, it is found.
#[utoipa::path(
    post, path = "/conversations", tag = "conversations",
    request_body = CreateRequest,
    responses(
        (status = 201, description = "begun", body = ConversationAnswer),
        (status = 200, description = "the pair had one", body = ConversationAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "there is a block between the two", body = ProblemDocument),
        (status = 422, description = "the members do not fit", body = ProblemDocument),
    ),
)]
pub(super) async fn create(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<CreateRequest>,
) -> Answer<(StatusCode, Json<ConversationAnswer>)> {
    let others = others(
        &principal,
        request.members,
        rest.config.max_members_per_request,
    )?;
    let kind = match request.kind {
        NewKind::Direct => ConversationKind::Direct,
        NewKind::Group => ConversationKind::Group,
    };
    let action = Action::CreateConversation {
        kind,
        members: &others,
    };
    rest.policy.check(&principal, action).await?;
    let new = new_conversation(&rest, &principal, kind, others, request.name)?;
    let (status, id) = match rest.conversations.create(new).await? {
        Created::New(conversation) => (StatusCode::CREATED, conversation.id),
        Created::Existing(conversation) => (StatusCode::OK, conversation.id),
    };
    rest.policy.membership_changed(&id);
    let conversation = summary(&rest, &principal, &id).await?;
    Ok((status, Json(ConversationAnswer { conversation })))
}

/// Each once, and without oneself.
fn others(
    principal: &Principal,
    mut members: Vec<UserId>,
    most: usize,
) -> Result<Vec<UserId>, Refusal> {
    if members.len() > most {
        return Err(Refusal::invalid_field("members", format!("at most {most}")));
    }
    members.sort();
    members.dedup();
    members.retain(|member| member != principal.user());
    Ok(members)
}

fn new_conversation(
    rest: &Rest,
    principal: &Principal,
    kind: ConversationKind,
    others: Vec<UserId>,
    name: Option<String>,
) -> Result<NewConversation, Refusal> {
    let (own, name) = match kind {
        ConversationKind::Direct if others.len() != 1 => {
            let detail = "a direct conversation is with one other person";
            return Err(Refusal::invalid_field("members", detail));
        }
        ConversationKind::Direct => (Role::Member, None),
        ConversationKind::Group | ConversationKind::Person => (Role::Owner, name),
    };
    let others = others.into_iter().map(|other| (other, Role::Member));
    let own = std::iter::once((principal.user().clone(), own));
    Ok(NewConversation {
        id: ConversationId::generate(),
        workspace: principal.workspace().clone(),
        kind,
        name,
        created_by: principal.user().clone(),
        created_at: rest.clock.now(),
        members: own.chain(others).collect(),
    })
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// From 1 to 100; 50 unless said otherwise.
    limit: Option<usize>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub(super) struct ListAnswer {
    /// The most recently active first.
    conversations: Vec<ConversationDocument>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List one's conversations.
#[utoipa::path(
    get, path = "/conversations", tag = "conversations",
    params(ListQuery),
    responses(
        (status = 200, description = "a page", body = ListAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 422, description = "not a page", body = ProblemDocument),
    ),
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Params(query): Params<ListQuery>,
) -> Answer<Json<ListAnswer>> {
    let user = principal.user();
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    let limit = cursor::limit(query.limit)?;
    let below = query.cursor.as_deref().map(cursor::read).transpose()?;
    let person = &principal.person;
    let mut found = rest
        .store
        .list_conversations(person, below, limit + 1)
        .await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found
        .last()
        .filter(|_| more)
        .map(|last| cursor::write(last.active_at, &last.conversation.id));
    let mut conversations = Vec::with_capacity(found.len());
    for summary in found {
        conversations.push(document(&rest, user, summary).await?);
    }
    Ok(Json(ListAnswer {
        conversations,
        next_cursor,
    }))
}

/// Show one of one's conversations.
#[utoipa::path(
    get, path = "/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "the conversation")),
    responses(
        (status = 200, description = "the conversation", body = ConversationAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn show(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
) -> Answer<Json<ConversationAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Read).await?;
    let conversation = summary(&rest, &principal, &id).await?;
    Ok(Json(ConversationAnswer { conversation }))
}

/// What to change of a conversation.
#[derive(Deserialize, ToSchema)]
pub(super) struct ChangeRequest {
    /// The new name of the group; null takes it away.
    #[serde(deserialize_with = "Option::deserialize")]
    name: Option<String>,
}

/// Rename a group (admins and owners). Its members hear `conversation:updated`.
#[utoipa::path(
    patch, path = "/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "the conversation")),
    request_body = ChangeRequest,
    responses(
        (status = 200, description = "the conversation as it is now", body = ConversationAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not allowed by one's role, or no group", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
        (status = 422, description = "not a name", body = ProblemDocument),
    ),
)]
pub(super) async fn rename(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Body(request): Body<ChangeRequest>,
) -> Answer<Json<ConversationAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::ManageMembers).await?;
    let name = request.name;
    change(&rest, &principal, &id, Command::Rename { name }).await?;
    let conversation = summary(&rest, &principal, &id).await?;
    Ok(Json(ConversationAnswer { conversation }))
}

async fn summary(
    rest: &Rest,
    principal: &Principal,
    id: &ConversationId,
) -> Result<ConversationDocument, Refusal> {
    let summary = rest.store.summary(&principal.person, id).await?;
    let summary = summary.ok_or(Reason::NotAParticipant)?;
    document(rest, principal.user(), summary).await
}

/// A conversation as its member sees it, with the threads that they have not read.
async fn document(
    rest: &Rest,
    user: &UserId,
    summary: ConversationSummary,
) -> Result<ConversationDocument, Refusal> {
    let id = &summary.conversation.id;
    let threads = rest.store.threads(id, user, None, THREADS).await?;
    let unread = threads.into_iter().filter(|thread| thread.unread > 0);
    Ok(ConversationDocument {
        unread_threads: unread.map(ThreadPayload::from).collect(),
        ..summary.try_into()?
    })
}

/// The conversation of a path, if the principal may do this there.
pub(super) async fn admitted(
    rest: &Rest,
    principal: &Principal,
    id: &str,
    act: ConversationAct,
) -> Result<ConversationId, Refusal> {
    let id = ConversationId::parse(id).map_err(|_| Reason::ConversationNotFound)?;
    let action = Action::Conversation { id: &id, act };
    rest.policy.check(principal, action).await?;
    Ok(id)
}
