//! What one prefers.

use axum::{Json, extract::State, response::IntoResponse};
use http::{
    HeaderMap,
    header::{ETAG, IF_MATCH},
};
use quikapp_actors::preferences::{Preferences, PreferencesPayload};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Rest,
    body::Patch,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{
    policy::Action,
    preferences::{self, Expected, Form, entity_tag},
};

/// What one prefers, and how often it was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct PreferencesAnswer {
    /// 0 as long as nothing was changed.
    version: u64,
    /// All of them, defaults included.
    #[schema(value_type = Form)]
    preferences: Preferences,
}

/// Show one's own preferences. The entity tag names their version.
#[utoipa::path(
    get, path = "/users/me/preferences", tag = "people",
    responses(
        (status = 200, description = "the preferences", body = PreferencesAnswer,
            headers(("ETag" = String, description = "the version"))),
        (status = 401, description = "no valid token", body = ProblemDocument),
    ),
)]
pub(super) async fn show(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<impl IntoResponse> {
    let user = principal.user();
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    let found = preferences::of(&rest.documents, &principal.person);
    Ok(answer(found.await?))
}

/// Change one's own preferences by a JSON merge patch (RFC 7396). All of one's devices learn of it
/// (`preferences:changed` on `user:<id>`), also those that are offline now.
#[utoipa::path(
    patch, path = "/users/me/preferences", tag = "people",
    params(("If-Match" = Option<String>, Header, description = "change only this version: its entity tag")),
    request_body(content((Form = "application/merge-patch+json"), (Form = "application/json"))),
    responses(
        (status = 200, description = "the preferences as they are now", body = PreferencesAnswer,
            headers(("ETag" = String, description = "the version"))),
        (status = 400, description = "not a JSON object", body = ProblemDocument),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 412, description = "another version than If-Match names", body = ProblemDocument),
        (status = 422, description = "a field is unknown or does not fit", body = ProblemDocument),
    ),
)]
pub(super) async fn change(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    headers: HeaderMap,
    Patch(patch): Patch,
) -> Answer<impl IntoResponse> {
    let (user, person) = (principal.user(), &principal.person);
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    let expected = expected(&headers);
    let changed = preferences::change(&rest.documents, person, &patch, &expected);
    Ok(answer(changed.await?))
}

fn answer(found: PreferencesPayload) -> impl IntoResponse {
    let body = PreferencesAnswer {
        version: found.version,
        preferences: found.preferences,
    };
    ([(ETAG, entity_tag(found.version))], Json(body))
}

/// What `If-Match` says (RFC 9110, section 13.1.1). A weak tag equals none.
fn expected(headers: &HeaderMap) -> Expected {
    if !headers.contains_key(IF_MATCH) {
        return Expected::Any;
    }
    let lines = headers.get_all(IF_MATCH).iter();
    let tags = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let tags: Vec<_> = tags.map(|tag| tag.trim().to_owned()).collect();
    match tags.iter().any(|tag| tag == "*") {
        true => Expected::Any,
        false => Expected::OneOf(tags),
    }
}
