//! The few plain answers that the endpoint itself gives.

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use crate::errors::Reason;

/// What Phoenix sends unless a handler says otherwise.
pub(crate) const PRIVATE: HeaderValue =
    HeaderValue::from_static("max-age=0, private, must-revalidate");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// [`RETRY_AFTER_S`](crate::errors::RETRY_AFTER_S), as a header.
pub(crate) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

const UNAVAILABLE: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, PROBLEM),
    (CACHE_CONTROL, PRIVATE),
    (RETRY_AFTER, RETRY_AFTER_SECONDS),
];

/// A status and a body as they are; an empty one has no content type.
pub(crate) fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    with_headers(status, body, [(CACHE_CONTROL, PRIVATE)])
}

/// The error page of Phoenix's own `ErrorJSON`.
pub(crate) fn phoenix_error(status: StatusCode) -> Response {
    let body = json!({"errors": {"detail": format!("{}.json", status.as_u16())}});
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, PRIVATE)];
    with_headers(status, body.to_string(), headers)
}

/// 404, as in the recordings.
pub(crate) fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "not found")
}

/// 503 that says why, and when to come again (RFC 9457).
pub(crate) fn unavailable(reason: Reason) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    with_headers(status, unavailable_body(reason), UNAVAILABLE)
}

fn unavailable_body(reason: Reason) -> String {
    let body = json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        "reason": reason,
        "detail": reason.meaning(),
    });
    body.to_string()
}

/// [`unavailable`] as it goes over the wire, for a client whose request is not read.
pub(crate) fn unavailable_in_bytes(reason: Reason) -> Vec<u8> {
    let body = unavailable_body(reason);
    let mut answer = b"HTTP/1.1 503 Service Unavailable\r\n".to_vec();
    for (name, value) in UNAVAILABLE {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let rest = format!(
        "connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer.extend(rest.into_bytes());
    answer
}

/// [`unavailable`], for a connection that is not kept.
pub(crate) fn unavailable_and_close(reason: Reason) -> Response {
    let mut response = unavailable(reason);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

fn with_headers<const N: usize>(
    status: StatusCode,
    body: impl Into<Body>,
    headers: [(HeaderName, HeaderValue); N],
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}
