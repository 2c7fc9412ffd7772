//! For administrators: what runs on this node, releasing what is in quarantine there, and erasing
//! people.

use axum::{Json, extract::State};
use http::StatusCode;
use quikapp_actors::supervision::{NodeState, TreeNode};
use quikapp_storage::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Rest,
    body::{Body, Segments},
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{errors::Refusal, policy::Action};

/// A supervisor, an actor, a task, or the entities of a kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeNode)]
pub(super) struct NodeAnswer {
    /// Its name among its siblings; null for an entity of another workspace.
    name: Option<String>,
    /// What it is: the label of its metrics.
    kind: String,
    /// starting, running, stopping, ended or quarantined.
    #[schema(value_type = String)]
    state: NodeState,
    /// How many there are: 1, but for entities of a kind.
    count: u64,
    /// How often it was started again after a failure.
    restarts: u64,
    /// Messages that wait for it.
    queue_depth: u64,
    /// How long it has been in this life, in milliseconds.
    age_ms: u64,
    /// What it failed of the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
    /// What it supervises or holds.
    #[schema(no_recursion)]
    children: Vec<NodeAnswer>,
}

impl NodeAnswer {
    /// What an administrator of a workspace may see: of another's entities only that they are.
    fn of(node: TreeNode, workspace: &str) -> Self {
        let is_foreign = node.tenant.is_some_and(|tenant| tenant != workspace);
        let children = node.children.into_iter();
        Self {
            name: (!is_foreign).then_some(node.name),
            kind: node.kind,
            state: node.state,
            count: node.count,
            restarts: node.restarts,
            queue_depth: node.queue_depth,
            age_ms: node.age_ms,
            last_failure: node.last_failure.filter(|_| !is_foreign),
            children: children.map(|it| Self::of(it, workspace)).collect(),
        }
    }
}

/// Show the live supervision tree of the node that answers.
#[utoipa::path(
    get, path = "/admin/tree", tag = "admin",
    responses(
        (status = 200, description = "the tree", body = NodeAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an administrator", body = ProblemDocument),
    ),
)]
pub(super) async fn tree(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<Json<NodeAnswer>> {
    rest.policy.check(&principal, Action::Administer).await?;
    let workspace = principal.workspace().as_str();
    Ok(Json(NodeAnswer::of(rest.tree.tree(), workspace)))
}

/// Whom to erase.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErasureRequest {
    /// A person of one's workspace. Nobody of this id need be known.
    #[schema(value_type = String)]
    user: UserId,
}

/// How an erasure stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErasureAnswer {
    /// Who.
    #[schema(value_type = String)]
    user: UserId,
    /// Whether it is still to be done, or under way; false when it has ended, or was never asked
    /// for.
    pending: bool,
}

/// Erase a person of the workspace: their tokens are revoked and their sockets close at once; what
/// they wrote is redacted, their memberships end, and what is kept of them is forgotten in the
/// background, over restarts of the server.
#[utoipa::path(
    post, path = "/admin/erasures", tag = "admin",
    request_body = ErasureRequest,
    responses(
        (status = 202, description = "it will be done", body = ErasureAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an administrator", body = ProblemDocument),
    ),
)]
pub(super) async fn erase(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<ErasureRequest>,
) -> Answer<(StatusCode, Json<ErasureAnswer>)> {
    rest.policy.check(&principal, Action::Administer).await?;
    let user = request.user;
    let person = principal.colleague(user.clone());
    tracing::info!(
        workspace = %person.workspace, %user, by = %principal.user(),
        "an administrator has a person erased"
    );
    // First nothing new may come.
    let revocations = &rest.authenticator.revocations;
    revocations.revoke_person(person.clone()).await?;
    rest.delivery.erase(&person).await?;
    let pending = true;
    Ok((StatusCode::ACCEPTED, Json(ErasureAnswer { user, pending })))
}

/// Show whether the erasure of a person of the workspace has ended.
#[utoipa::path(
    get, path = "/admin/erasures/{user}", tag = "admin",
    params(("user" = String, Path, description = "the person's id")),
    responses(
        (status = 200, description = "how it stands", body = ErasureAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an administrator", body = ProblemDocument),
    ),
)]
pub(super) async fn erasure(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(user): Segments<UserId>,
) -> Answer<Json<ErasureAnswer>> {
    rest.policy.check(&principal, Action::Administer).await?;
    let person = principal.colleague(user.clone());
    let pending = rest.delivery.is_being_erased(&person).await?;
    Ok(Json(ErasureAnswer { user, pending }))
}

/// Kinds of entities that can be in quarantine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EntityKind {
    /// Persons.
    User,
}

/// What to release.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseRequest {
    kind: EntityKind,
    /// A person of one's workspace.
    #[schema(value_type = String)]
    id: UserId,
}

/// Whether there was something to release.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReleaseAnswer {
    kind: EntityKind,
    /// Which.
    #[schema(value_type = String)]
    id: UserId,
    /// Whether it was in quarantine on the node that answers.
    released: bool,
}

/// Release an entity of the workspace from quarantine on the node that answers: what was put there
/// because it failed too often is brought up again from the store by whoever asks for it next. The
/// tree shows what is in quarantine.
#[utoipa::path(
    post, path = "/admin/releases", tag = "admin",
    request_body = ReleaseRequest,
    responses(
        (status = 200, description = "it is not in quarantine any more", body = ReleaseAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not an administrator", body = ProblemDocument),
        (status = 503, description = "not now", body = ProblemDocument),
    ),
)]
pub(super) async fn release(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<ReleaseRequest>,
) -> Answer<Json<ReleaseAnswer>> {
    rest.policy.check(&principal, Action::Administer).await?;
    let ReleaseRequest { kind, id } = request;
    let person = principal.colleague(id.clone());
    let released = match kind {
        EntityKind::User => rest.users.release(&person).await,
    };
    let released = released.map_err(Refusal::from)?;
    tracing::info!(
        workspace = %person.workspace, user = %id, by = %principal.user(),
        was_in_quarantine = released, "an administrator releases a person's entity"
    );
    Ok(Json(ReleaseAnswer { kind, id, released }))
}
