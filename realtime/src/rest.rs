//! REST beside the sockets, under `/api` and `/api/realtime`.
//!
//! Every route authenticates a bearer token, asks the [policy](crate::policy), and answers errors
//! as problem documents. Routes are registered together with their description, so that the
//! OpenAPI document at `/api/openapi.json` cannot lack one.

mod account;
mod admin;
mod blocks;
mod body;
mod broadcast;
mod config;
mod conversations;
mod cors;
mod cursor;
mod development;
mod devices;
mod docs;
mod identity;
mod keys;
mod members;
mod messages;
mod overview;
mod preferences;
mod presence;
mod problem;
mod scheduled;
mod state;

pub use config::Config;
pub(crate) use development::is_direct;
pub use development::refuse_strangers;
pub use state::{Rest, RestParts};

use axum::{Router, extract::DefaultBodyLimit, middleware, response::Response};
use http::{HeaderValue, header::CACHE_CONTROL};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::errors::Reason;
use problem::Problem;

/// All routes, at `/api`, `/api/realtime` and `/.well-known`.
pub fn router(rest: &Rest) -> Router {
    let (routes, document) = documented(rest).split_for_parts();
    let api = routes
        .layer(middleware::map_response(not_stored))
        .merge(docs::router(document))
        .fallback(async || Problem::from(Reason::NotFound))
        .method_not_allowed_fallback(async || Problem::from(Reason::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(rest.config.max_body()))
        .layer(middleware::from_fn_with_state(rest.clone(), cors::apply))
        .with_state(rest.clone());
    Router::new()
        .nest("/api/realtime", api.clone())
        .nest("/api", api)
        .merge(keys::router(rest))
}

/// Answers hold tokens and messages: no cache may keep them.
async fn not_stored(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// The routes and their description. Guests sign in only in development mode.
fn documented(rest: &Rest) -> OpenApiRouter<Rest> {
    let routes = OpenApiRouter::with_openapi(docs::document())
        .routes(routes!(account::ticket))
        .routes(routes!(account::revoke))
        .routes(routes!(account::logout))
        .routes(routes!(admin::tree))
        .routes(routes!(admin::erase))
        .routes(routes!(admin::erasure))
        .routes(routes!(admin::release))
        .routes(routes!(account::profile, account::change_profile))
        .routes(routes!(preferences::show, preferences::change))
        .routes(routes!(overview::show))
        .routes(routes!(devices::list, devices::register))
        .routes(routes!(devices::update, devices::remove))
        .routes(routes!(devices::heartbeat))
        .routes(routes!(conversations::list, conversations::create))
        .routes(routes!(conversations::show, conversations::rename))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::set_role, members::remove))
        .routes(routes!(members::leave))
        .routes(routes!(messages::history, messages::send))
        .routes(routes!(messages::search))
        .routes(routes!(scheduled::list))
        .routes(routes!(scheduled::cancel))
        .routes(routes!(broadcast::broadcast))
        .routes(routes!(blocks::block, blocks::unblock))
        .routes(routes!(presence::online))
        .routes(routes!(presence::of_user))
        .routes(routes!(presence::typing));
    match rest.development {
        true => routes.routes(routes!(account::guest)),
        false => routes,
    }
}

#[cfg(test)]
mod tests;
