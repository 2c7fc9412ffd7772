//! Every route, tried by everybody who has no business there: another tenant's person of the same
//! name, another tenant's administrator, somebody of the workspace who is not a member.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    conversations::group,
    kit::{Api, NO_CONTENT},
};
use crate::auth::{
    Grant,
    test_kit::{admin, member},
};

/// A route about a conversation, with a body that would do it for a member.
fn conversation_routes(id: &str) -> Vec<(String, Value)> {
    let at = |method: &str, rest: &str| format!("{method} /conversations/{id}{rest}");
    vec![
        (at("GET", ""), Value::Null),
        (at("GET", "/members"), Value::Null),
        (at("POST", "/members"), json!({"members": ["eve"]})),
        (at("PATCH", "/members/bob"), json!({"role": "owner"})),
        (at("DELETE", "/members/bob"), Value::Null),
        (at("POST", "/leave"), Value::Null),
        (at("GET", "/messages"), Value::Null),
        (at("POST", "/messages"), json!({"content": "x"})),
        (at("GET", "/messages/search?q=secret"), Value::Null),
        (at("GET", "/messages/scheduled"), Value::Null),
        (
            at(
                "DELETE",
                "/messages/scheduled/0197c2a0-0000-7000-8000-000000000000",
            ),
            Value::Null,
        ),
        (format!("GET /presence/typing/{id}"), Value::Null),
    ]
}

/// The routes of the matrix are those of the document that name a conversation: none is forgotten.
#[tokio::test]
async fn the_matrix_is_complete() {
    let api = Api::start().await;
    let document = api
        .call_unsigned("GET /openapi.json", Value::Null)
        .await
        .body;
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let mut tried: BTreeSet<_> = conversation_routes("{id}")
        .into_iter()
        .map(|(call, _)| {
            call.split('?')
                .next()
                .unwrap()
                .replace("/members/bob", "/members/{user}")
        })
        .map(|call| call.replace("/typing/{id}", "/typing/{conversation_id}"))
        .map(|call| match call.split_once("/scheduled/") {
            Some((before, _)) => format!("{before}/scheduled/{{message}}"),
            None => call,
        })
        .collect();
    let without_conversation = [
        "POST /conversations",
        "GET /conversations",
        "POST /auth/ticket",
        "POST /auth/logout",
        "POST /auth/revoke",
        "GET /admin/tree",
        "POST /admin/erasures",
        "GET /admin/erasures/{user}",
        "GET /users/me",
        "PATCH /users/me",
        "GET /users/me/overview",
        "POST /broadcast",
        "POST /users/{id}/block",
        "DELETE /users/{id}/block",
        "GET /presence/online",
        "GET /presence/{user_id}",
    ];
    tried.extend(without_conversation.map(String::from));
    assert_eq!(tried, described);
}

#[tokio::test]
async fn strangers_and_outsiders_reach_no_conversation() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    let secret = json!({"content": "secret"});
    api.call(&ada, &format!("POST /conversations/{id}/messages"), secret)
        .await;
    let not_found = (404, "conversation_not_found");
    let table: [(Grant, (u16, &str)); 5] = [
        (member("umbrella", "ada"), not_found),
        (member("umbrella", "bob"), not_found),
        (admin("umbrella", "ada"), not_found),
        (member("acme", "eve"), (403, "not_a_participant")),
        (admin("acme", "eve"), (403, "not_a_participant")),
    ];
    for (call, body) in conversation_routes(&id) {
        for (grant, expected) in &table {
            let refused = api.call(grant, &call, body.clone()).await;
            assert_eq!(refused.reason(), *expected, "{call} as {grant:?}");
            assert!(!refused.body.to_string().contains("secret"), "{call}");
        }
        let nowhere = call.replace(&id, "019f0000-0000-7000-8000-000000000000");
        let refused = api.call(&ada, &nowhere, body).await;
        assert_eq!(refused.reason(), not_found, "{nowhere}");
    }
    let members = api
        .call(
            &ada,
            &format!("GET /conversations/{id}/members"),
            Value::Null,
        )
        .await;
    assert_eq!(
        members.body["members"].as_array().unwrap().len(),
        2,
        "nothing has changed"
    );
    let shown = api
        .call(&ada, &format!("GET /conversations/{id}"), Value::Null)
        .await;
    assert_eq!(shown.body["conversation"]["last_seq"], 1);
}

#[tokio::test]
async fn a_persons_own_log_is_not_a_conversation_of_these_routes() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    group(&api, &ada, &["bob"]).await;
    let own = ada.person.own_conversation();
    let encoded = own.as_str().replace('\u{1f}', "%1F");
    for (call, body) in conversation_routes(&encoded) {
        let refused = api.call(&ada, &call, body).await;
        assert_eq!(refused.reason(), (404, "conversation_not_found"), "{call}");
    }
}

#[tokio::test]
async fn a_member_of_before_reaches_nothing_any_more() {
    let api = Api::start().await;
    let (ada, bob) = (member("acme", "ada"), member("acme", "bob"));
    let id = group(&api, &ada, &["bob"]).await;
    let left = api
        .call(
            &bob,
            &format!("POST /conversations/{id}/leave"),
            Value::Null,
        )
        .await;
    assert_eq!(left.status, NO_CONTENT);
    for (call, body) in conversation_routes(&id) {
        let refused = api.call(&bob, &call, body).await;
        assert_eq!(refused.reason(), (403, "not_a_participant"), "{call}");
    }
}

#[tokio::test]
async fn what_one_tenant_does_is_not_seen_by_the_other() {
    let api = Api::start().await;
    group(&api, &member("acme", "ada"), &["bob"]).await;
    let namesake = member("umbrella", "ada");
    let listed = api.call(&namesake, "GET /conversations", Value::Null).await;
    assert_eq!(listed.body, json!({"conversations": []}));
    api.call(&namesake, "POST /users/bob/block", Value::Null)
        .await;
    let direct = json!({"type": "direct", "members": ["bob"]});
    let begun = api
        .call(&member("acme", "ada"), "POST /conversations", direct)
        .await;
    assert_eq!(begun.status, 201, "the other tenant's block is not ours");
    api.call(
        &admin("umbrella", "root"),
        "POST /auth/revoke",
        json!({"user": "bob"}),
    )
    .await;
    let bob = api
        .call(&member("acme", "bob"), "GET /conversations", Value::Null)
        .await;
    assert_eq!(bob.status, 200, "the other tenant's revocation is not ours");
}

/// A tenant named in a body or a query is not looked at.
#[tokio::test]
async fn the_tenant_comes_from_the_token_only() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let body = json!({"type": "group", "members": ["bob"], "workspace": "umbrella"});
    let begun = api
        .call(&ada, "POST /conversations?workspace=umbrella", body)
        .await;
    let id = begun.body["conversation"]["id"].as_str().unwrap();
    let call = format!("GET /conversations/{id}");
    let shown = api.call(&member("acme", "bob"), &call, Value::Null).await;
    assert_eq!(shown.status, 200);
    let foreign = api
        .call(&member("umbrella", "bob"), &call, Value::Null)
        .await;
    assert_eq!(foreign.status, 404);
}
