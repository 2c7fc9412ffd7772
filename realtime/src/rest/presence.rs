//! Who is there, and who types.

use axum::{Json, extract::State};
use quikapp_actors::people::PersonSeen;
use quikapp_storage::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Rest,
    body::{Params, Segments},
    cursor,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{
    auth::Principal,
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
};

/// A person as others see them.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub(super) struct PersonDocument {
    user_id: String,
    /// How they are called; only when one person is asked for.
    name: Option<String>,
    /// online, away, busy, dnd or offline.
    status: String,
    /// When they were last here; null while they are, and when it is not to be seen.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    /// `{text, emoji?, expires_at?}`
    #[schema(value_type = Option<Object>)]
    custom_status: Option<()>,
    /// `[{device_id, online_at}]`
    #[schema(value_type = Vec<Object>)]
    devices: Vec<()>,
}

/// A person with their name.
#[derive(Serialize)]
pub(super) struct Named {
    #[serde(flatten)]
    seen: PersonSeen,
    name: Option<String>,
}

/// See whether a person is there.
#[utoipa::path(
    get, path = "/presence/{user_id}", tag = "people",
    params(("user_id" = String, Path, description = "the person's user id")),
    responses(
        (status = 200, description = "the person; who is not known looks offline", body = PersonDocument),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 404, description = "nobody that may be seen", body = ProblemDocument),
    ),
)]
pub(super) async fn of_user(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(user): Segments<UserId>,
) -> Answer<Json<Named>> {
    rest.policy
        .check(&principal, Action::SeePerson { user: &user })
        .await?;
    let seen = match own_view(&rest, &principal, &user) {
        Some(myself) => myself,
        None => as_others_see(&rest, &principal, &user).await?,
    };
    let name = name_of(&rest, &principal, user).await?;
    Ok(Json(Named { seen, name }))
}

async fn as_others_see(rest: &Rest, principal: &Principal, user: &UserId) -> Answer<PersonSeen> {
    let users = std::slice::from_ref(user);
    let asked = rest.people.ask(principal.workspace(), users).await?;
    let asked = asked.into_iter().next().ok_or(Reason::UserNotFound)?;
    let mut seen = asked.seen;
    if !asked.last_seen_public {
        let action = Action::SeeLastSeen { user };
        seen.last_seen = match rest.policy.check(principal, action).await {
            Ok(()) => seen.last_seen,
            Err(_) => None,
        };
    }
    Ok(seen)
}

async fn name_of(rest: &Rest, principal: &Principal, user: UserId) -> Answer<Option<String>> {
    let profiles = rest.store.profiles(principal.workspace(), &[user]).await?;
    Ok(profiles.into_iter().next().and_then(|profile| profile.name))
}

fn own_view(rest: &Rest, principal: &Principal, user: &UserId) -> Option<PersonSeen> {
    match user == principal.user() {
        true => rest.people.myself(&principal.person),
        false => None,
    }
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OnlineQuery {
    /// The user id after which to go on.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
    /// From 1 to 100; 50 unless said otherwise.
    limit: Option<usize>,
}

/// People who look online.
#[derive(Serialize, ToSchema)]
pub(super) struct OnlineAnswer {
    /// Ordered by user id.
    #[schema(value_type = Vec<PersonDocument>)]
    users: Vec<PersonSeen>,
    /// Pass it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<UserId>,
}

/// List people of the workspace who are online and may be seen.
#[utoipa::path(
    get, path = "/presence/online", tag = "people",
    params(OnlineQuery),
    responses(
        (status = 200, description = "a page", body = OnlineAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 422, description = "not a page", body = ProblemDocument),
    ),
)]
pub(super) async fn online(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Params(query): Params<OnlineQuery>,
) -> Answer<Json<OnlineAnswer>> {
    rest.policy.check(&principal, Action::Lobby).await?;
    let limit = cursor::limit(query.limit)?;
    let workspace = principal.workspace();
    let page = rest.people.online(workspace, query.after.as_ref(), limit);
    let is_full = page.len() == limit;
    let next = page
        .last()
        .filter(|_| is_full)
        .map(|last| last.user_id.clone());
    let users = visible(&rest, &principal, page).await?;
    Ok(Json(OnlineAnswer { users, next }))
}

async fn visible(
    rest: &Rest,
    principal: &Principal,
    page: Vec<PersonSeen>,
) -> Result<Vec<PersonSeen>, Refusal> {
    let mut users = Vec::with_capacity(page.len());
    for seen in page {
        let action = Action::SeePerson {
            user: &seen.user_id,
        };
        match rest.policy.check(principal, action).await {
            Ok(()) => users.push(seen),
            Err(refusal) if refusal.reason == Reason::UserNotFound => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(users)
}

/// Who types.
#[derive(Serialize, ToSchema)]
pub(super) struct TypingAnswer {
    #[schema(value_type = String)]
    conversation_id: ConversationId,
    /// User ids.
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
}

/// List who types in a conversation.
#[utoipa::path(
    get, path = "/presence/typing/{conversation_id}", tag = "people",
    params(("conversation_id" = String, Path, description = "the conversation")),
    responses(
        (status = 200, description = "who types now", body = TypingAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn typing(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
) -> Answer<Json<TypingAnswer>> {
    let conversation_id = ConversationId::parse(&id).map_err(|_| Reason::ConversationNotFound)?;
    let action = Action::Conversation {
        id: &conversation_id,
        act: ConversationAct::Read,
    };
    rest.policy.check(&principal, action).await?;
    let users = rest.typing.list(&conversation_id);
    Ok(Json(TypingAnswer {
        conversation_id,
        users,
    }))
}
