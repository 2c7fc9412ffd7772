//! Guests, tickets, revocation, and who is let in at all.

use std::sync::Arc;

use axum::body::Body;
use quikapp_actors::fanout::{ConnectionId, Lane, Outbox, OutboxLimits, SlotKey};
use serde_json::{Value, json};

use super::kit::{Api, NO_CONTENT, Options, request};
use crate::{
    auth::{
        Credential, Principal,
        test_kit::{admin, member, person},
    },
    rest::Config,
};

/// A connection that listens on its ids, as a session does.
fn listen(api: &Api, principal: &Principal) -> (Arc<Outbox>, impl Drop + use<>) {
    struct Held(#[expect(dead_code, reason = "held")] Vec<quikapp_actors::fanout::Subscription>);
    impl Drop for Held {
        fn drop(&mut self) {}
    }
    let outbox = Arc::new(Outbox::new(ConnectionId(1), OutboxLimits::default()));
    let ids = [principal.socket_id(), principal.token_socket_id()];
    let fanout = &api.node.fanout;
    let on = |id: &String| fanout.subscribe(id, &outbox, SlotKey(0), Lane::Own);
    let held = Held(ids.iter().map(on).collect());
    (outbox, held)
}

#[tokio::test]
async fn a_guest_signs_in_and_uses_the_token() {
    let api = Api::with(Options {
        development: true,
        ..Options::default()
    })
    .await;
    let answer = api
        .call_unsigned("POST /auth/guest", json!({"name": " Ada "}))
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.body["user"]["name"], "Ada");
    let token = answer.body["token"].as_str().unwrap();
    let credential = Credential::Token(token.to_owned());
    let principal = api
        .node
        .authenticator
        .authenticate(&credential)
        .await
        .unwrap();
    assert_eq!(principal.user().as_str(), answer.body["user"]["id"]);
    let users = std::slice::from_ref(principal.user());
    let profiles = api
        .node
        .store
        .profiles(principal.workspace(), users)
        .await
        .unwrap();
    assert_eq!(profiles[0].name.as_deref(), Some("Ada"));
    for name in ["", "   ", "a\u{7}b", &"x".repeat(65)] {
        let refused = api
            .call_unsigned("POST /auth/guest", json!({ "name": name }))
            .await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{name:?}");
    }
}

#[tokio::test]
async fn outside_development_mode_there_are_no_guests() {
    let api = Api::start().await;
    let answer = api
        .call_unsigned("POST /auth/guest", json!({"name": "Ada"}))
        .await;
    assert_eq!(answer.reason(), (404, "not_found"));
    let document = api
        .call_unsigned("GET /openapi.json", Value::Null)
        .await
        .body;
    assert!(document["paths"]["/auth/guest"].is_null());
}

#[tokio::test]
async fn a_ticket_is_given_to_the_holder_of_a_token() {
    let api = Api::start().await;
    let answer = api
        .call(&member("acme", "ada"), "POST /auth/ticket", Value::Null)
        .await;
    assert_eq!(
        (answer.status, &answer.body["expires_in"]),
        (201, &json!(60))
    );
    let ticket = answer.body["ticket"].as_str().unwrap().to_owned();
    let redeemed = api
        .node
        .authenticator
        .authenticate(&Credential::Ticket(ticket.clone()))
        .await;
    assert_eq!(redeemed.unwrap().person, person("acme", "ada"));
    let again = api
        .node
        .authenticator
        .authenticate(&Credential::Ticket(ticket))
        .await;
    assert_eq!(again.unwrap_err().reason.as_str(), "ticket_invalid");
}

#[tokio::test]
async fn a_ticket_is_no_bearer_token() {
    let api = Api::start().await;
    let answer = api
        .call(&member("acme", "ada"), "POST /auth/ticket", Value::Null)
        .await;
    let ticket = answer.body["ticket"].as_str().unwrap();
    let refused = api
        .send(request("POST /auth/ticket", Some(ticket), &Value::Null))
        .await;
    assert_eq!(refused.reason(), (401, "unauthorized"));
}

#[tokio::test]
async fn logging_out_ends_the_token_and_closes_its_sockets() {
    let api = Api::start().await;
    let token = api.node.token(&member("acme", "ada"));
    let principal = api.node.authenticator.tokens.verify(&token).await.unwrap();
    let (outbox, _held) = listen(&api, &principal);
    let answer = api
        .send(request("POST /auth/logout", Some(&token), &Value::Null))
        .await;
    assert_eq!(answer.status, NO_CONTENT);
    assert_eq!(outbox.closing().map(|close| close.code), Some(1001));
    let answer = api
        .send(request("POST /auth/ticket", Some(&token), &Value::Null))
        .await;
    assert_eq!(answer.reason(), (401, "token_revoked"));
}

#[tokio::test]
async fn an_administrator_revokes_within_the_workspace() {
    let api = Api::start().await;
    let ada = api.node.principal(&member("acme", "ada")).await;
    let namesake = api.node.principal(&member("umbrella", "ada")).await;
    let (here, _held) = listen(&api, &ada);
    let (there, _held) = listen(&api, &namesake);
    let revoke = "POST /auth/revoke";
    let refused = api
        .call(&member("acme", "eve"), revoke, json!({"user": "ada"}))
        .await;
    assert_eq!(refused.reason(), (403, "forbidden"));
    assert!(here.closing().is_none());
    let done = api
        .call(&admin("acme", "root"), revoke, json!({"user": "ada"}))
        .await;
    assert_eq!(done.status, NO_CONTENT);
    assert_eq!(here.closing().map(|close| close.code), Some(1008));
    assert!(
        there.closing().is_none(),
        "the other tenant's person of that name"
    );
    let foreign = json!({"jti": *namesake.jti});
    assert_eq!(
        api.call(&admin("acme", "root"), revoke, foreign)
            .await
            .status,
        NO_CONTENT
    );
    assert!(there.closing().is_none(), "the other tenant's token");
    for ill in [
        json!({}),
        json!({"jti": "x", "user": "y"}),
        json!({"jti": ""}),
        json!({"all": 1}),
    ] {
        let refused = api.call(&admin("acme", "root"), revoke, ill).await;
        assert_eq!(refused.reason(), (422, "invalid_field"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let api = Api::with(Options {
        config: Config {
            max_body: bytesize::ByteSize::b(64),
            ..Config::default()
        },
        ..Options::default()
    })
    .await;
    let token = api.node.token(&admin("acme", "root"));
    let post = |kind: &str, body: String| {
        let request = http::Request::post("/api/auth/revoke")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind.to_owned());
        api.send(request.body(Body::from(body)).unwrap())
    };
    let json = "application/json; charset=utf-8";
    assert_eq!(
        post("text/plain", "{}".into()).await.reason(),
        (415, "unsupported_media_type")
    );
    assert_eq!(post(json, "{".into()).await.reason(), (400, "invalid_body"));
    assert_eq!(
        post(json, " ".repeat(65)).await.reason(),
        (413, "payload_too_large")
    );
    let ill_typed = post(json, r#"{"user": 7}"#.into()).await;
    assert_eq!(ill_typed.reason(), (422, "invalid_field"));
    assert_eq!(ill_typed.body["field"], "user");
    assert_eq!(ill_typed.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn a_person_and_an_unknown_address_are_served_at_a_bounded_rate() {
    let api = Api::with(Options {
        config: Config {
            requests_per_minute: 2,
            ..Config::default()
        },
        ..Options::default()
    })
    .await;
    let ada = member("acme", "ada");
    for _ in 0..2 {
        assert_eq!(
            api.call(&ada, "GET /presence/online", Value::Null)
                .await
                .status,
            200
        );
    }
    let refused = api.call(&ada, "GET /presence/online", Value::Null).await;
    assert_eq!(refused.reason(), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), "30");
    let other = api
        .call(
            &member("umbrella", "ada"),
            "GET /presence/online",
            Value::Null,
        )
        .await;
    assert_eq!(other.status, 200);

    let knock = || {
        let mut request = request("GET /presence/online", Some("junk"), &Value::Null);
        request.extensions_mut().insert(crate::endpoint::Client {
            ip: "192.0.2.7".parse().unwrap(),
            secure: false,
            proxied: false,
        });
        api.send(request)
    };
    assert_eq!(knock().await.status, 401);
    assert_eq!(knock().await.status, 401);
    assert_eq!(knock().await.reason(), (429, "rate_limited"));
}
