//! Conversations and their members.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use quikapp_actors::fanout::{
    ConnectionId, Deliveries, Delivery, Lane, Outbox, OutboxLimits, SlotKey,
};
use serde_json::{Value, json};

use super::kit::{Api, NO_CONTENT};
use crate::auth::{Grant, test_kit::member};

/// Begins a group and answers its id.
pub(super) async fn group(api: &Api, owner: &Grant, members: &[&str]) -> String {
    let body = json!({"type": "group", "members": members, "name": "Team"});
    let answer = api.call(owner, "POST /conversations", body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    answer.body["conversation"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn member_ids(api: &Api, as_who: &Grant, id: &str) -> Vec<(String, String)> {
    let answer = api
        .call(
            as_who,
            &format!("GET /conversations/{id}/members"),
            Value::Null,
        )
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = answer.body["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| (text(&member["user_id"]), text(&member["role"])))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(user, role)| ((*user).into(), (*role).into()))
        .collect()
}

#[tokio::test]
async fn a_group_is_begun_with_its_members() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let body = json!({"type": "group", "members": ["cat", "bob", "bob", "ada"], "name": "Team"});
    let answer = api.call(&ada, "POST /conversations", body).await;
    assert_eq!(answer.status, 201);
    let conversation = &answer.body["conversation"];
    assert_eq!(conversation["type"], "group");
    assert_eq!(conversation["name"], "Team");
    assert_eq!(conversation["role"], "owner");
    assert_eq!(conversation["created_by"], "ada");
    assert_eq!(conversation["unread"], 0);
    assert_eq!(conversation["created_at"], "2027-01-15T08:00:00.000Z");
    let id = conversation["id"].as_str().unwrap();
    let expected = pairs(&[("ada", "owner"), ("bob", "member"), ("cat", "member")]);
    assert_eq!(member_ids(&api, &member("acme", "bob"), id).await, expected);
}

#[tokio::test]
async fn a_pair_has_one_direct_conversation() {
    let api = Api::start().await;
    let body = |other: &str| json!({"type": "direct", "members": [other]});
    let first = api
        .call(&member("acme", "ada"), "POST /conversations", body("bob"))
        .await;
    let again = api
        .call(&member("acme", "bob"), "POST /conversations", body("ada"))
        .await;
    let elsewhere = api
        .call(
            &member("umbrella", "ada"),
            "POST /conversations",
            body("bob"),
        )
        .await;
    assert_eq!(
        (first.status, again.status, elsewhere.status),
        (201, 200, 201)
    );
    let id = |answer: &super::kit::Answered| answer.body["conversation"]["id"].clone();
    assert_eq!(id(&first), id(&again));
    assert_ne!(
        id(&first),
        id(&elsewhere),
        "the other tenant's pair is another pair"
    );
    for members in [json!([]), json!(["ada"]), json!(["bob", "cat"])] {
        let body = json!({"type": "direct", "members": members});
        let refused = api
            .call(&member("acme", "ada"), "POST /conversations", body)
            .await;
        assert_eq!(
            (refused.reason(), &refused.body["field"]),
            ((422, "invalid_field"), &json!("members"))
        );
    }
}

#[tokio::test]
async fn a_block_forbids_a_direct_conversation() {
    let api = Api::start().await;
    api.call(&member("acme", "ada"), "POST /users/bob/block", Value::Null)
        .await;
    for (who, other) in [("ada", "bob"), ("bob", "ada")] {
        let body = json!({"type": "direct", "members": [other]});
        let refused = api
            .call(&member("acme", who), "POST /conversations", body)
            .await;
        assert_eq!(refused.reason(), (403, "blocked"), "{who}");
    }
}

#[tokio::test]
async fn ill_formed_conversations_are_refused_by_field() {
    let api = Api::start().await;
    let table = [
        (json!({"members": []}), "type"),
        (json!({"type": "person", "members": []}), "type"),
        (json!({"type": "group"}), "members"),
        (json!({"type": "group", "members": [""]}), "members[0]"),
        (json!({"type": "group", "members": "bob"}), "members"),
        (json!({"type": "group", "members": [], "name": 7}), "name"),
    ];
    for (body, field) in table {
        let refused = api
            .call(&member("acme", "ada"), "POST /conversations", body.clone())
            .await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{body}");
        assert_eq!(refused.body["field"], field, "{body}");
    }
}

#[tokio::test]
async fn ones_conversations_are_listed_in_pages() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let mut begun = Vec::new();
    for _ in 0..5 {
        api.node.clock.advance_ms(1000);
        begun.push(group(&api, &ada, &["bob"]).await);
    }
    begun.reverse();
    let mut listed = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = api
            .call(&ada, &format!("GET /conversations{query}"), Value::Null)
            .await;
        let items = page.body["conversations"].as_array().unwrap().clone();
        listed.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, begun);
    let others = api
        .call(&member("acme", "cat"), "GET /conversations", Value::Null)
        .await;
    assert_eq!(others.body, json!({"conversations": []}));
    let junk = api
        .call(&ada, "GET /conversations?cursor=junk", Value::Null)
        .await;
    assert_eq!(junk.reason(), (422, "invalid_field"));
}

#[tokio::test]
async fn members_come_change_and_go_by_role() {
    let api = Api::start().await;
    let [ada, bob, cat] = ["ada", "bob", "cat"].map(|user| member("acme", user));
    let id = group(&api, &ada, &["bob"]).await;
    let members = format!("/conversations/{id}/members");
    let add = json!({"members": ["cat"]});
    let refused = api
        .call(&bob, &format!("POST {members}"), add.clone())
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    assert_eq!(
        api.call(&ada, &format!("POST {members}"), add).await.status,
        NO_CONTENT
    );
    let promote = json!({"role": "admin"});
    let refused = api
        .call(&bob, &format!("PATCH {members}/cat"), promote.clone())
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    assert_eq!(
        api.call(&ada, &format!("PATCH {members}/cat"), promote)
            .await
            .status,
        NO_CONTENT
    );
    let expected = pairs(&[("ada", "owner"), ("bob", "member"), ("cat", "admin")]);
    assert_eq!(member_ids(&api, &bob, &id).await, expected);

    let refused = api
        .call(&bob, &format!("DELETE {members}/cat"), Value::Null)
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    assert_eq!(
        api.call(&cat, &format!("DELETE {members}/bob"), Value::Null)
            .await
            .status,
        NO_CONTENT
    );
    let gone = api.call(&bob, &format!("GET {members}"), Value::Null).await;
    assert_eq!(
        gone.reason(),
        (403, "not_a_participant"),
        "a removal acts at once"
    );
    assert_eq!(
        api.call(
            &cat,
            &format!("POST /conversations/{id}/leave"),
            Value::Null
        )
        .await
        .status,
        NO_CONTENT
    );
    assert_eq!(
        member_ids(&api, &ada, &id).await,
        pairs(&[("ada", "owner")])
    );
}

#[tokio::test]
async fn a_group_is_renamed_by_its_admins_and_its_members_hear_of_it() {
    let api = Api::start().await;
    let [ada, bob] = ["ada", "bob"].map(|user| member("acme", user));
    let id = group(&api, &ada, &["bob"]).await;
    let topic = format!("chat:{id}");
    let outbox = Arc::new(Outbox::new(ConnectionId(1), OutboxLimits::default()));
    let fanout = &api.node.fanout;
    let _listening = fanout.subscribe(&topic, &outbox, SlotKey(0), Lane::Own);
    let call = format!("PATCH /conversations/{id}");

    let refused = api.call(&bob, &call, json!({"name": "mine"})).await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    let missing = api.call(&ada, &call, json!({})).await;
    assert_eq!(missing.reason(), (422, "invalid_field"));
    for name in [json!("ours"), Value::Null] {
        let renamed = api.call(&ada, &call, json!({ "name": name })).await;
        assert_eq!(renamed.status, 200);
        assert_eq!(renamed.body["conversation"]["name"], name);
        let show = format!("GET /conversations/{id}");
        let shown = api.call(&bob, &show, Value::Null).await;
        assert_eq!(
            shown.body,
            json!({"conversation": shown.body["conversation"]})
        );
        assert_eq!(shown.body["conversation"]["name"], name);
    }
    let told = renames(&outbox);
    assert_eq!(told, [json!("ours"), Value::Null]);

    let pair = json!({"type": "direct", "members": ["bob"]});
    let pair = api.call(&ada, "POST /conversations", pair).await;
    let pair = pair.body["conversation"]["id"].as_str().unwrap();
    let call = format!("PATCH /conversations/{pair}");
    let refused = api.call(&ada, &call, json!({"name": "us"})).await;
    assert_eq!(refused.reason(), (403, "forbidden"));
}

/// The names in the `conversation:updated` that wait in an outbox.
fn renames(outbox: &Outbox) -> Vec<Value> {
    let mut waiting = Deliveries::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(outbox.poll_drain(&mut cx, &mut waiting).is_ready());
    let mut names = Vec::new();
    while let Some(Delivery::Broadcast { broadcast, .. }) = waiting.pop_front() {
        assert_eq!(broadcast.event(), "conversation:updated");
        let update: Value = broadcast.payload().parse().unwrap();
        assert_eq!(update["change"], "renamed");
        names.push(update["name"].clone());
    }
    names
}

#[tokio::test]
async fn members_are_listed_in_pages() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob", "cat", "dan"]).await;
    let page = |query: &str| {
        let call = format!("GET /conversations/{id}/members{query}");
        let api = &api;
        async move {
            api.call(&member("acme", "ada"), &call, Value::Null)
                .await
                .body
        }
    };
    let first = page("?limit=3").await;
    assert_eq!(
        (first["members"].as_array().unwrap().len(), &first["next"]),
        (3, &json!("cat"))
    );
    let last = page("?limit=3&after=cat").await;
    assert_eq!(last["members"].as_array().unwrap().len(), 1);
    assert!(last["next"].is_null());
}

#[tokio::test]
async fn a_direct_conversation_keeps_its_pair() {
    let api = Api::start().await;
    let body = json!({"type": "direct", "members": ["bob"]});
    let ada = member("acme", "ada");
    let begun = api.call(&ada, "POST /conversations", body).await;
    let id = begun.body["conversation"]["id"].as_str().unwrap();
    for (call, body) in [
        (
            format!("POST /conversations/{id}/members"),
            json!({"members": ["cat"]}),
        ),
        (
            format!("DELETE /conversations/{id}/members/bob"),
            Value::Null,
        ),
        (format!("POST /conversations/{id}/leave"), Value::Null),
    ] {
        let refused = api.call(&ada, &call, body).await;
        assert_eq!(refused.reason(), (403, "forbidden"), "{call}");
    }
}
