//! The OpenAPI document and the routes are the same list, and none is open by mistake.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kit::{Api, Options};
use crate::auth::test_kit::member;

/// Routes that answer without a token.
const OPEN: [&str; 1] = ["POST /auth/guest"];

async fn development() -> Api {
    Api::with(Options {
        development: true,
        ..Options::default()
    })
    .await
}

/// Every operation of the document, as `GET /path`.
async fn operations(api: &Api) -> BTreeSet<String> {
    let document = api
        .call_unsigned("GET /openapi.json", Value::Null)
        .await
        .body;
    let paths = document["paths"].as_object().unwrap().clone();
    let methods = |(path, item): (String, Value)| {
        let methods = item
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>();
        let name = move |method: String| format!("{} {path}", method.to_uppercase());
        methods.into_iter().map(name)
    };
    paths.into_iter().flat_map(methods).collect()
}

#[tokio::test]
async fn every_route_of_the_document_wants_a_token_but_the_named_ones() {
    let api = development().await;
    let operations = operations(&api).await;
    assert!(operations.len() > 20);
    for operation in operations {
        let call = operation.replace(['{', '}'], "");
        let answer = api.call_unsigned(&call, json!({})).await;
        if OPEN.contains(&operation.as_str()) {
            assert_ne!(answer.status, 401, "{operation}");
        } else {
            assert_eq!(answer.reason(), (401, "unauthorized"), "{operation}");
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{operation}");
        }
    }
}

/// The sources name the routes once more; the document has them all.
#[tokio::test]
async fn every_described_handler_is_in_the_document() {
    let api = development().await;
    let operations = operations(&api).await;
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rest");
    let mut described = BTreeSet::new();
    for file in std::fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            for attribute in text.split("#[utoipa::path(").skip(1) {
                let (method, rest) = attribute.trim_start().split_once(',').unwrap();
                let route = rest.split('"').nth(1).unwrap();
                described.insert(format!("{} {route}", method.to_uppercase()));
            }
        }
    }
    assert_eq!(described, operations);
}

#[tokio::test]
async fn every_operation_says_what_it_answers_and_refuses() {
    let api = development().await;
    let document = api
        .call_unsigned("GET /openapi.json", Value::Null)
        .await
        .body;
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let has = |from: &str, to: &str| {
                responses
                    .keys()
                    .any(|status| from <= status.as_str() && status.as_str() < to)
            };
            assert!(has("200", "300") && has("400", "600"), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
    let references = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for part in references.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(
            schemas.contains_key(name),
            "{name} is referred to and not described"
        );
    }
}

#[tokio::test]
async fn a_token_that_has_ended_opens_no_route() {
    let api = development().await;
    let ada = member("acme", "ada");
    let token = api.node.token(&ada);
    api.node.clock.advance_ms(3_600_000);
    for operation in operations(&api).await {
        if OPEN.contains(&operation.as_str()) {
            continue;
        }
        let call = operation.replace(['{', '}'], "");
        let request = super::kit::request(&call, Some(&token), &json!({}));
        assert_eq!(
            api.send(request).await.reason(),
            (401, "token_expired"),
            "{operation}"
        );
    }
}
