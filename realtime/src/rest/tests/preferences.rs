//! What one prefers: read, changed by merge patches, and told to one's devices.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::kit::{Answered, Api};
use crate::auth::{
    Grant,
    test_kit::{admin, member, person},
};

const PATH: &str = "/users/me/preferences";

async fn show(api: &Api, who: &Grant) -> Answered {
    api.call(who, &format!("GET {PATH}"), Value::Null).await
}

async fn change(api: &Api, who: &Grant, patch: Value) -> Answered {
    api.call(who, &format!("PATCH {PATH}"), patch).await
}

/// A change with these headers.
async fn change_with(api: &Api, who: &Grant, headers: &[(&str, &str)], patch: &str) -> Answered {
    let mut request = Request::patch(format!("/api{PATH}"))
        .header("authorization", format!("Bearer {}", api.node.token(who)));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request.body(Body::from(patch.to_owned())).unwrap())
        .await
}

#[tokio::test]
async fn preferences_are_shown_with_their_defaults_and_changed_by_patches() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let defaults = json!({
        "notify": "all", "threads": true, "previews": "full",
        "quiet_hours": null, "locale": null, "app": null,
    });
    let unchanged = show(&api, &ada).await;
    assert_eq!(unchanged.status, 200);
    assert_eq!(
        unchanged.body,
        json!({"version": 0, "preferences": defaults})
    );
    assert_eq!(unchanged.header("etag"), "\"0\"");
    let patch = json!({
        "previews": "sender",
        "quietHours": {"from": "22:00", "to": "07:00", "timeZone": "europe/berlin"},
        "app": {"theme": "dark"},
    });
    let changed = change(&api, &ada, patch).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    let hours = json!({
        "from": "22:00", "to": "07:00", "time_zone": "Europe/Berlin",
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    });
    let expected = json!({
        "notify": "all", "threads": true, "previews": "sender",
        "quiet_hours": hours, "locale": null, "app": {"theme": "dark"},
    });
    assert_eq!(changed.body, json!({"version": 1, "preferences": expected}));
    assert_eq!(changed.header("etag"), "\"1\"");
    assert_eq!(show(&api, &ada).await.body, changed.body);
    let again = change(&api, &ada, json!({"previews": "sender"})).await;
    assert_eq!(again.body, changed.body, "nothing has changed");
    let restored = json!({"previews": null, "quiet_hours": null, "app": null});
    let restored = change(&api, &ada, restored).await;
    assert_eq!(
        restored.body,
        json!({"version": 2, "preferences": defaults})
    );
    let others = show(&api, &member("umbrella", "ada")).await;
    assert_eq!(others.body["version"], 0, "a namesake's are theirs");
}

#[tokio::test]
async fn each_change_is_told_once_and_in_order() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let cursor = api.node.store.cursor_now().await.unwrap();
    for locale in ["de", "en", "en", "fr"] {
        let changed = change(&api, &ada, json!({"locale": locale})).await;
        assert_eq!(changed.status, 200, "{:?}", changed.body);
    }
    let own = person("acme", "ada");
    let missed = api.node.store.missed(&own, &cursor, 10).await.unwrap();
    let told: Vec<Value> = missed
        .entries
        .iter()
        .map(|(_, entry)| serde_json::from_str(&entry.payload).unwrap())
        .collect();
    assert!(told.iter().all(|it| it["event"] == "preferences:changed"));
    let told: Vec<_> = told
        .iter()
        .map(|it| &it["payload"])
        .map(|it| (it["version"].as_u64(), &it["preferences"]["locale"]))
        .collect();
    let expected = ["de", "en", "fr"].map(|it| json!(it));
    let expected: Vec<_> = (1..).map(Some).zip(&expected).collect();
    assert_eq!(told, expected);
}

/// Two devices that set different things at once lose nothing.
#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let changes = (0..8).map(|n| {
        let patch = json!({"app": {format!("key{n}"): n}});
        change(&api, &ada, patch)
    });
    for changed in futures_util::future::join_all(changes).await {
        assert_eq!(changed.status, 200, "{:?}", changed.body);
    }
    let found = show(&api, &ada).await.body;
    assert_eq!(found["version"], 8);
    assert_eq!(found["preferences"]["app"].as_object().unwrap().len(), 8);
}

#[tokio::test]
async fn a_change_may_be_meant_for_one_version() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let json = ("content-type", "application/json");
    let table = [
        ("\"1\"", 412),
        ("\"0\"", 200),
        ("\"0\"", 412),
        ("W/\"1\"", 412),
        ("1", 412),
        ("\"01\"", 412),
        ("\"7\", \"1\"", 200),
        ("*", 200),
    ];
    for (nth, (tags, status)) in table.into_iter().enumerate() {
        let patch = json!({"app": {"nth": nth}}).to_string();
        let changed = change_with(&api, &ada, &[json, ("if-match", tags)], &patch).await;
        assert_eq!(changed.status, status, "{nth}: {tags}");
        if status == 412 {
            assert_eq!(changed.reason(), (412, "version_mismatch"));
        }
    }
    let found = show(&api, &ada).await;
    assert_eq!(
        (&found.body["version"], found.header("etag")),
        (&json!(3), "\"3\"")
    );
    let same = json!({"app": {"nth": 7}}).to_string();
    let behind = change_with(&api, &ada, &[json, ("if-match", "\"2\"")], &same).await;
    assert_eq!(behind.status, 412, "also where nothing would change");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    for (patch, field) in [
        (json!({"loudness": 11}), "loudness"),
        (json!({"notify": "loud"}), "notify"),
        (
            json!({"locale": "de", "quiet_hours": {"from": "25:00"}}),
            "quiet_hours.from",
        ),
        (
            json!({"quiet_hours": {"until": "08:00"}}),
            "quiet_hours.until",
        ),
    ] {
        let refused = change(&api, &ada, patch.clone()).await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{patch}");
        assert_eq!(refused.body["field"], field, "{patch}");
    }
    let merge_patch = (
        "content-type",
        "application/merge-patch+json; charset=utf-8",
    );
    let table = [
        (
            ("content-type", "text/plain"),
            "{}",
            (415, "unsupported_media_type"),
        ),
        (
            ("content-type", "application/json-patch+json"),
            "[]",
            (415, "unsupported_media_type"),
        ),
        (merge_patch, "{", (400, "invalid_body")),
        (merge_patch, "[]", (400, "invalid_body")),
        (merge_patch, "null", (400, "invalid_body")),
    ];
    for (kind, body, reason) in table {
        let refused = change_with(&api, &ada, &[kind], body).await;
        assert_eq!(refused.reason(), reason, "{kind:?} {body}");
    }
    assert_eq!(show(&api, &ada).await.body["version"], 0);
    let changed = change_with(&api, &ada, &[merge_patch], r#"{"locale": "de"}"#).await;
    assert_eq!(changed.status, 200);
}

/// The form in the document is that of what is answered.
#[tokio::test]
async fn the_described_form_is_the_real_one() {
    let api = Api::start().await;
    let document = api
        .call_unsigned("GET /openapi.json", Value::Null)
        .await
        .body;
    let patch = json!({"quiet_hours": {"from": "22:00", "to": "07:00", "time_zone": "UTC"}});
    let shown = change(&api, &admin("acme", "root"), patch).await.body;
    let shown = &shown["preferences"];
    for (form, shown) in [
        ("Preferences", shown),
        ("QuietHours", &shown["quiet_hours"]),
    ] {
        let form = &document["components"]["schemas"][form]["properties"];
        let names = |object: &Value| {
            let mut names: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(form), names(shown));
    }
    let patch = &document["paths"]["/users/me/preferences"]["patch"];
    let types = patch["requestBody"]["content"].as_object().unwrap();
    for kind in ["application/json", "application/merge-patch+json"] {
        assert!(types.contains_key(kind), "{kind}");
    }
}
