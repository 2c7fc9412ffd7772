//! The few plain answers that the endpoint itself gives.

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
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

const CLOSE: HeaderValue = HeaderValue::from_static("close");

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

/// [`unavailable_and_close`] as it goes over the wire, for a client whose request is not read.
pub(crate) fn unavailable_in_bytes(reason: Reason) -> Vec<u8> {
    let body = unavailable_body(reason);
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = with_headers(status, Body::empty(), UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, CLOSE);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut answer = head(&response);
    answer.extend_from_slice(body.as_bytes());
    answer
}

/// The head of a response as it goes over the wire (RFC 9112, section 2), where hyper has no part
/// in it.
pub(crate) fn head(response: &Response) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = Vec::with_capacity(512);
    let status = [
        b"HTTP/1.1 ",
        status.as_str().as_bytes(),
        b" ",
        reason.as_bytes(),
        b"\r\n",
    ];
    status.iter().for_each(|part| head.extend_from_slice(part));
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// [`unavailable`], for a connection that is not kept.
pub(crate) fn unavailable_and_close(reason: Reason) -> Response {
    let mut response = unavailable(reason);
    response.headers_mut().insert(CONNECTION, CLOSE);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::header::{SERVER, UPGRADE};

    use super::*;

    #[test]
    fn a_head_says_what_the_response_does() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SERVER, HeaderValue::from_bytes(b"\xff").unwrap());
        let expected: &[u8] =
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nserver: \xff\r\n\r\n";
        assert_eq!(head(&response), expected);
    }
}
