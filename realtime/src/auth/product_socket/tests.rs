#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION};
use quikapp_actors::fanout::{ConnectionId, Lane, Outbox, OutboxLimits, SlotKey, Subscription};
use quikapp_protocol::Vsn;

use super::*;
use crate::{
    auth::test_kit::{self, Node, member, person, until},
    socket::Transport,
};

fn info(query: &[(&str, &str)]) -> ConnectInfo {
    ConnectInfo {
        transport: Transport::WebSocket,
        vsn: Vsn::V2,
        peer: "192.0.2.1:9".parse().unwrap(),
        path_params: Vec::new(),
        query: query
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        headers: HeaderMap::new(),
        auth_token: None,
    }
}

fn socket(node: &Node) -> ProductSocket {
    ProductSocket::new(
        &node.config,
        node.authenticator.clone(),
        node.fanout.clone(),
    )
}

async fn refused(socket: &ProductSocket, info: ConnectInfo) -> ConnectRefusal {
    socket.connect(info).await.unwrap_err()
}

/// What a session does with an accepted connection: it listens on all its ids.
struct Live {
    outbox: Arc<Outbox>,
    principal: Principal,
    _subscriptions: Vec<Subscription>,
}

impl Live {
    async fn connect(node: &Node, token: &str) -> Self {
        let connected = socket(node)
            .connect(info(&[("token", token)]))
            .await
            .unwrap();
        let outbox = Arc::new(Outbox::new(ConnectionId(1), OutboxLimits::default()));
        let listen = |id: &String| node.fanout.subscribe(id, &outbox, SlotKey(0), Lane::Own);
        Self {
            _subscriptions: connected.socket_ids.iter().map(listen).collect(),
            outbox: outbox.clone(),
            principal: connected.assigns,
        }
    }

    fn close_code(&self) -> Option<u16> {
        self.outbox.closing().map(|close| close.code)
    }
}

#[tokio::test]
async fn the_token_may_come_in_any_of_its_places() {
    let node = Node::start().await;
    let token = node.token(&member("acme", "ada"));
    let ticket = {
        let principal = node.principal(&member("acme", "ada")).await;
        node.authenticator.tickets.issue(&principal).await.unwrap()
    };
    let bearer = format!("bearer {token}");
    let mut by_header = info(&[]);
    by_header
        .headers
        .insert(AUTHORIZATION, bearer.parse().unwrap());
    let mut beside = info(&[]);
    beside.auth_token = Some(token.clone());
    let places = [
        info(&[("token", &token)]),
        info(&[("auth_token", &token)]),
        info(&[("ticket", &ticket)]),
        by_header,
        beside,
    ];
    for place in places {
        let connected = socket(&node).connect(place).await.unwrap();
        assert_eq!(connected.assigns.person, person("acme", "ada"));
        assert_eq!(connected.socket_ids[0], connected.assigns.socket_id());
    }
}

#[tokio::test]
async fn without_a_valid_credential_the_answer_is_403_without_a_body() {
    let node = Node::start().await;
    let mut basic = info(&[]);
    basic
        .headers
        .insert(AUTHORIZATION, "Basic YTpi".parse().unwrap());
    for attempt in [
        info(&[]),
        info(&[("token", "x")]),
        info(&[("ticket", "x")]),
        basic,
    ] {
        let refusal = refused(&socket(&node), attempt).await;
        assert_eq!((refusal.status, refusal.body.len()), (403, 0));
    }
}

#[tokio::test]
async fn in_development_mode_proxies_and_other_hosts_are_refused() {
    let node = Node::start().await;
    let token = node.token(&member("acme", "ada"));
    let socket = socket(&node).in_development(true);
    let sent_to = |host: &str, proxied: bool| {
        let mut info = info(&[("token", &token)]);
        info.headers.insert("host", host.parse().unwrap());
        if proxied {
            info.headers
                .insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
        }
        info
    };
    assert!(
        socket
            .connect(sent_to("localhost:4000", false))
            .await
            .is_ok()
    );
    for info in [
        sent_to("rebound.example", false),
        sent_to("localhost", true),
    ] {
        let refusal = refused(&socket, info).await;
        assert_eq!((refusal.status, &*refusal.reason), (403, "request_refused"));
    }
}

#[tokio::test]
async fn the_device_is_the_one_that_the_client_names() {
    let node = Node::start().await;
    let token = node.token(&member("acme", "ada"));
    let named = info(&[("token", &token), ("device_id", "phone")]);
    let connected = socket(&node).connect(named).await.unwrap();
    assert_eq!(connected.assigns.device, DeviceId::new("phone").ok());
    let ill_named = info(&[("token", &token), ("device_id", "")]);
    assert_eq!(refused(&socket(&node), ill_named).await.status, 422);
}

#[tokio::test]
async fn a_ticket_opens_one_socket_on_one_node_within_its_minute() {
    let node = Node::start().await;
    let other = node.beside().await;
    let principal = node.principal(&member("acme", "ada")).await;
    let ticket = node.authenticator.tickets.issue(&principal).await.unwrap();
    let attempts = (0..16).map(|n| {
        let socket = socket(if n % 2 == 0 { &node } else { &other });
        let info = info(&[("ticket", &ticket)]);
        tokio::spawn(async move { socket.connect(info).await.is_ok() })
    });
    let mut opened = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        opened += usize::from(attempt.await.unwrap());
    }
    assert_eq!(opened, 1);

    let late = node.authenticator.tickets.issue(&principal).await.unwrap();
    node.clock.advance_ms(60_001);
    let refusal = refused(&socket(&node), info(&[("ticket", &late)])).await;
    assert_eq!(refusal.reason, "ticket_invalid");
}

#[tokio::test]
async fn a_ticket_of_a_revoked_or_ended_token_opens_nothing() {
    let node = Node::start().await;
    let principal = node.principal(&member("acme", "ada")).await;
    let ticket = node.authenticator.tickets.issue(&principal).await.unwrap();
    node.authenticator
        .revocations
        .sign_out(&principal)
        .await
        .unwrap();
    let refusal = refused(&socket(&node), info(&[("ticket", &ticket)])).await;
    assert_eq!(refusal.reason, "token_revoked");

    let minted = node
        .authenticator
        .tokens
        .mint(&member("acme", "bob"), Duration::from_secs(30));
    let brief = node
        .authenticator
        .tokens
        .verify(&minted.unwrap().token)
        .await
        .unwrap();
    let ticket = node.authenticator.tickets.issue(&brief).await.unwrap();
    node.clock.advance_ms(31_000);
    let refusal = refused(&socket(&node), info(&[("ticket", &ticket)])).await;
    assert_eq!(refusal.reason, "token_expired");
}

#[tokio::test]
async fn the_store_never_sees_a_ticket() {
    let node = Node::start().await;
    let principal = node.principal(&member("acme", "ada")).await;
    let ticket = node.authenticator.tickets.issue(&principal).await.unwrap();
    node.store.close().await;
    for file in std::fs::read_dir(node.dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes
            .windows(ticket.len())
            .any(|window| window == ticket.as_bytes());
        assert!(!found);
    }
}

#[tokio::test]
async fn revoking_a_person_closes_their_sockets_on_every_node_within_a_second() {
    let node = Node::start().await;
    let other = node.beside().await;
    let token = node.token(&member("acme", "ada"));
    let here = Live::connect(&node, &token).await;
    let there = Live::connect(&other, &token).await;
    let bystander = Live::connect(&other, &node.token(&member("acme", "bob"))).await;
    let namesake = Live::connect(&other, &node.token(&member("umbrella", "ada"))).await;

    let revoked = tokio::time::Instant::now();
    let revocations = &node.authenticator.revocations;
    revocations
        .revoke_person(person("acme", "ada"))
        .await
        .unwrap();
    assert_eq!(here.close_code(), Some(1008));
    until(async || there.close_code().is_some()).await;
    assert!(revoked.elapsed() < Duration::from_secs(1));
    assert_eq!(there.close_code(), Some(1008));
    assert_eq!(bystander.close_code(), None);
    assert_eq!(
        namesake.close_code(),
        None,
        "another tenant's person of that name"
    );

    for node in [&node, &other] {
        let refusal = refused(&socket(node), info(&[("token", &token)])).await;
        assert_eq!(refusal.reason, "token_revoked");
    }
}

#[tokio::test]
async fn signing_out_closes_only_the_sockets_of_that_token() {
    let node = Node::start().await;
    let phone = Live::connect(&node, &node.token(&member("acme", "ada"))).await;
    let laptop = Live::connect(&node, &node.token(&member("acme", "ada"))).await;
    node.authenticator
        .revocations
        .sign_out(&phone.principal)
        .await
        .unwrap();
    assert_eq!(phone.close_code(), Some(1001));
    assert_eq!(laptop.close_code(), None);
}

#[tokio::test]
async fn revoking_a_renewed_token_closes_the_socket_that_goes_on_with_it() {
    let node = Node::start().await;
    let live = Live::connect(&node, &node.token(&member("acme", "ada"))).await;
    let fresh = node.token(&member("acme", "ada"));
    let renewed = socket(&node)
        .reauthenticate(&live.principal, fresh)
        .await
        .unwrap();
    assert_ne!(renewed.jti, live.principal.jti);
    let revocations = &node.authenticator.revocations;
    revocations
        .revoke_token(renewed.workspace(), &renewed.jti)
        .await
        .unwrap();
    assert_eq!(live.close_code(), Some(1008));
}

#[tokio::test]
async fn a_node_that_starts_later_knows_what_was_revoked() {
    let node = Node::start().await;
    let token = node.token(&member("acme", "ada"));
    let revocations = &node.authenticator.revocations;
    revocations
        .revoke_person(person("acme", "ada"))
        .await
        .unwrap();
    let later = node.beside().await;
    let refusal = refused(&socket(&later), info(&[("token", &token)])).await;
    assert_eq!(refusal.reason, "token_revoked");
}

#[tokio::test]
async fn without_the_store_what_is_known_stays_in_force_and_the_node_says_so() {
    let node = Node::start().await;
    let token = node.token(&member("acme", "ada"));
    let revocations = &node.authenticator.revocations;
    revocations
        .revoke_person(person("acme", "ada"))
        .await
        .unwrap();
    assert_eq!(revocations.problem(), None);
    node.store.close().await;
    until(async || revocations.problem().is_some()).await;
    let refusal = refused(&socket(&node), info(&[("token", &token)])).await;
    assert_eq!(refusal.reason, "token_revoked");
    let bob = node.token(&member("acme", "bob"));
    assert!(
        socket(&node)
            .connect(info(&[("token", &bob)]))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_socket_is_renewed_only_by_its_own_person() {
    let node = Node::start().await;
    let named = info(&[
        ("token", &node.token(&member("acme", "ada"))),
        ("device_id", "phone"),
    ]);
    let holder = socket(&node).connect(named).await.unwrap().assigns;
    node.clock.advance_ms(60_000);
    let own = node.token(&test_kit::admin("acme", "ada"));
    let renewed = socket(&node)
        .reauthenticate(&holder, own.clone())
        .await
        .unwrap();
    assert!(renewed.expires_at > holder.expires_at);
    assert_eq!(renewed.device, holder.device);
    assert_eq!(
        renewed.role,
        crate::auth::AccountRole::Admin,
        "the fresh token's rights hold"
    );
    for (workspace, user) in [("acme", "bob"), ("umbrella", "ada")] {
        let token = node.token(&member(workspace, user));
        assert!(socket(&node).reauthenticate(&holder, token).await.is_err());
    }
    assert!(
        socket(&node)
            .reauthenticate(&holder, "junk".into())
            .await
            .is_err()
    );
    let fresh = node.authenticator.tokens.verify(&own).await.unwrap();
    node.authenticator
        .revocations
        .sign_out(&fresh)
        .await
        .unwrap();
    assert!(socket(&node).reauthenticate(&holder, own).await.is_err());
}

#[tokio::test]
async fn the_socket_ends_when_its_token_does() {
    let node = Node::start().await;
    let principal = node.principal(&member("acme", "ada")).await;
    assert_eq!(
        socket(&node).expires_at(&principal),
        Some(principal.expires_at)
    );
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_sockets() {
    let config = Config {
        sockets_per_user: 2,
        ..Config::default()
    };
    let node = Node::with(config, Default::default()).await;
    let token = node.token(&member("acme", "ada"));
    let first = Live::connect(&node, &token).await;
    let _second = Live::connect(&node, &token).await;
    let refusal = refused(&socket(&node), info(&[("token", &token)])).await;
    assert_eq!(
        (refusal.status, &*refusal.reason, refusal.retry_after_s),
        (429, "too_many_sockets", Some(5))
    );
    let other = node.token(&member("umbrella", "ada"));
    assert!(
        socket(&node)
            .connect(info(&[("token", &other)]))
            .await
            .is_ok()
    );
    drop(first);
    assert!(
        socket(&node)
            .connect(info(&[("token", &token)]))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_address_connects_at_a_bounded_rate() {
    let config = Config {
        connects_per_address_per_minute: 2,
        ..Config::default()
    };
    let node = Node::with(config, Default::default()).await;
    let socket = socket(&node);
    let token = node.token(&member("acme", "ada"));
    for _ in 0..2 {
        assert!(socket.connect(info(&[("token", &token)])).await.is_ok());
    }
    let refusal = refused(&socket, info(&[("token", &token)])).await;
    assert_eq!((refusal.status, &*refusal.reason), (429, "rate_limited"));
    assert_eq!(refusal.retry_after_s, Some(30));
    let from = |peer: &str| {
        let mut info = info(&[("token", &token)]);
        info.peer = peer.parse().unwrap();
        info
    };
    assert!(socket.connect(from("192.0.2.2:9")).await.is_ok());
    for _ in 0..10 {
        assert!(
            socket.connect(from("127.0.0.1:9")).await.is_ok(),
            "this machine itself"
        );
    }
}
