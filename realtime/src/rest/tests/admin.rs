//! The supervision tree, erasures and releases, and who may see and ask for them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use quikapp_actors::supervision::ChildSpec;
use serde_json::{Value, json};

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

/// Restarts, what waits, the age and the reason of a failure are those of the child.
#[tokio::test]
async fn administrators_see_what_has_failed_and_what_waits() {
    let api = Api::start().await;
    let is_first = Arc::new(AtomicBool::new(true));
    let poll = ChildSpec::task("poll", "poll", move |stop| {
        let is_first = is_first.clone();
        async move {
            assert!(!is_first.swap(false, Ordering::SeqCst), "the first time");
            stop.cancelled().await;
        }
    });
    api.tree.launch(poll.queue(|| 7));
    let shown = async || {
        let root = admin("acme", "root");
        let shown = api.call(&root, "GET /admin/tree", Value::Null).await.body;
        let mut children = shown["children"].as_array().unwrap().iter();
        children.find(|it| it["name"] == "poll").cloned()
    };
    until(async || {
        let poll = shown().await.unwrap_or_default();
        poll["restarts"] == 1 && poll["state"] == "running" && poll["age_ms"].as_u64() > Some(0)
    })
    .await;
    let poll = shown().await.unwrap();
    assert_eq!(poll["queue_depth"], 7);
    assert_eq!(poll["last_failure"], "the first time");
}

/// Somebody whose entity keeps failing is left alone, until an administrator of theirs has mended
/// what was wrong and says so.
#[tokio::test]
async fn administrators_release_people_of_their_workspace_from_quarantine() {
    let api = Api::start().await;
    let (root, ada) = (admin("acme", "root"), member("acme", "ada"));
    let status = async || {
        let overview = api.call(&ada, "GET /users/me/overview", Value::Null);
        overview.await.status
    };
    assert_eq!(status().await, 200);
    api.is_broken.store(true, Ordering::SeqCst);
    assert_eq!(status().await, 503, "it fails");
    until(async || {
        let tree = api.call(&root, "GET /admin/tree", Value::Null).await.body;
        status().await == 503 && tree.to_string().contains("\"quarantined\"")
    })
    .await;
    api.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(status().await, 503, "it is left alone");

    let release = async |who| {
        let whom = json!({"kind": "user", "id": "ada"});
        let asked = api.call(who, "POST /admin/releases", whom).await;
        assert_eq!(asked.status, 200, "{:?}", asked.body);
        assert_eq!(
            (&asked.body["kind"], &asked.body["id"]),
            (&json!("user"), &json!("ada"))
        );
        asked.body["released"].as_bool().unwrap()
    };
    let elsewhere = admin("umbrella", "root");
    assert!(!release(&elsewhere).await, "there it is somebody else");
    assert_eq!(status().await, 503);
    assert!(release(&root).await);
    assert_eq!(status().await, 200);
    assert!(!release(&root).await, "they are out already");

    let unknown = json!({"kind": "call", "id": "ada"});
    let refused = api.call(&root, "POST /admin/releases", unknown).await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
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
async fn nobody_else_erases_or_releases() {
    let api = Api::start().await;
    let calls = [
        ("POST /admin/erasures", serde_json::json!({"user": "ada"})),
        ("GET /admin/erasures/ada", Value::Null),
        ("POST /admin/releases", json!({"kind": "user", "id": "ada"})),
    ];
    for (call, body) in calls {
        let refused = api.call(&member("acme", "ada"), call, body.clone()).await;
        assert_eq!(refused.reason(), (403, "forbidden"), "{call}");
        let refused = api.call_unsigned(call, body).await;
        assert_eq!(refused.reason(), (401, "unauthorized"), "{call}");
    }
}
