//! Errors as problem documents (RFC 9457).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::errors::Refusal;

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Problem>;

/// A refusal on its way out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem(pub(super) Refusal);

impl<E: Into<Refusal>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// A refused request (RFC 9457). Branch on `reason`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument {
    /// Always `about:blank`: the reason says it all.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The status in words.
    pub(super) title: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// A row of docs/errors.md.
    pub(super) reason: &'static str,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// When trying again makes sense, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_ms: Option<u64>,
}

impl From<Refusal> for ProblemDocument {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.reason.status();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            reason: refusal.reason.as_str(),
            detail: refusal.detail,
            field: refusal.field.map(Into::into),
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.0.reason.status();
        let retry_after = self.0.retry_after_s();
        let mut response = (status, Json(ProblemDocument::from(self.0))).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        set(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after {
            set(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
