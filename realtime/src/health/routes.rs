//! The four views.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

use super::{Checked, Health};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

impl Health {
    /// `/health`, `/health/ready`, `/health/live` and `/actuator/health`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/health", get(overview))
            .route("/health/ready", get(ready))
            .route("/health/live", get(live))
            .route("/actuator/health", get(actuator))
            .with_state(self.clone())
    }

    fn stats(&self) -> Map<String, Value> {
        let read = |stat: &super::Stat| (stat.name.to_owned(), (stat.read)().into());
        self.0.stats.iter().map(read).collect()
    }
}

/// Answers 200 whatever it finds: the process is there and talks.
async fn overview(State(health): State<Health>) -> Response {
    let checked = health.check().await;
    let status = match (health.is_draining(), all_up(&checked)) {
        (true, _) => "draining",
        (false, true) => "ok",
        (false, false) => "degraded",
    };
    let body = json!({
        "status": status,
        "service": "quikapp",
        "version": health.0.version,
        "timestamp": health.0.clock.now(),
        "node": health.0.name,
        "cluster": {"nodes": [health.0.name], "connected": 1},
        "dependencies": dependencies(&checked),
        "stats": health.stats(),
    });
    answer(StatusCode::OK, body)
}

async fn ready(State(health): State<Health>) -> Response {
    let checked = health.check().await;
    let is_ready = !health.is_draining() && all_enough(&checked);
    let body = json!({
        "status": if is_ready { "ready" } else { "not_ready" },
        "draining": health.is_draining(),
        "dependencies": dependencies(&checked),
    });
    answer(ok_or_unavailable(is_ready), body)
}

/// Depends on nothing: a restart would not bring a dependency back.
async fn live() -> Response {
    answer(StatusCode::OK, json!({"status": "alive"}))
}

async fn actuator(State(health): State<Health>) -> Response {
    let checked = health.check().await;
    let is_up = all_enough(&checked);
    let components: Map<String, Value> = checked
        .iter()
        .map(|(name, checked)| ((*name).to_owned(), component(checked)))
        .collect();
    let status = match (health.is_draining(), is_up) {
        (true, _) => "OUT_OF_SERVICE",
        (false, up) => up_or_down(up),
    };
    let body = json!({"status": status, "components": components});
    answer(ok_or_unavailable(status == "UP"), body)
}

fn dependencies(checked: &[(&str, Checked)]) -> Map<String, Value> {
    let entry = |(name, checked): &(&str, Checked)| {
        let mut state = json!({
            "status": up_or_down(checked.is_up()).to_lowercase(),
            "latency_ms": latency_ms(checked),
        });
        if let Some(problem) = &checked.problem {
            state["error"] = problem.as_str().into();
        }
        if checked.is_optional {
            state["optional"] = true.into();
        }
        ((*name).to_owned(), state)
    };
    checked.iter().map(entry).collect()
}

fn component(checked: &Checked) -> Value {
    let mut details = json!({"latency_ms": latency_ms(checked)});
    if let Some(problem) = &checked.problem {
        details["error"] = problem.as_str().into();
    }
    json!({"status": up_or_down(checked.is_up()), "details": details})
}

fn all_up(checked: &[(&str, Checked)]) -> bool {
    checked.iter().all(|(_, checked)| checked.is_up())
}

/// Whether the node can work; what it goes on without may be down.
fn all_enough(checked: &[(&str, Checked)]) -> bool {
    checked.iter().all(|(_, checked)| checked.is_enough())
}

fn up_or_down(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}

fn ok_or_unavailable(is_ok: bool) -> StatusCode {
    if is_ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Milliseconds with three decimals.
fn latency_ms(checked: &Checked) -> f64 {
    (checked.latency.as_secs_f64() * 1e6).round() / 1e3
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, NO_STORE)], Json(body)).into_response()
}
