//! The devices that one has registered.
//!
//! What is registered is apart from what is connected or has a place in what is delivered: a socket
//! names any device, registered or not.

use axum::{Json, extract::State};
use http::StatusCode;
use quikapp_actors::registered::{
    Details, List, Platform, RegisteredDevice, Registering, Registration, Said, Seen,
};
use quikapp_storage::{DeviceId, Person, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{
    Rest,
    body::{Body, Segments},
    identity::Signed,
    problem::{Answer, ProblemDocument},
};
use crate::{auth::Principal, policy::Action};

/// A device that one has registered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub(super) struct DeviceDocument {
    device_id: String,
    /// ios, android, web, desktop or other.
    #[schema(value_type = String)]
    platform: Platform,
    /// What one calls it.
    name: Option<String>,
    app_version: Option<String>,
    os_version: Option<String>,
    model: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    /// When something of it changed, or, at most once a day, it said that it is in use.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it last had a socket, joined, acknowledged something or sent a heartbeat, to within a
    /// few hours; null for a device that has acknowledged nothing yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used: Option<Timestamp>,
    /// Whether it has a socket now, on whichever node.
    is_connected: bool,
}

/// The devices that one has registered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DevicesAnswer {
    /// Counts the changes, as in `devices:registered`; 0 before the first.
    version: u64,
    /// In the order in which they were registered; at most 10.
    devices: Vec<DeviceDocument>,
}

/// A device to register. What it does not name stays as it was registered before; what is null is
/// taken back. Whatever else is in the body is not kept.
#[derive(Deserialize, ToSchema)]
pub(super) struct RegisterRequest {
    /// As its sockets name it: from 1 to 128 bytes.
    #[serde(alias = "deviceId")]
    #[schema(value_type = String)]
    device_id: DeviceId,
    /// ios, android, web, desktop or other.
    #[schema(value_type = String)]
    platform: Platform,
    /// What one calls it; this and what follows from 1 to 64 characters.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    name: Said,
    /// Of the application.
    #[serde(default, alias = "appVersion", deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    app_version: Said,
    /// Of the operating system, or the browser.
    #[serde(default, alias = "osVersion", deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    os_version: Said,
    /// As its maker calls it.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    model: Said,
    /// Where there is no room, the registration of the device that was in use earliest, and is not
    /// connected, has to go.
    #[serde(default)]
    replace: bool,
}

/// What to say of a device; what is left out stays as it is, what is null is taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    /// What one calls it; this and what follows from 1 to 64 characters.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    name: Said,
    /// Of the application.
    #[serde(default, alias = "appVersion", deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    app_version: Said,
    /// Of the operating system, or the browser.
    #[serde(default, alias = "osVersion", deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    os_version: Said,
    /// As its maker calls it.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    model: Said,
}

/// A device that was registered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RegisterAnswer {
    #[serde(flatten)]
    device: DeviceDocument,
    /// The device whose registration had to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
}

/// A member that is there says something, also by null.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Said, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// See the devices that one has registered.
#[utoipa::path(
    get, path = "/devices", tag = "devices",
    responses(
        (status = 200, description = "the devices", body = DevicesAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
    ),
)]
pub(super) async fn list(
    State(rest): State<Rest>,
    Signed(principal): Signed,
) -> Answer<Json<DevicesAnswer>> {
    let person = own(&rest, &principal).await?;
    Ok(Json(rest.devices().list(person).await?.into()))
}

/// Register a device, or say what is new of one that is registered; it is in use thereby. All of
/// one's devices learn of it (`devices:registered` on `user:<id>`), also those that are offline
/// now. A device whose registration had to go keeps its place in what is delivered.
#[utoipa::path(
    post, path = "/devices", tag = "devices",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "registered", body = RegisterAnswer),
        (status = 200, description = "was registered before", body = RegisterAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 409, description = "one has 10 devices, and none may be replaced", body = ProblemDocument),
        (status = 422, description = "a field is missing or does not fit", body = ProblemDocument),
    ),
)]
pub(super) async fn register(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Body(request): Body<RegisterRequest>,
) -> Answer<(StatusCode, Json<RegisterAnswer>)> {
    let person = own(&rest, &principal).await?;
    let details = Details {
        name: request.name,
        app_version: request.app_version,
        os_version: request.os_version,
        model: request.model,
    };
    let registration = Registration {
        device_id: request.device_id,
        platform: request.platform,
        details: details.checked()?,
    };
    let devices = rest.devices();
    let registered = devices.register(person, registration, request.replace);
    let (done, seen) = registered.await?;
    let (status, replaced) = match done {
        Registering::Known => (StatusCode::OK, None),
        Registering::New { replaced } => (StatusCode::CREATED, replaced),
    };
    let answer = RegisterAnswer {
        device: seen.into(),
        replaced: replaced.map(Into::into),
    };
    Ok((status, Json(answer)))
}

/// Say something of a device that is registered. All of one's devices learn of it.
#[utoipa::path(
    patch, path = "/devices/{device_id}", tag = "devices",
    params(("device_id" = String, Path, description = "the device's id")),
    request_body = UpdateRequest,
    responses(
        (status = 200, description = "the device as it is now", body = DeviceDocument),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 404, description = "not registered", body = ProblemDocument),
        (status = 422, description = "a field does not fit", body = ProblemDocument),
    ),
)]
pub(super) async fn update(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(device): Segments<DeviceId>,
    Body(request): Body<UpdateRequest>,
) -> Answer<Json<DeviceDocument>> {
    let person = own(&rest, &principal).await?;
    let details = Details {
        name: request.name,
        app_version: request.app_version,
        os_version: request.os_version,
        model: request.model,
    };
    let details = details.checked()?;
    let seen = rest.devices().update(person, &device, &details).await?;
    Ok(Json(seen.into()))
}

/// Forget a device: its registration, its cursors, and what waits for it alone. Also one that was
/// never registered and has cursors. No socket is closed and no token revoked: a device that goes
/// on acknowledging is known anew, as one of which nothing is known.
#[utoipa::path(
    delete, path = "/devices/{device_id}", tag = "devices",
    params(("device_id" = String, Path, description = "the device's id")),
    responses(
        (status = 204, description = "forgotten"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 404, description = "nothing is known of it", body = ProblemDocument),
    ),
)]
pub(super) async fn remove(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(device): Segments<DeviceId>,
) -> Answer<StatusCode> {
    let person = own(&rest, &principal).await?;
    rest.devices().remove(person, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say that a registered device is in use now, without a socket.
#[utoipa::path(
    post, path = "/devices/{device_id}/heartbeat", tag = "devices",
    params(("device_id" = String, Path, description = "the device's id")),
    responses(
        (status = 204, description = "in use"),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 404, description = "not registered, or not any more", body = ProblemDocument),
    ),
)]
pub(super) async fn heartbeat(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(device): Segments<DeviceId>,
) -> Answer<StatusCode> {
    let person = own(&rest, &principal).await?;
    rest.devices().heartbeat(person, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose devices these are: one's own.
async fn own<'a>(rest: &Rest, principal: &'a Principal) -> Answer<&'a Person> {
    let user = principal.user();
    let action = Action::OwnStream { user };
    rest.policy.check(principal, action).await?;
    Ok(&principal.person)
}

impl From<Seen> for DeviceDocument {
    fn from(seen: Seen) -> Self {
        let RegisteredDevice {
            device_id,
            platform,
            name,
            app_version,
            os_version,
            model,
            registered_at,
            updated_at,
        } = seen.device;
        Self {
            device_id: device_id.into(),
            platform,
            name,
            app_version,
            os_version,
            model,
            registered_at,
            updated_at,
            last_used: seen.last_used,
            is_connected: seen.is_connected,
        }
    }
}

impl From<List> for DevicesAnswer {
    fn from(list: List) -> Self {
        Self {
            version: list.version,
            devices: list.devices.into_iter().map(Into::into).collect(),
        }
    }
}
