//! The supervision tree and erasures, and who may see and ask for them.

use serde_json::Value;

use super::{conversations::group, kit::Api};
use crate::auth::test_kit::{admin, member, until};

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

#[tokio::test]
async fn administrators_erase_people_of_their_workspace() {
    let api = Api::start().await;
    let (root, ada) = (admin("acme", "root"), member("acme", "ada"));
    let id = group(&api, &ada, &["bob"]).await;
    let send = format!("POST /conversations/{id}/messages");
    let content = serde_json::json!({"content": "a secret of hers"});
    assert_eq!(api.call(&ada, &send, content).await.status, 201);
    let whom = serde_json::json!({"user": "ada"});
    let shown = "GET /admin/erasures/ada";

    let elsewhere = admin("umbrella", "root");
    let asked = api.call(&elsewhere, "POST /admin/erasures", whom.clone());
    assert_eq!(asked.await.status, 202, "there it is somebody else");
    let pending = api.call(&root, shown, Value::Null).await;
    assert_eq!(pending.body["pending"], false);

    let asked = api.call(&root, "POST /admin/erasures", whom).await;
    assert_eq!((asked.status, &asked.body["pending"]), (202, &true.into()));
    let refused = api.call(&ada, "GET /users/me", Value::Null).await;
    assert_eq!(refused.reason(), (401, "token_revoked"));
    until(async || {
        api.node.clock.advance_ms(1_000);
        let pending = api.call(&root, shown, Value::Null).await;
        pending.body["pending"] == false
    })
    .await;
    let history = format!("GET /conversations/{id}/messages");
    let history = api
        .call(&member("acme", "bob"), &history, Value::Null)
        .await;
    assert_eq!(history.body["messages"][0]["content"], Value::Null);
    assert_eq!(history.body["messages"][0]["deleted_reason"], "erased");
}

#[tokio::test]
async fn nobody_else_erases() {
    let api = Api::start().await;
    let calls = [
        ("POST /admin/erasures", serde_json::json!({"user": "ada"})),
        ("GET /admin/erasures/ada", Value::Null),
    ];
    for (call, body) in calls {
        let refused = api.call(&member("acme", "ada"), call, body.clone()).await;
        assert_eq!(refused.reason(), (403, "forbidden"), "{call}");
        let refused = api.call_unsigned(call, body).await;
        assert_eq!(refused.reason(), (401, "unauthorized"), "{call}");
    }
}
