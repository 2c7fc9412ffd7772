//! The OpenAPI document, and a page to try it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::header::CONTENT_TYPE;
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Document,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{Rest, problem::Problem};
use crate::errors::Reason;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "QuikApp",
        description = "REST beside the sockets. A token is sent as `Authorization: Bearer`; what it \
                       may do follows from its claims. Errors are problem documents whose `reason` \
                       stands in docs/errors.md.",
        license(name = "MIT OR Apache-2.0"),
    ),
    servers((url = "/api"), (url = "/api/realtime")),
    security(("token" = [])),
)]
struct Api;

/// The document without its routes.
pub(super) fn document() -> Document {
    let mut document = Api::openapi();
    let token = SecurityScheme::Http(
        Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build(),
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", token);
    document
}

/// `openapi.json` and `docs/`.
pub(super) fn router(document: Document) -> Router<Rest> {
    let document = Arc::new(document);
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        .route("/docs", get(async || Redirect::permanent("docs/")))
        .route("/docs/", get(async || file("index.html")))
        .route(
            "/docs/{*file}",
            get(async |Path(name): Path<String>| file(&name)),
        )
}

fn file(name: &str) -> Response {
    let config = utoipa_swagger_ui::Config::new(["../openapi.json"]);
    match utoipa_swagger_ui::serve(name, Arc::new(config)) {
        Ok(Some(file)) => ([(CONTENT_TYPE, file.content_type)], file.bytes).into_response(),
        Ok(None) => Problem::from(Reason::NotFound).into_response(),
        Err(error) => {
            tracing::error!(%error, "a file of the API page cannot be served");
            Problem::from(Reason::Internal).into_response()
        }
    }
}
