#![allow(clippy::unwrap_used)]
use std::{sync::atomic::AtomicUsize, time::Duration};

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use quikapp_actors::clock::ManualClock;
use quikapp_storage::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

fn builder() -> HealthBuilder {
    Health::of_node("n1", Arc::new(ManualClock::at(Timestamp(0)))).stat("connections", || 7)
}

async fn get(routes: &Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_well_node_says_so_in_every_view() {
    let health = builder().probe("store", async || Ok(())).build();
    let routes = health.routes();
    let (status, body) = get(&routes, "/health").await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &"ok".into()));
    assert_eq!(body["node"], "n1");
    assert_eq!(body["timestamp"], "1970-01-01T00:00:00.000Z");
    assert_eq!(body["stats"]["connections"], 7);
    assert_eq!(body["dependencies"]["store"]["status"], "up");
    assert!(body["dependencies"]["store"]["latency_ms"].is_number());
    assert_eq!(get(&routes, "/health/ready").await.0, StatusCode::OK);
    assert_eq!(get(&routes, "/health/live").await.0, StatusCode::OK);
    let (_, body) = get(&routes, "/actuator/health").await;
    assert_eq!(body["status"], "UP");
    assert_eq!(body["components"]["store"]["status"], "UP");
}

#[tokio::test]
async fn a_failing_dependency_makes_the_node_unready_but_alive() {
    let full = async || Err("disk full".to_owned());
    let health = builder().probe("store", full).build();
    let routes = health.routes();
    let (status, body) = get(&routes, "/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["dependencies"]["store"]["error"], "disk full");
    assert_eq!(get(&routes, "/health").await.1["status"], "degraded");
    assert_eq!(get(&routes, "/health/live").await.0, StatusCode::OK);
    let (status, body) = get(&routes, "/actuator/health").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["status"], "DOWN");
    assert!(!health.is_ready().await);
}

#[tokio::test]
async fn what_the_node_goes_on_without_is_shown_and_leaves_it_ready() {
    let away = async || Err("redis is away".to_owned());
    let health = builder()
        .probe("store", async || Ok(()))
        .optional_probe("redis", away)
        .build();
    let routes = health.routes();
    let (status, body) = get(&routes, "/health/ready").await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &"ready".into()));
    assert_eq!(body["dependencies"]["redis"]["status"], "down");
    assert_eq!(body["dependencies"]["redis"]["error"], "redis is away");
    assert_eq!(body["dependencies"]["redis"]["optional"], true);
    assert_eq!(get(&routes, "/health").await.1["status"], "degraded");
    assert_eq!(get(&routes, "/actuator/health").await.0, StatusCode::OK);
    assert!(health.is_ready().await);
}

#[tokio::test]
async fn draining_is_not_ready() {
    let health = builder().probe("store", async || Ok(())).build();
    assert!(health.is_ready().await);
    health.start_draining();
    let (status, body) = get(&health.routes(), "/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["draining"], true);
    assert_eq!(
        get(&health.routes(), "/health").await.1["status"],
        "draining"
    );
}

#[tokio::test(start_paused = true)]
async fn results_are_kept_for_a_second_and_a_recovery_shows() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let first_fails = move || {
        let nth = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if nth == 0 {
                Err("down".to_owned())
            } else {
                Ok(())
            }
        }
    };
    let health = builder().probe("store", first_fails).build();
    assert!(!health.is_ready().await);
    assert!(!health.is_ready().await);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert!(health.is_ready().await);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_dependency_is_down_after_two_seconds() {
    let health = builder().probe("store", std::future::pending).build();
    let began = tokio::time::Instant::now();
    let checked = health.check().await;
    assert_eq!(checked[0].1.problem.as_deref(), Some("no answer in time"));
    assert_eq!(began.elapsed().as_secs(), 2);
}
