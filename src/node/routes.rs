//! What a node answers on its listeners.

use axum::{Router, middleware};
use quikapp_realtime::{page, rest, telemetry::Metrics};

use super::parts::Parts;

/// The main listener: sockets, REST, health and metrics, and the page in development mode.
pub(super) fn main(parts: &Parts, metrics: &Metrics) -> Router {
    let routes = admin(parts, metrics).merge(rest::router(&parts.rest()));
    match parts.development {
        true => routes
            .merge(page::router())
            .layer(middleware::from_fn(rest::refuse_strangers)),
        false => routes,
    }
}

/// The administrative listener: health and metrics.
pub(super) fn admin(parts: &Parts, metrics: &Metrics) -> Router {
    parts.health.routes().merge(metrics.routes())
}
