//! What runs on this node, for administrators.

use axum::{Json, extract::State};
use quikapp_actors::supervision::{NodeState, TreeNode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Rest,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::policy::Action;

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
