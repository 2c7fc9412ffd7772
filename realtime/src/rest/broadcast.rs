//! `POST /broadcast`: what the topic `broadcast:<name>` does, for back ends.

use axum::extract::State;
use http::StatusCode;
use quikapp_actors::fanout::Broadcast;
use quikapp_protocol::Json;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    Rest,
    body::Body,
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{
    auth::RoomAccess,
    errors::{Reason, Refusal},
    policy::Action,
    rooms,
};

/// The length of a topic or an event, in bytes: what a binary frame can carry.
const MAX_NAME_BYTES: usize = 255;

/// What to broadcast.
#[derive(Deserialize, ToSchema)]
pub(super) struct BroadcastRequest {
    /// The room, `broadcast:<name>`.
    topic: String,
    /// The event's name.
    event: String,
    /// Any JSON value.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

/// Broadcast an event to a room. It is not stored.
#[utoipa::path(
    post, path = "/broadcast", tag = "rooms",
    request_body = BroadcastRequest,
    responses(
        (status = 202, description = "sent to whoever is there"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "the token does not open the room", body = ProblemDocument),
        (status = 422, description = "not a room, or a reserved event", body = ProblemDocument),
    ),
)]
pub(super) async fn broadcast(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<BroadcastRequest>,
) -> Answer<StatusCode> {
    let BroadcastRequest {
        topic,
        event,
        payload,
    } = request;
    check_names(&topic, &event)?;
    let access = RoomAccess::Write;
    let room = Action::Room {
        topic: &topic,
        access,
    };
    rest.policy.check(&principal, room).await?;
    let payload = Json::parse(payload.get().to_owned())
        .map_err(|error| Refusal::invalid_field("payload", error.to_string()))?;
    let behind = rooms::room_topic(principal.workspace(), &topic);
    rest.fanout
        .publish(Broadcast::new(behind, event, payload.into()));
    Ok(StatusCode::ACCEPTED)
}

fn check_names(topic: &str, event: &str) -> Result<(), Refusal> {
    let is_room = topic
        .strip_prefix("broadcast:")
        .is_some_and(|name| !name.is_empty());
    if !is_room || topic.len() > MAX_NAME_BYTES {
        return Err(Refusal::invalid_field("topic", "not broadcast:<name>"));
    }
    if event.is_empty() || event.len() > MAX_NAME_BYTES {
        return Err(Refusal::invalid_field("event", "from 1 to 255 bytes"));
    }
    match rooms::is_reserved(event) {
        true => Err(Reason::ReservedEvent.into()),
        false => Ok(()),
    }
}
