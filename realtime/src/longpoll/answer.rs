//! The JSON bodies of long-poll. HTTP says 200, the body says what is meant (item 26).

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER,
    },
};
use quikapp_protocol::Encoded;
use serde_json::json;

use super::batch::BadBatch;
use crate::{
    endpoint::answer::{PRIVATE, RETRY_AFTER_SECONDS, plain},
    errors::Reason,
};

const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// `{"status": ..}` and nothing else.
pub(super) fn status(status: u16) -> Response {
    body(StatusCode::OK, json!({"status": status}).to_string())
}

/// An empty poll: 204 when the window passed, 410 when a session begins.
pub(super) fn no_messages(status: u16, token: &str) -> Response {
    let answer = json!({"messages": [], "status": status, "token": token});
    body(StatusCode::OK, answer.to_string())
}

/// A poll that brings messages.
pub(super) fn messages(frames: &[Encoded], token: &str) -> Response {
    let texts: Vec<&str> = frames.iter().filter_map(as_text).collect();
    let answer = json!({"messages": texts, "status": 200, "token": token});
    body(StatusCode::OK, answer.to_string())
}

/// What the node of the session has answered.
pub(super) fn passed_back(http: StatusCode, json: Bytes) -> Response {
    body(http, json)
}

/// To the node that has passed a request on: there is no such session here.
pub(super) fn not_here() -> Response {
    plain(StatusCode::NOT_FOUND, Body::empty())
}

/// Something is wrong, and here is what. phoenix.js acts on the status in the body: 500 makes it
/// start over, anything that is not 200 fails a POST.
pub(super) fn refused(http: StatusCode, status: u16, reason: Reason) -> Response {
    explained(http, status, reason, reason.meaning())
}

/// Refused for now; phoenix.js tries again after a while.
pub(super) fn unavailable(reason: Reason) -> Response {
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, 500, reason);
    response
        .headers_mut()
        .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}

/// Nothing of a POST was taken; the session lives on.
pub(super) fn bad_batch(bad: &BadBatch) -> Response {
    let status = StatusCode::BAD_REQUEST;
    explained(status, status.as_u16(), bad.reason(), &bad.to_string())
}

fn explained(http: StatusCode, status: u16, reason: Reason, detail: &str) -> Response {
    let answer = json!({"status": status, "reason": reason, "detail": detail});
    body(http, answer.to_string())
}

/// The answer to a preflight: whatever headers were asked for.
pub(super) fn preflight(requested_headers: Option<&HeaderValue>) -> Response {
    let mut response = with_any_origin(plain(StatusCode::OK, Body::empty()));
    let headers = response.headers_mut();
    let requested = requested_headers.cloned();
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        requested.unwrap_or(HeaderValue::from_static("")),
    );
    let methods = HeaderValue::from_static("get, post, options");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    headers.insert(CACHE_CONTROL, PRIVATE);
    response
}

/// Lets pages of any origin read an answer; which may connect is decided by the origin policy.
pub(super) fn with_any_origin(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    response
}

/// A frame as it stands in the answer. Bytes that are no text cannot be carried: Phoenix answers
/// such a poll with 500 and loses all of it; here only that frame is lost.
fn as_text(frame: &Encoded) -> Option<&str> {
    match frame {
        Encoded::Text(text) => Some(text),
        Encoded::Binary(bytes) => std::str::from_utf8(bytes).ok(),
    }
}

fn body(http: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = with_any_origin(Response::new(json.into()));
    *response.status_mut() = http;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
