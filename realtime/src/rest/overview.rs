//! What waits for oneself, over all conversations.

use axum::{Json, extract::State};
use quikapp_actors::{
    entities::EntityError, people::Chosen, registered::Platform, users::Overview,
};
use quikapp_storage::{Mute, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Rest,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{
    errors::{Reason, Refusal},
    policy::Action,
};

/// What waits for oneself.
#[derive(Serialize, ToSchema)]
#[schema(as = Overview)]
pub(super) struct OverviewAnswer {
    /// What one chose to be: `{status, custom?}`.
    #[schema(value_type = Object)]
    chosen: Chosen,
    /// For an app's badge: unread messages of conversations that are not muted, those of threads
    /// that one follows included.
    badge: u64,
    /// The same with the muted ones.
    unread: u64,
    /// Conversations with something unread, by id; at most 1,000.
    conversations: Vec<ConversationOverview>,
    /// Whether there are more.
    more: bool,
    /// What some device lacks.
    pending: PendingOverview,
}

/// What is unread in a conversation.
#[derive(Serialize, ToSchema)]
struct ConversationOverview {
    conversation_id: String,
    /// Messages on the main timeline.
    unread: u64,
    /// The mute that is in force: `{until, mentions_only}`.
    #[schema(value_type = Option<Object>)]
    mute: Option<Mute>,
    /// Threads with something unread, at most 100.
    threads: Vec<ThreadOverview>,
}

/// What is unread in a thread.
#[derive(Serialize, ToSchema)]
struct ThreadOverview {
    /// The message that it hangs on.
    thread_root: String,
    unread: u64,
}

/// The store-and-forward queue, in short.
#[derive(Serialize, ToSchema)]
struct PendingOverview {
    /// Entries that some device lacks, of conversations of up to 256 members.
    count: u64,
    /// When the oldest of them was written.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest: Option<Timestamp>,
    /// The devices that are known.
    devices: Vec<DeviceOverview>,
}

/// One of one's devices.
#[derive(Serialize, ToSchema)]
struct DeviceOverview {
    device_id: String,
    /// ios, android, web, desktop or other, if it is registered.
    #[schema(value_type = Option<String>)]
    platform: Option<Platform>,
    /// What one calls it.
    name: Option<String>,
    /// Whether it has a socket.
    is_connected: bool,
    /// Whether it lacks more, or older, than is replayed, and will have to begin anew.
    reset_required: bool,
}

/// See what waits for oneself: unread counts, and what one's devices lack. Includes everything
/// that was acknowledged before.
#[utoipa::path(
    get, path = "/users/me/overview", tag = "people",
    responses(
        (status = 200, description = "what waits", body = OverviewAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 503, description = "too much is asked at once, or the store cannot be read", body = ProblemDocument),
    ),
)]
pub(super) async fn show(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<Json<OverviewAnswer>> {
    let user = principal.user();
    rest.policy
        .check(&principal, Action::OwnStream { user })
        .await?;
    let overview = rest.users.overview(&principal.person).await;
    Ok(Json(overview.map_err(Refusal::from)?.into()))
}

impl From<Overview> for OverviewAnswer {
    fn from(overview: Overview) -> Self {
        let conversations = overview.conversations.into_iter();
        let conversations = conversations.map(|it| ConversationOverview {
            conversation_id: it.conversation_id.to_string(),
            unread: it.unread,
            mute: it.mute,
            threads: it
                .threads
                .into_iter()
                .map(|thread| ThreadOverview {
                    thread_root: thread.root.to_string(),
                    unread: thread.unread,
                })
                .collect(),
        });
        let devices = overview.pending.devices.into_iter();
        let devices = devices.map(|it| DeviceOverview {
            device_id: it.device_id.to_string(),
            platform: it.platform,
            name: it.name,
            is_connected: it.is_connected,
            reset_required: it.reset_required,
        });
        Self {
            chosen: overview.chosen,
            badge: overview.badge,
            unread: overview.unread,
            conversations: conversations.collect(),
            more: overview.more,
            pending: PendingOverview {
                count: overview.pending.count,
                oldest: overview.pending.oldest,
                devices: devices.collect(),
            },
        }
    }
}

impl From<EntityError> for Refusal {
    fn from(error: EntityError) -> Self {
        match error {
            EntityError::Overloaded => Reason::Overloaded.into(),
            EntityError::Moved { .. }
            | EntityError::Quarantined { .. }
            | EntityError::Unavailable => Reason::Unavailable.into(),
            // A question that has no answer changes nothing.
            EntityError::OutcomeUnknown => Reason::Unavailable.into(),
        }
    }
}
