//! Every route, tried by everybody who has no business there: another tenant's person of the same
//! name, another tenant's administrator, somebody of the workspace who is not a member.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    conversations::group,
    kit::{Api, NO_CONTENT, Options},
    people::{connect, enter},
};
use crate::{
    auth::{
        AccountRole, Grant,
        test_kit::{admin, member},
    },
    policy::{self, OpenRooms},
};

/// A route about a conversation, with a body that would do it for a member.
fn conversation_routes(id: &str) -> Vec<(String, Value)> {
    let at = |method: &str, rest: &str| format!("{method} /conversations/{id}{rest}");
    vec![
        (at("GET", ""), Value::Null),
        (at("PATCH", ""), json!({"name": "x"})),
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

/// A route that names no conversation.
struct Tried {
    call: &'static str,
    body: Value,
    /// What a member is answered, and an administrator.
    statuses: [u16; 2],
}

/// All of them, in an order in which each can succeed.
fn without_conversation() -> Vec<Tried> {
    let row = |call, body, statuses| Tried {
        call,
        body,
        statuses,
    };
    let said = json!({"topic": "broadcast:game", "event": "move", "payload": {}});
    let begun = json!({"type": "group", "members": ["carl"]});
    let phone = json!({"device_id": "tablet", "platform": "ios"});
    vec![
        row("POST /conversations", begun, [201, 201]),
        row("GET /conversations", Value::Null, [200, 200]),
        row("GET /users/me", Value::Null, [200, 200]),
        row("PATCH /users/me", json!({"name": "renamed"}), [200, 200]),
        row("GET /users/me/preferences", Value::Null, [200, 200]),
        row(
            "PATCH /users/me/preferences",
            json!({"locale": "en"}),
            [200, 200],
        ),
        row("GET /users/me/overview", Value::Null, [200, 200]),
        row("GET /devices", Value::Null, [200, 200]),
        row("POST /devices", phone, [201, 201]),
        row("PATCH /devices/tablet", json!({"name": "mine"}), [200, 200]),
        row("POST /devices/tablet/heartbeat", Value::Null, [204, 204]),
        row("DELETE /devices/tablet", Value::Null, [204, 204]),
        row("GET /presence/online", Value::Null, [200, 200]),
        row("GET /presence/carl", Value::Null, [200, 200]),
        row("POST /broadcast", said, [202, 202]),
        row("POST /users/carl/block", Value::Null, [204, 204]),
        row("DELETE /users/carl/block", Value::Null, [204, 204]),
        row("GET /admin/tree", Value::Null, [403, 200]),
        row("POST /auth/ticket", Value::Null, [201, 201]),
        row("POST /auth/revoke", json!({"user": "carl"}), [403, 204]),
        row("POST /admin/erasures", json!({"user": "carl"}), [403, 202]),
        row("GET /admin/erasures/carl", Value::Null, [403, 200]),
        row(
            "POST /admin/releases",
            json!({"kind": "user", "id": "carl"}),
            [403, 200],
        ),
        row("POST /auth/logout", Value::Null, [204, 204]),
    ]
}

/// The routes that are tried are those of the document: none is forgotten.
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
    tried.extend(without_conversation().into_iter().map(|tried| {
        tried
            .call
            .replace("/users/carl/", "/users/{id}/")
            .replace("/presence/carl", "/presence/{user_id}")
            .replace("/erasures/carl", "/erasures/{user}")
            .replace("/devices/tablet", "/devices/{device_id}")
    }));
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

/// What the people of `acme` see.
async fn seen_in_acme(api: &Api) -> Vec<(u16, Value)> {
    let mut seen = Vec::new();
    for user in ["ada", "bob", "carl"] {
        for call in [
            "GET /conversations",
            "GET /users/me",
            "GET /users/me/preferences",
            "GET /devices",
            "GET /presence/online",
            "GET /presence/carl",
        ] {
            let answer = api.call(&member("acme", user), call, Value::Null).await;
            seen.push((answer.status, answer.body));
        }
    }
    seen
}

/// Routes that name no conversation work for another tenant's people too, on what is theirs:
/// nothing of ours is in the answers, and nothing of ours changes.
#[tokio::test]
async fn routes_without_a_conversation_stay_within_the_tenant() {
    let api = Api::with(Options {
        policy: policy::Config {
            rooms: OpenRooms::Workspace,
            ..policy::Config::default()
        },
        ..Options::default()
    })
    .await;
    let ada = member("acme", "ada");
    let group = json!({"type": "group", "members": ["bob", "carl"], "name": "secret group"});
    api.call(&ada, "POST /conversations", group).await;
    api.call(&ada, "PATCH /users/me", json!({"name": "secret Ada"}))
        .await;
    let app = json!({"app": {"key": "secret setting"}});
    api.call(&ada, "PATCH /users/me/preferences", app).await;
    let tablet = json!({"device_id": "tablet", "platform": "web", "name": "secret tablet"});
    api.call(&ada, "POST /devices", tablet).await;
    let _online = connect(&api, "acme", "carl").await;
    let (room, _listening) = enter(&api, "acme", "broadcast:game");
    let before = seen_in_acme(&api).await;
    assert!(before.iter().all(|(status, _)| *status == 200));
    let nth = |grant: &Grant| usize::from(grant.role == AccountRole::Admin);
    for grant in [
        member("umbrella", "ada"),
        member("umbrella", "bob"),
        admin("umbrella", "ada"),
    ] {
        for tried in without_conversation() {
            let answer = api.call(&grant, tried.call, tried.body).await;
            let expected = tried.statuses[nth(&grant)];
            assert_eq!(answer.status, expected, "{} as {grant:?}", tried.call);
            let told = answer.body.to_string();
            assert!(!told.contains("secret"), "{}: {told}", tried.call);
            if tried.call.starts_with("GET /presence/") {
                assert!(!told.contains("\"online\""), "{}: {told}", tried.call);
            }
            assert_eq!(seen_in_acme(&api).await, before, "{}", tried.call);
        }
    }
    assert_eq!(room.len(), 0, "nothing was said in our room");
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
