//! Who one is: guests, one's profile, tickets, revocation.

use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use http::{StatusCode, request::Parts};
use quikapp_storage::{Person, ProfileChange, Timestamp, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Rest,
    body::Body,
    identity::{self, Signed},
    problem::{Answer, Problem, ProblemDocument},
};
use crate::{
    auth::{Grant, Principal},
    channels::user::params::ProfilePayload,
    errors::{Reason, Refusal},
    policy::Action,
    telemetry::redact,
};

/// The workspace of guests, and of tokens that `quikapp token` mints without naming one.
const GUEST_WORKSPACE: &str = "default";
const MAX_NAME_CHARS: usize = 64;

/// How a guest wants to be called.
#[derive(Deserialize, ToSchema)]
pub(super) struct GuestRequest {
    /// From 1 to 64 characters.
    name: String,
}

/// A guest who is signed in.
#[derive(Serialize, ToSchema)]
pub(super) struct GuestAnswer {
    /// The access token.
    token: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Who they are.
    user: Guest,
}

/// A guest.
#[derive(Serialize, ToSchema)]
pub(super) struct Guest {
    #[schema(value_type = String)]
    id: UserId,
    #[schema(value_type = String)]
    workspace: WorkspaceId,
    name: String,
}

/// Counts a request without a token by its address.
pub(super) struct Anybody;

impl FromRequestParts<Rest> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Answer<Self> {
        identity::admit_address(parts, rest).await.map(|()| Self)
    }
}

/// Sign in as a guest. Only in development mode.
#[utoipa::path(
    post, path = "/auth/guest", tag = "auth", security(()),
    request_body = GuestRequest,
    responses(
        (status = 201, description = "signed in", body = GuestAnswer),
        (status = 422, description = "the name is empty or too long", body = ProblemDocument),
    ),
)]
pub(super) async fn guest(
    State(rest): State<Rest>,
    _: Anybody,
    Body(request): Body<GuestRequest>,
) -> Answer<(StatusCode, Json<GuestAnswer>)> {
    let name = checked_name(&request.name)?;
    let person = Person {
        workspace: WorkspaceId::new(GUEST_WORKSPACE)?,
        user: UserId::new(uuid::Uuid::now_v7().to_string())?,
    };
    let change = ProfileChange {
        name: Some(name.clone()),
        ..ProfileChange::default()
    };
    rest.store.put_profile(&person, change).await?;
    let grant = Grant::member(person.clone());
    let minted = rest
        .authenticator
        .tokens
        .mint(&grant, rest.auth.guest_ttl)?;
    let answer = GuestAnswer {
        token: minted.token,
        expires_at: Timestamp(minted.claims.exp.saturating_mul(1000)),
        user: Guest {
            id: person.user,
            workspace: person.workspace,
            name,
        },
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
    match fits && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::invalid_field("name", "from 1 to 64 characters")),
    }
}

/// Who one is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfileAnswer {
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    workspace: WorkspaceId,
    /// How one is called.
    name: Option<String>,
    /// Whether everyone may see when one was last here.
    last_seen_public: bool,
}

/// What to change; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileRequest {
    /// From 1 to 64 characters.
    #[serde(default)]
    name: Option<String>,
    /// Whether everyone may see when one was last here.
    #[serde(default, alias = "lastSeenPublic")]
    last_seen_public: Option<bool>,
}

/// Show one's own profile.
#[utoipa::path(
    get, path = "/users/me", tag = "people",
    responses(
        (status = 200, description = "the profile", body = ProfileAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
    ),
)]
pub(super) async fn profile(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<Json<ProfileAnswer>> {
    let user = principal.user();
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    Ok(Json(own_profile(&rest, &principal).await?))
}

/// Change one's own profile. All of one's devices learn of it (`profile:sync` on `user:<id>`),
/// also those that are offline now.
#[utoipa::path(
    patch, path = "/users/me", tag = "people",
    request_body = ProfileRequest,
    responses(
        (status = 200, description = "the profile as it is now", body = ProfileAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 422, description = "the name is empty or too long", body = ProblemDocument),
    ),
)]
pub(super) async fn change_profile(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<ProfileRequest>,
) -> Answer<Json<ProfileAnswer>> {
    let (user, person) = (principal.user(), &principal.person);
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    let change = ProfileChange {
        name: request.name.as_deref().map(checked_name).transpose()?,
        last_seen_public: request.last_seen_public,
        ..ProfileChange::default()
    };
    rest.store.put_profile(person, change).await?;
    let profile = own_profile(&rest, &principal).await?;
    rest.people
        .last_seen_shown(person, profile.last_seen_public);
    let synced = ProfilePayload {
        user_id: profile.user_id.clone(),
        name: profile.name.clone(),
        last_seen_public: profile.last_seen_public,
    };
    let synced = serde_json::to_string(&synced).map_err(|_| Reason::Internal)?;
    let synced = synced.into();
    rest.conversations
        .notify(person, "profile:sync", synced)
        .await?;
    Ok(Json(profile))
}

async fn own_profile(rest: &Rest, principal: &Principal) -> Answer<ProfileAnswer> {
    let (user, workspace) = (principal.user(), principal.workspace());
    let profiles = rest.store.profiles(workspace, std::slice::from_ref(user));
    let profile = profiles.await?.into_iter().next();
    Ok(ProfileAnswer {
        user_id: user.clone(),
        workspace: workspace.clone(),
        last_seen_public: profile.as_ref().is_some_and(|it| it.last_seen_public),
        name: profile.and_then(|it| it.name),
    })
}

/// A one-time ticket.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketAnswer {
    /// Pass it as the socket parameter `ticket`.
    ticket: String,
    /// Seconds within which it must be used.
    expires_in: u64,
}

/// Get a one-time ticket for a socket, where the token itself must not stand in a URL.
#[utoipa::path(
    post, path = "/auth/ticket", tag = "auth",
    responses(
        (status = 201, description = "a ticket", body = TicketAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
    ),
)]
pub(super) async fn ticket(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<(StatusCode, Json<TicketAnswer>)> {
    rest.policy.check(&principal, Action::OwnTokens).await?;
    let tickets = &rest.authenticator.tickets;
    let answer = TicketAnswer {
        ticket: tickets.issue(&principal).await?,
        expires_in: tickets.ttl().as_secs(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// What to revoke: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeRequest {
    /// A token's id.
    #[serde(default)]
    jti: Option<String>,
    /// A person of one's workspace, with all their tokens.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
}

/// Revoke a token or a person of the workspace (administrators). Live sockets close within a
/// second, on every node.
#[utoipa::path(
    post, path = "/auth/revoke", tag = "auth",
    request_body = RevokeRequest,
    responses(
        (status = 204, description = "revoked"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an administrator", body = ProblemDocument),
        (status = 422, description = "neither or both are named", body = ProblemDocument),
    ),
)]
pub(super) async fn revoke(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<RevokeRequest>,
) -> Answer<StatusCode> {
    rest.policy.check(&principal, Action::Administer).await?;
    let revocations = &rest.authenticator.revocations;
    let (workspace, by) = (principal.workspace().clone(), principal.user());
    match (request.jti, request.user) {
        (Some(jti), None) if (1..=256).contains(&jti.len()) => {
            revocations.revoke_token(&workspace, &jti).await?;
            let jti = redact::TokenId(&jti);
            tracing::info!(%workspace, %jti, %by, "an administrator has revoked a token");
        }
        (None, Some(user)) => {
            let person = principal.colleague(user);
            revocations.revoke_person(person.clone()).await?;
            let user = person.user;
            tracing::info!(%workspace, %user, %by, "an administrator has revoked a person");
        }
        _ => {
            let detail = "name either a jti of at most 256 bytes or a user";
            return Err(Refusal::invalid_field("jti", detail).into());
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out: the token ends, and its sockets close.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth",
    responses(
        (status = 204, description = "signed out"),
        (status = 401, description = "no valid token", body = ProblemDocument),
    ),
)]
pub(super) async fn logout(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<StatusCode> {
    rest.policy.check(&principal, Action::OwnTokens).await?;
    rest.authenticator.revocations.sign_out(&principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<crate::auth::MintError> for Refusal {
    fn from(error: crate::auth::MintError) -> Self {
        match error {
            crate::auth::MintError::LifetimeTooLong(_) | crate::auth::MintError::Signing(_) => {
                tracing::error!(%error, "a token was not minted");
                Reason::Internal.into()
            }
        }
    }
}
