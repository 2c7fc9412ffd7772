//! Sending, history, search.

use quikapp_storage::{Claim, ConversationId, OwnerId, Timestamp};
use serde_json::{Value, json};

use super::{
    conversations::group,
    kit::{Answered, Api, NO_CONTENT},
};
use crate::auth::{
    Grant,
    test_kit::{NOW, member},
};

async fn send(api: &Api, as_who: &Grant, id: &str, body: Value) -> Answered {
    api.call(as_who, &format!("POST /conversations/{id}/messages"), body)
        .await
}

async fn contents(api: &Api, as_who: &Grant, id: &str, query: &str) -> (Vec<String>, bool) {
    let call = format!("GET /conversations/{id}/messages{query}");
    let answer = api.call(as_who, &call, Value::Null).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let messages = answer.body["messages"].as_array().unwrap().clone();
    let content = |message: &Value| message["content"].as_str().unwrap().to_owned();
    (
        messages.iter().map(content).collect(),
        answer.body["has_more"].as_bool().unwrap(),
    )
}

#[tokio::test]
async fn a_message_is_sent_once_per_key() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    let hello = json!({"client_id": "k1", "content": "hello"});
    let first = send(&api, &ada, &id, hello.clone()).await;
    let again = send(&api, &ada, &id, hello).await;
    let camel = send(
        &api,
        &ada,
        &id,
        json!({"clientId": "k1", "content": "hello"}),
    )
    .await;
    let other = send(
        &api,
        &ada,
        &id,
        json!({"client_id": "k1", "content": "other"}),
    )
    .await;
    assert_eq!((first.status, again.status, camel.status), (201, 200, 200));
    assert_eq!(other.reason(), (409, "idempotency_conflict"));
    assert_eq!(first.body, again.body);
    assert_eq!(first.body["seq"], 1);
    assert_eq!(first.body["sender_id"], "ada");
    assert_eq!(first.body["type"], "text");
    assert_eq!(first.header("content-type"), "application/json");
    let page = contents(&api, &member("acme", "bob"), &id, "").await;
    assert_eq!(page, (vec!["hello".to_owned()], false));
}

/// Their channel has ended with the membership; here they hear of what they sent before.
#[tokio::test]
async fn a_removed_member_hears_what_became_of_their_message_and_sends_no_other() {
    let api = Api::start().await;
    let (ada, bob) = (member("acme", "ada"), member("acme", "bob"));
    let id = group(&api, &ada, &["bob"]).await;
    let hello = json!({"client_id": "k1", "content": "hello"});
    let first = send(&api, &bob, &id, hello.clone()).await;
    let removal = format!("DELETE /conversations/{id}/members/bob");
    let removed = api.call(&ada, &removal, Value::Null).await;
    assert_eq!(removed.status, NO_CONTENT, "{removed:?}");
    let again = send(&api, &bob, &id, hello.clone()).await;
    assert_eq!((first.status, again.status), (201, 200), "{again:?}");
    assert_eq!(first.body, again.body);
    let at = Timestamp(NOW.0 + 60_000);
    for other in [
        json!({"client_id": "k2", "content": "hello"}),
        json!({"content": "hello"}),
        json!({"client_id": "k1", "content": "hello", "send_at": at}),
        json!({"client_id": "k1", "content": "hello", "class": "ephemeral"}),
    ] {
        let refused = send(&api, &bob, &id, other.clone()).await;
        assert_eq!(refused.reason(), (403, "not_a_participant"), "{other}");
    }
    let never = send(&api, &member("acme", "eve"), &id, hello).await;
    assert_eq!(never.reason(), (403, "not_a_participant"));
}

/// Who was removed cannot take a conversation from the process that has it.
#[tokio::test]
async fn a_removed_member_wakes_no_conversation() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    let removal = format!("DELETE /conversations/{id}/members/bob");
    let removed = api.call(&ada, &removal, Value::Null).await;
    assert_eq!(removed.status, NO_CONTENT, "{removed:?}");
    let elsewhere = Claim {
        owner: OwnerId::generate(),
        now: NOW,
        min_tenure_ms: 0,
    };
    let id = ConversationId::parse(&id).unwrap();
    let store = &api.node.store;
    let taken = store.acquire(&id, elsewhere).await.unwrap();
    for hello in [
        json!({"content": "hello"}),
        json!({"client_id": "k1", "content": "hello"}),
    ] {
        let refused = send(&api, &member("acme", "bob"), id.as_str(), hello).await;
        assert_eq!(refused.reason(), (403, "not_a_participant"));
    }
    let still = store.acquire(&id, elsewhere).await.unwrap();
    let epoch = taken.conversation.epoch;
    assert_eq!(
        still.conversation.epoch.0,
        epoch.0 + 1,
        "nobody else took it"
    );
}

#[tokio::test]
async fn what_is_sent_is_checked_by_field() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    let table = [
        (json!({}), (422, "invalid_field")),
        (json!({"content": 7}), (422, "invalid_field")),
        (
            json!({"content": "x", "type": "unheard-of"}),
            (422, "invalid_field"),
        ),
        (
            json!({"content": "x", "reply_to": "not an id"}),
            (422, "invalid_field"),
        ),
        (
            json!({"content": "x", "mentions": [""]}),
            (422, "invalid_field"),
        ),
        (json!({"content": "x", "ttl": 1}), (422, "invalid_field")),
        (
            json!({"content": "x", "sendAt": "2001-01-01T00:00:00Z"}),
            (422, "invalid_field"),
        ),
        (
            json!({"content": "x", "class": "eternal"}),
            (422, "invalid_field"),
        ),
    ];
    for (body, expected) in table {
        let refused = send(&api, &ada, &id, body.clone()).await;
        assert_eq!(refused.reason(), expected, "{body}");
        assert!(refused.body["field"].is_string(), "{body}");
    }
    let fine = send(
        &api,
        &ada,
        &id,
        json!({"content": "x", "class": "persistent"}),
    )
    .await;
    assert_eq!(fine.status, 201);
}

#[tokio::test]
async fn a_message_is_scheduled_listed_and_taken_back() {
    let api = Api::start().await;
    let (ada, bob) = (member("acme", "ada"), member("acme", "bob"));
    let id = group(&api, &ada, &["bob"]).await;
    let at = Timestamp(NOW.0 + 60_000);
    let later = json!({"content": "later", "send_at": at});
    let scheduled = send(&api, &ada, &id, later).await;
    assert_eq!(scheduled.status, 202, "{scheduled:?}");
    assert_eq!(scheduled.body["send_at"], at.to_string());
    let list = format!("GET /conversations/{id}/messages/scheduled");
    let listed = api.call(&ada, &list, Value::Null).await.body;
    assert_eq!(listed["scheduled"], json!([scheduled.body]));
    let others = api.call(&bob, &list, Value::Null).await.body;
    assert_eq!(others["scheduled"], json!([]));
    let message = scheduled.body["id"].as_str().unwrap();
    let cancel = format!("DELETE /conversations/{id}/messages/scheduled/{message}");
    let refused = api.call(&bob, &cancel, Value::Null).await;
    assert_eq!(refused.reason(), (404, "message_not_found"));
    assert_eq!(api.call(&ada, &cancel, Value::Null).await.status, 204);
    let listed = api.call(&ada, &list, Value::Null).await.body;
    assert_eq!(listed["scheduled"], json!([]));
}

#[tokio::test]
async fn an_ephemeral_message_has_no_place() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    let body = json!({"content": "now or never", "class": "ephemeral"});
    let sent = send(&api, &ada, &id, body).await;
    assert_eq!(sent.status, 201);
    assert_eq!(sent.body["content"], "now or never");
    assert!(sent.body.get("seq").is_none(), "{sent:?}");
    let history = format!("GET /conversations/{id}/messages");
    let history = api.call(&ada, &history, Value::Null).await.body;
    assert_eq!(history["messages"], json!([]));
}

#[tokio::test]
async fn history_is_read_in_pages_in_both_directions() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    for n in 1..=5 {
        assert_eq!(
            send(&api, &ada, &id, json!({"content": format!("m{n}")}))
                .await
                .status,
            201
        );
    }
    let table = [
        ("", &["m1", "m2", "m3", "m4", "m5"][..], false),
        ("?limit=2", &["m4", "m5"], true),
        ("?limit=2&before_seq=4", &["m2", "m3"], true),
        ("?limit=3&before_seq=4", &["m1", "m2", "m3"], false),
        ("?limit=2&after_seq=1", &["m2", "m3"], true),
        ("?limit=2&after_seq=3", &["m4", "m5"], false),
        ("?after_seq=5", &[], false),
    ];
    for (query, expected, more) in table {
        let (found, has_more) = contents(&api, &ada, &id, query).await;
        assert_eq!(found, expected, "{query}");
        assert_eq!(has_more, more, "{query}");
    }
    for query in [
        "?limit=0",
        "?limit=101",
        "?before_seq=x",
        "?before_seq=1&after_seq=1",
    ] {
        let call = format!("GET /conversations/{id}/messages{query}");
        let refused = api.call(&ada, &call, Value::Null).await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{query}");
    }
}

#[tokio::test]
async fn who_joins_later_does_not_see_what_was_said_before() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    send(&api, &ada, &id, json!({"content": "before"})).await;
    let add = json!({"members": ["cat"]});
    api.call(&ada, &format!("POST /conversations/{id}/members"), add)
        .await;
    send(&api, &ada, &id, json!({"content": "after"})).await;
    let (found, _) = contents(&api, &member("acme", "cat"), &id, "").await;
    assert_eq!(found, ["after"]);
    let call = format!("GET /conversations/{id}/messages/search?q=before");
    let found = api.call(&member("acme", "cat"), &call, Value::Null).await;
    assert_eq!(found.body["messages"], json!([]));
}

#[tokio::test]
async fn search_finds_the_beginnings_of_words() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    for content in ["Grüße aus Köln", "nothing", "viele grüße"] {
        send(&api, &ada, &id, json!({ "content": content })).await;
    }
    let call = |query: &str| format!("GET /conversations/{id}/messages/search{query}");
    let found = api.call(&ada, &call("?q=gr%C3%BC"), Value::Null).await;
    let found = found.body["messages"].as_array().unwrap().clone();
    let contents: Vec<_> = found
        .iter()
        .map(|message| message["content"].clone())
        .collect();
    assert_eq!(contents, [json!("viele grüße"), json!("Grüße aus Köln")]);
    for query in ["", "?q=", "?q=%20"] {
        let refused = api.call(&ada, &call(query), Value::Null).await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{query}");
    }
}

#[tokio::test]
async fn a_message_counts_as_unread_for_the_others() {
    let api = Api::start().await;
    let ada = member("acme", "ada");
    let id = group(&api, &ada, &["bob"]).await;
    send(&api, &ada, &id, json!({"content": "hello"})).await;
    for (user, unread) in [("ada", 0), ("bob", 1)] {
        let call = format!("GET /conversations/{id}");
        let shown = api.call(&member("acme", user), &call, Value::Null).await;
        let conversation = &shown.body["conversation"];
        assert_eq!(conversation["unread"], unread, "{user}");
        assert_eq!(conversation["last_message"]["content"], "hello");
        assert_eq!(conversation["last_seq"], 1);
    }
}
