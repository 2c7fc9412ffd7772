//! A node's routes, called without a network.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use quikapp_actors::{
    Clock,
    conversation::Conversations,
    documents::Documents,
    people::People,
    presence::{Presence, ReplicaId},
    supervision::{Supervisor, SupervisorSpec},
    typing::Typing,
    users::{self, Users},
};
use quikapp_storage::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    auth::{Config as AuthConfig, Grant, test_kit::Node},
    endpoint::OriginPolicy,
    policy,
    rest::{Config, Rest, RestParts, router},
};

/// What a test may want otherwise.
#[derive(Default)]
pub(super) struct Options {
    pub(super) config: Config,
    pub(super) auth: AuthConfig,
    pub(super) policy: policy::Config,
    pub(super) origins: OriginPolicy,
    pub(super) development: bool,
}

pub(super) struct Api {
    pub(super) node: Node,
    /// What runs.
    pub(super) tree: Supervisor,
    /// Whether whatever a person's entity does panics.
    pub(super) is_broken: Arc<AtomicBool>,
    pub(super) people: People,
    pub(super) router: Router,
}

/// The time, for persons' entities, unless they are broken.
#[derive(Debug)]
struct FragileClock {
    clock: Arc<dyn Clock>,
    is_broken: Arc<AtomicBool>,
}

impl Clock for FragileClock {
    fn now(&self) -> Timestamp {
        assert!(!self.is_broken.load(Ordering::SeqCst), "it is broken");
        self.clock.now()
    }
}

/// What a route answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answered {
    pub(super) fn reason(&self) -> (u16, &str) {
        (
            self.status,
            self.body["reason"].as_str().unwrap_or_default(),
        )
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(super) async fn with(options: Options) -> Self {
        let node = Node::with(options.auth, options.policy).await;
        let clock = node.authenticator.clock.clone();
        let (fanout, store) = (node.fanout.clone(), node.store.clone());
        let presence = Presence::new(fanout.clone(), ReplicaId(1));
        let people = People::start(fanout.clone(), presence, store.clone(), clock.clone());
        let tree = Supervisor::start(SupervisorSpec::new("test"));
        let conversations = Conversations::start_under(
            &tree,
            Default::default(),
            store.clone(),
            fanout.clone(),
            clock.clone(),
        );
        let conversations = conversations.await.unwrap();
        let documents = Documents::new(store.clone(), conversations.clone());
        let is_broken = Arc::<AtomicBool>::default();
        let users = users::Parts {
            delivery: Default::default(),
            store: store.clone(),
            documents: documents.clone(),
            people: people.clone(),
            changes: conversations.tails().changes().clone(),
            clock: Arc::new(FragileClock {
                clock: clock.clone(),
                is_broken: Arc::clone(&is_broken),
            }),
        };
        let settings = Default::default();
        let users = Users::start_under(&tree, &settings, users);
        let rest = Rest::new(RestParts {
            users: users.await.unwrap(),
            delivery: node.delivery(&conversations),
            documents,
            conversations,
            authenticator: node.authenticator.clone(),
            policy: node.policy.clone(),
            typing: Typing::start(fanout.clone(), clock.clone(), &Default::default()),
            people: people.clone(),
            store,
            fanout,
            clock,
            config: options.config,
            auth: node.config.clone(),
            origins: options.origins,
            tree: tree.clone(),
            counters: None,
            development: options.development,
        });
        Self {
            router: router(&rest),
            people,
            node,
            tree,
            is_broken,
        }
    }

    /// A call by somebody who holds a token.
    pub(super) async fn call(&self, as_who: &Grant, call: &str, body: Value) -> Answered {
        let token = self.node.token(as_who);
        self.send(request(call, Some(&token), &body)).await
    }

    /// A call by nobody.
    pub(super) async fn call_unsigned(&self, call: &str, body: Value) -> Answered {
        self.send(request(call, None, &body)).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }
}

/// `GET /presence/online`, with the token and a JSON body if there are any.
pub(super) fn request(call: &str, token: Option<&str>, body: &Value) -> Request<Body> {
    let (method, path) = call.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let mut request = Request::builder().method(method).uri(format!("/api{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    match body {
        Value::Null => request.body(Body::empty()),
        body => request
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string().into()),
    }
    .unwrap()
}

pub(super) const NO_CONTENT: u16 = StatusCode::NO_CONTENT.as_u16();
