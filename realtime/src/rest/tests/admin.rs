//! The supervision tree, and who may see it.

use serde_json::Value;

use super::kit::Api;
use crate::auth::test_kit::{admin, member};

#[tokio::test]
async fn administrators_see_what_runs() {
    let api = Api::start().await;
    let shown = api
        .call(&admin("acme", "root"), "GET /admin/tree", Value::Null)
        .await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.header("cache-control"), "no-store");
    assert_eq!(shown.body["kind"], "supervisor");
    let children = shown.body["children"].as_array().unwrap();
    let named = |name: &str| children.iter().find(|child| child["name"] == name).unwrap();
    let conversations = named("conversations");
    let shard = &conversations["children"][0];
    assert_eq!(
        (&shard["kind"], &shard["state"]),
        (&"conversations".into(), &"running".into())
    );
    assert_eq!(
        (&shard["restarts"], &shard["queue_depth"]),
        (&0.into(), &0.into())
    );
    assert!(shard["age_ms"].is_u64());
}

#[tokio::test]
async fn nobody_else_does() {
    let api = Api::start().await;
    let refused = api
        .call(&member("acme", "ada"), "GET /admin/tree", Value::Null)
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    let refused = api.call_unsigned("GET /admin/tree", Value::Null).await;
    assert_eq!(refused.reason(), (401, "unauthorized"));
}
