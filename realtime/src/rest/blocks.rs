//! Blocking people: no direct messages, calls or presence between the two.

use axum::extract::State;
use http::StatusCode;
use quikapp_storage::UserId;

use super::{
    Rest,
    body::Segments,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{auth::Principal, channels, policy::Action};

/// Block a person of the workspace.
#[utoipa::path(
    post, path = "/users/{id}/block", tag = "people",
    params(("id" = String, Path, description = "the person's user id")),
    responses(
        (status = 204, description = "blocked, or was before"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "oneself", body = ProblemDocument),
    ),
)]
pub(super) async fn block(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(user): Segments<UserId>,
) -> Answer<StatusCode> {
    set(&rest, &principal, &user, true).await
}

/// Unblock a person of the workspace.
#[utoipa::path(
    delete, path = "/users/{id}/block", tag = "people",
    params(("id" = String, Path, description = "the person's user id")),
    responses(
        (status = 204, description = "unblocked, or was not blocked"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "oneself", body = ProblemDocument),
    ),
)]
pub(super) async fn unblock(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(user): Segments<UserId>,
) -> Answer<StatusCode> {
    set(&rest, &principal, &user, false).await
}

async fn set(
    rest: &Rest,
    principal: &Principal,
    user: &UserId,
    blocked: bool,
) -> Answer<StatusCode> {
    rest.policy.check(principal, Action::Block { user }).await?;
    let now = rest.clock.now();
    rest.store
        .set_block(&principal.person, user, blocked, now)
        .await?;
    rest.policy.blocks_changed(principal, user);
    channels::blocks_changed(&rest.fanout, &principal.person, user);
    Ok(StatusCode::NO_CONTENT)
}
