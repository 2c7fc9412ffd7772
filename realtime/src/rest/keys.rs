//! `/.well-known/jwks.json`.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::Value;

use super::Rest;

pub(super) fn router(rest: &Rest) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(published))
        .with_state(rest.clone())
}

async fn published(State(rest): State<Rest>) -> Json<Value> {
    Json(rest.authenticator.tokens.published_keys())
}
