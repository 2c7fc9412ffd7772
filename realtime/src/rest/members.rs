//! Who is in a conversation.

use axum::{Json, extract::State};
use http::StatusCode;
use quikapp_actors::conversation::Command;
use quikapp_storage::{ConversationId, Member, Role, Seq, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Rest,
    body::{Body, Params, Segments},
    conversations::admitted,
    cursor,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{auth::Principal, errors::Refusal, policy::ConversationAct};

/// A member.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberDocument {
    #[schema(value_type = String)]
    user_id: UserId,
    /// member, admin or owner.
    #[schema(value_type = String)]
    role: Role,
    /// The first place of the log that they see.
    #[schema(value_type = u64)]
    from_seq: Seq,
}

impl From<Member> for MemberDocument {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user,
            role: member.role,
            from_seq: member.from_seq,
        }
    }
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// The user id after which to go on.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
    /// From 1 to 100; 50 unless said otherwise.
    limit: Option<usize>,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub(super) struct MembersAnswer {
    /// Ordered by user id.
    members: Vec<MemberDocument>,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<UserId>,
}

/// List the members of a conversation.
#[utoipa::path(
    get, path = "/conversations/{id}/members", tag = "conversations",
    params(("id" = String, Path, description = "the conversation"), MembersQuery),
    responses(
        (status = 200, description = "a page", body = MembersAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Params(query): Params<MembersQuery>,
) -> Answer<Json<MembersAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Read).await?;
    let limit = cursor::limit(query.limit)?;
    let after = query.after.as_ref();
    let mut members = rest.store.members(&id, after, limit + 1).await?;
    let more = members.len() > limit;
    members.truncate(limit);
    let next = members
        .last()
        .filter(|_| more)
        .map(|last| last.user.clone());
    let members = members.into_iter().map(MemberDocument::from).collect();
    Ok(Json(MembersAnswer { members, next }))
}

/// People to add.
#[derive(Deserialize, ToSchema)]
pub(super) struct AddRequest {
    /// User ids.
    #[schema(value_type = Vec<String>)]
    members: Vec<UserId>,
    /// member unless said otherwise; admin, or owner.
    #[serde(default = "member")]
    #[schema(value_type = Option<String>)]
    role: Role,
}

fn member() -> Role {
    Role::Member
}

/// Add members (admins and owners).
#[utoipa::path(
    post, path = "/conversations/{id}/members", tag = "conversations",
    params(("id" = String, Path, description = "the conversation")),
    request_body = AddRequest,
    responses(
        (status = 204, description = "added, or were members before"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not allowed by one's role", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
        (status = 422, description = "the members do not fit", body = ProblemDocument),
    ),
)]
pub(super) async fn add(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Body(request): Body<AddRequest>,
) -> Answer<StatusCode> {
    let id = admitted(&rest, &principal, &id, ConversationAct::ManageMembers).await?;
    let most = rest.config.max_members_per_request;
    if request.members.is_empty() || request.members.len() > most {
        return Err(Refusal::invalid_field("members", format!("from 1 to {most}")).into());
    }
    let role = request.role;
    let members = request.members.into_iter().map(|user| (user, role));
    let command = Command::AddMembers {
        members: members.collect(),
    };
    change(&rest, &principal, &id, command).await
}

/// A member's new role.
#[derive(Deserialize, ToSchema)]
pub(super) struct RoleRequest {
    /// member, admin or owner.
    #[schema(value_type = String)]
    role: Role,
}

/// Change a member's role (owners).
#[utoipa::path(
    patch, path = "/conversations/{id}/members/{user}", tag = "conversations",
    params(
        ("id" = String, Path, description = "the conversation"),
        ("user" = String, Path, description = "the member's user id"),
    ),
    request_body = RoleRequest,
    responses(
        (status = 204, description = "changed, or was so before"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an owner", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn set_role(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments((id, user)): Segments<(String, UserId)>,
    Body(request): Body<RoleRequest>,
) -> Answer<StatusCode> {
    let id = admitted(&rest, &principal, &id, ConversationAct::ChangeRoles).await?;
    let role = request.role;
    change(&rest, &principal, &id, Command::SetRole { user, role }).await
}

/// Remove a member (admins and owners; oneself: anyone). Their live channels end within a second.
#[utoipa::path(
    delete, path = "/conversations/{id}/members/{user}", tag = "conversations",
    params(
        ("id" = String, Path, description = "the conversation"),
        ("user" = String, Path, description = "the member's user id"),
    ),
    responses(
        (status = 204, description = "removed"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not allowed by one's role", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn remove(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments((id, user)): Segments<(String, UserId)>,
) -> Answer<StatusCode> {
    let act = match user == *principal.user() {
        true => ConversationAct::Read,
        false => ConversationAct::ManageMembers,
    };
    let id = admitted(&rest, &principal, &id, act).await?;
    change(&rest, &principal, &id, Command::RemoveMember { user }).await
}

/// Leave a conversation.
#[utoipa::path(
    post, path = "/conversations/{id}/leave", tag = "conversations",
    params(("id" = String, Path, description = "the conversation")),
    responses(
        (status = 204, description = "left"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member, or a direct conversation", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn leave(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
) -> Answer<StatusCode> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Read).await?;
    let user = principal.user().clone();
    change(&rest, &principal, &id, Command::RemoveMember { user }).await
}

/// Has something changed by the conversation's sequencer.
pub(super) async fn change(
    rest: &Rest,
    principal: &Principal,
    id: &ConversationId,
    command: Command,
) -> Answer<StatusCode> {
    let done = rest
        .conversations
        .submit(&principal.person, id, command)
        .await;
    // Also where the outcome is unknown: it may have been changed.
    rest.policy.membership_changed(id);
    done?;
    Ok(StatusCode::NO_CONTENT)
}
