//! Which pages may call: the same that may open sockets.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
        ORIGIN, VARY,
    },
    uri::Authority,
};

use super::{Rest, problem::Problem};
use crate::errors::Reason;

/// Answers preflights, refuses pages that are not listed, and lets listed ones read the answer.
/// Nothing here rests on cookies, so credentials are never allowed.
pub(super) async fn apply(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let mut response = match may_call(&rest, &origin, request.headers()) {
        false => return Problem::from(Reason::OriginRefused).into_response(),
        true if is_preflight(&request) => preflight(),
        true => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("etag, retry-after, x-request-id"),
    );
    response
}

fn may_call(rest: &Rest, origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // The policy compares names: a page of this host may come from any of its ports.
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let origin = origin.to_str().ok();
    origin.is_some()
        && rest
            .origins
            .allows(origin, host.as_ref().map(Authority::host))
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-match, x-request-id",
        ),
        (ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
