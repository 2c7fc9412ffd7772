//! Tokens of sockets that are open: they end, are renewed, and are revoked.

use std::time::Duration;

use serde_json::json;

use super::World;
use crate::{
    auth::test_kit::{admin, member, person},
    testing::TestClient,
};

async fn with_ttl(world: &World, seconds: u64) -> TestClient {
    let grant = member("acme", "ada");
    let tokens = &world.node.authenticator.tokens;
    let minted = tokens.mint(&grant, Duration::from_secs(seconds)).unwrap();
    TestClient::connect_as(&world.mount, &[("token", &minted.token)]).await
}

#[tokio::test]
async fn a_socket_closes_when_its_token_ends() {
    let world = World::start().await;
    let mut client = with_ttl(&world, 1).await;
    client.join("chat:lobby", json!({})).await.ok();
    world.node.clock.advance_ms(1_000);
    let close = client.closed().await;
    assert_eq!((close.code, &*close.reason), (4001, "token_expired"));
}

#[tokio::test]
async fn a_renewed_socket_outlives_its_first_token() {
    let world = World::start().await;
    let mut client = with_ttl(&world, 1).await;
    client.join("chat:lobby", json!({})).await.ok();
    let fresh = json!({"access_token": world.node.token(&member("acme", "ada"))});
    client.push("chat:lobby", "access_token", fresh).await.ok();
    let not_renewed = with_ttl(&world, 1).await;
    world.node.clock.advance_ms(1_000);
    assert_eq!(not_renewed.closed().await.code, 4001);
    client
        .push(
            "chat:lobby",
            "access_token",
            json!({"access_token": "junk"}),
        )
        .await
        .error();
}

#[tokio::test]
async fn a_token_of_somebody_else_renews_nothing() {
    let world = World::start().await;
    let mut client = world.socket("ada").await;
    client.join("chat:lobby", json!({})).await.ok();
    for grant in [
        member("acme", "bob"),
        member("umbrella", "ada"),
        admin("acme", "root"),
    ] {
        let token = json!({"access_token": world.node.token(&grant)});
        let refused = client.push("chat:lobby", "access_token", token).await;
        assert_eq!(refused.reason(), "forbidden");
    }
}

#[tokio::test]
async fn a_revoked_person_is_cut_off_within_a_second_on_another_node() {
    let world = World::start().await;
    let elsewhere = world.node.beside().await;
    let mut client = world.socket("ada").await;
    client.join("chat:lobby", json!({})).await.ok();
    let mut bystander = world.socket("bob").await;
    bystander.join("chat:lobby", json!({})).await.ok();

    let revoked = tokio::time::Instant::now();
    let revocations = &elsewhere.authenticator.revocations;
    revocations
        .revoke_person(person("acme", "ada"))
        .await
        .unwrap();
    let close = client.closed().await;
    assert!(revoked.elapsed() < Duration::from_secs(1));
    assert_eq!((close.code, &*close.reason), (1008, "revoked"));
    bystander.leave("chat:lobby").await.ok();
}

#[tokio::test]
async fn signing_out_closes_the_sockets_of_that_token_only() {
    let world = World::start().await;
    let token = world.node.token(&member("acme", "ada"));
    let phone = TestClient::connect_as(&world.mount, &[("token", &token)]).await;
    let mut laptop = world.socket("ada").await;
    let principal = world
        .node
        .authenticator
        .tokens
        .verify(&token)
        .await
        .unwrap();
    world
        .node
        .authenticator
        .revocations
        .sign_out(&principal)
        .await
        .unwrap();
    let close = phone.closed().await;
    assert_eq!((close.code, &*close.reason), (1001, "signed_out"));
    laptop.join("chat:lobby", json!({})).await.ok();
}

/// In a room any event is broadcast, but this one is the socket's own: nobody else sees the token,
/// whether it is good or not.
#[tokio::test]
async fn a_token_that_is_renewed_in_a_room_is_told_nobody() {
    let world = World::with_open_rooms().await;
    let room = "broadcast:game";
    let (mut ada, mut bob) = (world.socket("ada").await, world.socket("bob").await);
    for client in [&mut ada, &mut bob] {
        client.join(room, json!({})).await.ok();
    }
    let fresh = json!({"access_token": world.node.token(&member("acme", "ada"))});
    ada.push(room, "access_token", fresh).await.ok();
    let junk = json!({"access_token": "junk"});
    ada.push(room, "access_token", junk).await.error();
    ada.push(room, "move", json!({})).await.ok();
    for client in [&mut ada, &mut bob] {
        client.event(room, "move").await;
        assert_eq!(client.so_far().await, [], "and nothing before it");
    }
}
