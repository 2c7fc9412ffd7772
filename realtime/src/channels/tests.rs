//! The channels over the product's socket, with the in-memory client and a store in a directory of
//! its own.
#![allow(clippy::unwrap_used)]

mod broadcast;
mod calls;
mod chat;
mod classes;
mod device;
mod forward;
mod frozen;
mod large;
mod lobby;
mod presence;
mod removed;
mod replay;
mod tenants;
mod tokens;
mod typing;
mod user;

use std::sync::Arc;

use quikapp_actors::{
    conversation::{self, Conversations},
    delivery,
    documents::Documents,
    people::People,
    presence::{Presence, ReplicaId},
    registers::Registers,
    typing::Typing,
};
use quikapp_storage::{
    ConversationId, ConversationKind, NewConversation, Role, UserId, WorkspaceId,
};
use serde_json::{Value, json};

use super::{Backend, router};
use crate::{
    auth::{
        Grant, Principal, ProductSocket,
        test_kit::{NOW, Node, member},
    },
    channel::Router,
    policy::{self, OpenRooms},
    socket::{Hub, Mount, MountOptions},
    testing::{Received, TestClient},
};

/// A node with the product's topics.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) backend: Backend,
    mount: Mount,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(policy::Config::default()).await
    }

    /// Rooms are open to everyone signed in.
    pub(crate) async fn with_open_rooms() -> Self {
        Self::with(policy::Config {
            rooms: OpenRooms::Workspace,
            ..policy::Config::default()
        })
        .await
    }

    /// With other settings of delivery.
    pub(crate) async fn with_delivery(config: delivery::Config) -> Self {
        Self::assemble(policy::Config::default(), Some(config)).await
    }

    async fn with(policy: policy::Config) -> Self {
        Self::assemble(policy, None).await
    }

    async fn assemble(policy: policy::Config, delivery: Option<delivery::Config>) -> Self {
        let node = Node::with(crate::auth::Config::default(), policy).await;
        let clock = Arc::new(node.clock.clone());
        let presence = Presence::new(node.fanout.clone(), ReplicaId(1 << 8));
        let conversations = Conversations::start(
            conversation::Config::default(),
            node.store.clone(),
            node.fanout.clone(),
            clock.clone(),
        );
        let conversations = conversations.await.unwrap();
        let changes = conversations.tails().changes().clone();
        let backend = Backend {
            delivery: match delivery {
                Some(config) => node.delivery_with(&conversations, config),
                None => node.delivery(&conversations),
            },
            policy: node.policy.clone(),
            people: People::start(
                node.fanout.clone(),
                presence.clone(),
                node.store.clone(),
                clock.clone(),
            ),
            presence,
            typing: Typing::start(node.fanout.clone(), clock.clone(), &Default::default()),
            documents: Documents::new(node.store.clone(), conversations.clone()),
            conversations,
            registers: Registers::start(
                &conversation::Config::default(),
                node.store.clone(),
                node.fanout.clone(),
                clock.clone(),
                changes,
            ),
            store: node.store.clone(),
        };
        let mount = mount(&node, router(&backend));
        Self {
            node,
            backend,
            mount,
        }
    }

    /// With other channels than the product's router has.
    fn with_router(self, router: Router<Principal>) -> Self {
        let mount = mount(&self.node, router);
        Self { mount, ..self }
    }

    /// A socket of a user in the workspace `acme`.
    pub(crate) async fn socket(&self, user: &str) -> TestClient {
        self.socket_of(&member("acme", user), &[]).await
    }

    pub(crate) async fn socket_of(&self, grant: &Grant, query: &[(&str, &str)]) -> TestClient {
        let token = self.node.token(grant);
        let mut query = query.to_vec();
        query.push(("token", &token));
        TestClient::connect_as(&self.mount, &query).await
    }

    /// A conversation in `acme`; the first member owns it.
    pub(crate) async fn conversation(&self, members: &[&str]) -> ConversationId {
        let user = |name: &str| UserId::new(name).unwrap();
        let id = ConversationId::generate();
        let with_role = |(nth, name): (usize, &&str)| {
            (
                user(name),
                if nth == 0 { Role::Owner } else { Role::Member },
            )
        };
        let new = NewConversation {
            id: id.clone(),
            workspace: WorkspaceId::new("acme").unwrap(),
            kind: ConversationKind::Group,
            name: None,
            created_by: user(members[0]),
            created_at: NOW,
            members: members.iter().enumerate().map(with_role).collect(),
        };
        self.node.store.create_conversation(new).await.unwrap();
        id
    }
}

/// The product's socket with these channels.
fn mount(node: &Node, router: Router<Principal>) -> Mount {
    let socket = ProductSocket::new(
        &node.config,
        node.authenticator.clone(),
        node.fanout.clone(),
    );
    let hub = Hub::new(node.fanout.clone(), Arc::new(node.clock.clone()));
    Mount::new("/socket", socket, router, &hub, MountOptions::default())
}

/// Asserts what an object holds, whatever else is in it.
#[track_caller]
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers write json! in place"
)]
pub(crate) fn holds(object: &Value, expected: Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&object[key], value, "{key} of {object}");
    }
}

/// Event names in the order of the wire.
pub(crate) fn events(received: &[Received]) -> Vec<&str> {
    received
        .iter()
        .map(|received| received.event.as_str())
        .collect()
}

/// The keys of an object.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

pub(crate) fn nothing() -> Value {
    json!({})
}
