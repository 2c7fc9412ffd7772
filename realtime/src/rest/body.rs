//! Reading requests: bodies, queries and path segments, with problem documents for what is wrong.

use std::error::Error;

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, QueryRejection},
    },
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::errors::{Reason, Refusal};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes_of(request, state, &[JSON]).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A JSON merge patch of an object (RFC 7396).
pub(super) struct Patch(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Patch {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes_of(request, state, &[JSON, MERGE_PATCH]).await?;
        let patch = serde_json::from_slice(&bytes);
        let invalid =
            |error: serde_json::Error| Refusal::new(Reason::InvalidBody).detail(error.to_string());
        Ok(Self(patch.map_err(invalid)?))
    }
}

/// Query parameters.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        Ok(Self(query.map_err(|error| unfit_query(&error))?.0))
    }
}

/// Path segments. Ids that are none name nothing.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let segments = Path::<T>::from_request_parts(parts, state).await;
        let segments =
            segments.map_err(|error| Refusal::new(Reason::NotFound).detail(error.body_text()))?;
        Ok(Self(segments.0))
    }
}

/// A body of one of these types.
async fn bytes_of<S: Send + Sync>(
    request: Request,
    state: &S,
    types: &[&str],
) -> Result<Bytes, Problem> {
    if !is_one_of(types, request.headers()) {
        return Err(Reason::UnsupportedMediaType.into());
    }
    let bytes = Bytes::from_request(request, state).await;
    Ok(bytes.map_err(|rejection| unread(&rejection))?)
}

fn is_one_of(types: &[&str], headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    types.iter().any(|it| kind.eq_ignore_ascii_case(it))
}

fn unread(rejection: &BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Reason::PayloadTooLarge.into(),
        _ => Refusal::new(Reason::InvalidBody).detail(rejection.body_text()),
    }
}

/// JSON that is well-formed but does not fit names the field.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        match inner.is_data() {
            true => misfit(field, &inner.to_string()),
            false => Refusal::new(Reason::InvalidBody).detail(inner.to_string()),
        }
    })?;
    json.end()
        .map_err(|error| Refusal::new(Reason::InvalidBody).detail(error.to_string()))?;
    Ok(value)
}

/// Names the parameter, which is behind axum's own error.
fn unfit_query(rejection: &QueryRejection) -> Refusal {
    let mut cause: Option<&dyn Error> = Some(rejection);
    let mut misfitting = None;
    while let Some(error) = cause {
        misfitting = misfitting.or(error.downcast_ref::<Misfit>());
        cause = error.source();
    }
    match misfitting {
        Some(error) => misfit(error.path().to_string(), &error.inner().to_string()),
        None => Refusal::invalid_field("query", rejection.body_text()),
    }
}

/// What a parameter that does not fit is to the query's deserializer.
type Misfit = serde_path_to_error::Error<serde::de::value::Error>;

/// A missing field is named by the error, not by the path to it.
fn misfit(path: String, detail: &str) -> Refusal {
    let missing = detail
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    let field = match (missing, path.as_str()) {
        (Some(missing), ".") => missing.to_owned(),
        (Some(missing), path) => format!("{path}.{missing}"),
        (None, _) => path,
    };
    Refusal::invalid_field(field, detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only its parsing is of interest")]
        at: u8,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only its parsing is of interest")]
        list: Vec<Inner>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("{", Reason::InvalidBody, None),
            (r#"{"list": []} x"#, Reason::InvalidBody, None),
            ("{}", Reason::InvalidField, Some("list")),
            (r#"{"list": 7}"#, Reason::InvalidField, Some("list")),
            (
                r#"{"list": [{"at": 1}, {}]}"#,
                Reason::InvalidField,
                Some("list[1].at"),
            ),
            (
                r#"{"list": [{"at": 999}]}"#,
                Reason::InvalidField,
                Some("list[0].at"),
            ),
        ];
        for (body, reason, field) in table {
            let refusal = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.reason, reason, "{body}");
            assert_eq!(refusal.field.as_deref(), field, "{body}");
        }
    }

    #[tokio::test]
    async fn a_query_parameter_is_named() {
        #[derive(Debug, Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only its parsing is of interest")]
            q: String,
            #[expect(dead_code, reason = "only its parsing is of interest")]
            limit: Option<u8>,
        }
        for (query, field) in [("q=a&limit=many", "limit"), ("limit=1", "q"), ("", "q")] {
            let request = Request::builder()
                .uri(format!("/?{query}"))
                .body(())
                .unwrap();
            let (mut parts, ()) = request.into_parts();
            let read = Params::<Wanted>::from_request_parts(&mut parts, &()).await;
            let problem = read.map(|params| params.0).unwrap_err();
            assert_eq!(problem.0.field.as_deref(), Some(field), "{query}");
        }
    }
}
