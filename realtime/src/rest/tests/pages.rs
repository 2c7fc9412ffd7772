//! What browsers see: origins, development mode, the page of the API.

use axum::{Router, body::Body, middleware, routing::get};
use http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::kit::{Api, Options, request};
use crate::{auth::test_kit::member, endpoint::OriginPolicy, rest::refuse_strangers};

async fn listed() -> Api {
    Api::with(Options {
        origins: serde_json::from_value(serde_json::json!(["https://app.example"])).unwrap(),
        ..Options::default()
    })
    .await
}

fn from_page(api: &Api, origin: &str) -> Request<Body> {
    let token = api.node.token(&member("acme", "ada"));
    let mut request = request("GET /presence/online", Some(&token), &Value::Null);
    let headers = request.headers_mut();
    headers.insert("origin", origin.parse().unwrap());
    headers.insert("host", "api.example".parse().unwrap());
    request
}

#[tokio::test]
async fn pages_of_the_list_may_read_answers_and_others_are_refused() {
    let api = listed().await;
    let answer = api.send(from_page(&api, "https://app.example")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(answer.header("vary"), "origin");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.contains("etag"), "{exposed}");
    let evil = [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "http://app.example",
        "null",
        "file://",
    ];
    for origin in evil {
        let answer = api.send(from_page(&api, origin)).await;
        assert_eq!(answer.reason(), (403, "origin_refused"), "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn pages_of_the_own_host_may_call_from_any_port() {
    let api = Api::with(Options {
        origins: OriginPolicy::OwnHost,
        ..Options::default()
    })
    .await;
    let from = |origin: &str, host: &str| {
        let mut request = from_page(&api, origin);
        request.headers_mut().insert("host", host.parse().unwrap());
        api.send(request)
    };
    let own = "127.0.0.1:4000";
    assert_eq!(from("http://127.0.0.1:4000", own).await.status, 200);
    assert_eq!(from("http://127.0.0.1:8080", own).await.status, 200);
    assert_eq!(from("http://[::1]:4000", "[::1]:4000").await.status, 200);
    assert_eq!(from("http://evil.example:4000", own).await.status, 403);
    assert_eq!(from("null", own).await.status, 403);
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token() {
    let api = listed().await;
    let preflight = |origin: &str| {
        Request::options("/api/conversations")
            .header("origin", origin)
            .header("host", "api.example")
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap()
    };
    let answer = api.send(preflight("https://app.example")).await;
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers");
    for header in ["authorization", "if-match"] {
        assert!(allowed.contains(header), "{header} of {allowed}");
    }
    assert_eq!(
        api.send(preflight("https://evil.example")).await.status,
        403
    );
}

#[tokio::test]
async fn in_development_mode_proxies_and_other_hosts_are_refused() {
    let router = Router::new()
        .route("/api/x", get(async || "ok"))
        .layer(middleware::from_fn(refuse_strangers));
    let status = async |headers: &[(&str, &str)]| {
        let mut request = Request::get("/api/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status(&[("host", "localhost:4000")]).await, 200);
    assert_eq!(status(&[("host", "rebound.example")]).await, 403);
    assert_eq!(
        status(&[("host", "localhost"), ("x-forwarded-for", "1.2.3.4")]).await,
        403
    );
}

#[tokio::test]
async fn the_page_of_the_api_is_served_with_its_document() {
    let api = Api::start().await;
    let page = api.call_unsigned("GET /docs/", Value::Null).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html")
    );
    assert_eq!(
        api.call_unsigned("GET /docs", Value::Null)
            .await
            .header("location"),
        "docs/"
    );
    assert_eq!(
        api.call_unsigned("GET /docs/nothing", Value::Null)
            .await
            .reason(),
        (404, "not_found")
    );
    let script = api
        .call_unsigned("GET /docs/swagger-initializer.js", Value::Null)
        .await;
    assert_eq!(script.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let unknown = api.call(&ada, "GET /nothing", Value::Null).await;
    assert_eq!(unknown.reason(), (404, "not_found"));
    let method = api.call(&ada, "PUT /auth/logout", Value::Null).await;
    assert_eq!(method.reason(), (405, "method_not_allowed"));
    assert_eq!(method.header("allow"), "POST");
}

#[tokio::test]
async fn the_routes_answer_under_both_names_and_keys_are_published() {
    let api = Api::start().await;
    let alias = Request::get("/api/realtime/presence/online")
        .body(Body::empty())
        .unwrap();
    assert_eq!(api.send(alias).await.reason(), (401, "unauthorized"));
    let keys = Request::get("/.well-known/jwks.json")
        .body(Body::empty())
        .unwrap();
    assert_eq!(api.send(keys).await.body, serde_json::json!({"keys": []}));
}
