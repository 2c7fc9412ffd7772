//! Messages that are sent later.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use quikapp_actors::{conversation::SendMessage, delivery::payload::ScheduledPayload};
use quikapp_storage::{ConversationId, MessageId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Rest,
    body::Segments,
    conversations::admitted,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{auth::Principal, errors::Reason, policy::ConversationAct};

/// A message that is sent later.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduledMessage)]
pub(super) struct ScheduledDocument {
    /// The id that the message will have; until then, what it is cancelled by.
    id: String,
    conversation_id: String,
    #[schema(format = DateTime)]
    send_at: String,
    client_id: Option<String>,
    /// text, image, video, audio, file, call or system.
    #[serde(rename = "type")]
    kind: String,
    content: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    attachments: Option<Value>,
    reply_to: Option<String>,
    thread_root: Option<String>,
    mentions: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// One's own scheduled messages in a conversation.
#[derive(Serialize, ToSchema)]
pub(super) struct ScheduledAnswer {
    /// The earliest first.
    #[schema(value_type = Vec<ScheduledDocument>)]
    scheduled: Vec<ScheduledPayload>,
}

/// Keeps a message to be sent at a moment.
pub(super) async fn schedule(
    rest: &Rest,
    principal: &Principal,
    id: &ConversationId,
    send: SendMessage,
    at: Timestamp,
) -> Answer<Response> {
    let person = &principal.person;
    let scheduled = rest.delivery.schedule(person, id, send, at).await?;
    Ok((StatusCode::ACCEPTED, Json(scheduled)).into_response())
}

/// List one's own scheduled messages in a conversation.
#[utoipa::path(
    get, path = "/conversations/{id}/messages/scheduled", tag = "messages",
    params(("id" = String, Path, description = "the conversation")),
    responses(
        (status = 200, description = "what will be sent", body = ScheduledAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
    ),
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
) -> Answer<Json<ScheduledAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Write).await?;
    let scheduled = rest.delivery.scheduled(&principal.person, &id).await?;
    Ok(Json(ScheduledAnswer { scheduled }))
}

/// Take back a scheduled message that is not being sent yet.
#[utoipa::path(
    delete, path = "/conversations/{id}/messages/scheduled/{message}", tag = "messages",
    params(
        ("id" = String, Path, description = "the conversation"),
        ("message" = String, Path, description = "the scheduled message"),
    ),
    responses(
        (status = 204, description = "it will not be sent"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation or scheduled message", body = ProblemDocument),
    ),
)]
pub(super) async fn cancel(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments((id, message)): Segments<(String, String)>,
) -> Answer<StatusCode> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Write).await?;
    let message = MessageId::parse(&message).map_err(|_| Reason::MessageNotFound)?;
    let cancelled = rest.delivery.cancel(&principal.person, &id, message);
    cancelled.await?;
    Ok(StatusCode::NO_CONTENT)
}
