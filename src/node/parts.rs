//! The parts of a node, made in the order of their dependencies.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use quikapp_actors::{
    Clock, SystemClock,
    conversation::Conversations,
    delivery::{self, Delivery, Projection},
    documents::Documents,
    fanout::{Fanout, NodeId},
    notify::{Notifier, Sink},
    people::People,
    presence::{Presence, ReplicaId},
    registers::Registers,
    spread,
    supervision::{ChildSpec, Ending, StartError, Supervisor, SupervisorSpec},
    typing::Typing,
    users::{self, Users},
};
use quikapp_config::NodeConfig;
use quikapp_realtime::{
    auth::{Authenticator, ProductSocket, Revocations, Tickets, Tokens},
    channels::{self, Backend},
    endpoint::Nodes,
    health::Health,
    policy::{OpenRooms, Policy},
    rest::{Rest, RestParts},
    socket::{Hub, Mount},
};
use quikapp_storage::{Connected, Dependency, Shared, SharedCounters, SharedStore};

/// How often the counts of presence topics joined in count mode are published.
const COUNT_PERIOD: Duration = Duration::from_secs(1);

/// Everything that the routes of a node stand on.
pub(super) struct Parts {
    pub(super) config: NodeConfig,
    /// Guests may sign in, and rooms are open to everyone.
    pub(super) development: bool,
    pub(super) hub: Hub,
    pub(super) health: Health,
    authenticator: Authenticator,
    conversations: Conversations,
    users: Users,
    backend: Backend,
    store: SharedStore,
    counters: Option<Arc<dyn SharedCounters>>,
    /// The processes that long-poll requests are passed on to, where they share a Redis.
    nodes: Option<Nodes>,
    /// Keeps everything running that runs in the background.
    tree: Supervisor,
}

impl Parts {
    pub(super) async fn start(mut config: NodeConfig, development: bool) -> anyhow::Result<Self> {
        if development {
            config.policy.rooms = OpenRooms::Workspace;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Connected {
            store,
            dependencies,
            shared,
        } = quikapp_storage::connect(&config.storage).await?;
        let hub = Hub::new(Fanout::new(), clock.clone());
        let tree = Supervisor::start(SupervisorSpec::new("node"));
        let authenticator = authenticator(&tree, &config, &store, &hub).await?;
        let revocations = authenticator.revocations.clone();
        let policy = Policy::new(
            store.clone(),
            revocations,
            clock.clone(),
            config.policy.clone(),
        );
        let (node, nodes) = nodes(&config, shared.as_ref())?;
        let (presence, people, typing) =
            present(&tree, &config, &store, &hub, (node, shared.as_ref()));
        let (conversations, registers) = sequencing(&tree, &config, &store, &hub).await?;
        let documents = Documents::new(store.clone(), conversations.clone());
        let said = (&conversations, &documents);
        let users = users(&tree, &config, &store, &people, said, &clock).await?;
        let delivery = delivery::Parts {
            config: config.delivery.clone(),
            store: store.clone(),
            conversations: conversations.clone(),
            clock,
            may_send: policy.may_send(),
            projections: projections(&config, &store, &people, &hub),
        };
        let delivery = Delivery::start_under(&tree, delivery);
        let connected = people.clone();
        delivery.ask_for_devices(Arc::new(move || connected.devices()));
        let health = health(&config, &hub, dependencies, &authenticator);
        Ok(Self {
            config,
            development,
            hub,
            health,
            authenticator,
            conversations: conversations.clone(),
            users,
            backend: Backend {
                policy,
                people,
                presence,
                typing,
                conversations,
                registers,
                delivery,
                documents,
                store: store.clone(),
            },
            store,
            counters: shared.map(|shared| shared.counters),
            nodes,
            tree,
        })
    }

    /// Where clients connect.
    pub(super) fn socket(&self) -> Mount {
        let limits = self.config.socket.clone();
        let options = self.config.endpoint.mount_options(limits);
        let authenticator = self.authenticator.clone();
        let handler = ProductSocket::new(&self.config.auth, authenticator, self.hub.fanout.clone())
            .counting_in(&self.config.auth, self.counters.clone())
            .in_development(self.development);
        let router = channels::router(&self.backend);
        Mount::new("/socket", handler, router, &self.hub, options)
    }

    /// What the REST routes work with.
    pub(super) fn rest(&self) -> Rest {
        Rest::new(RestParts {
            authenticator: self.authenticator.clone(),
            policy: self.backend.policy.clone(),
            store: self.store.clone(),
            conversations: self.conversations.clone(),
            delivery: self.backend.delivery.clone(),
            documents: self.backend.documents.clone(),
            fanout: self.hub.fanout.clone(),
            people: self.backend.people.clone(),
            users: self.users.clone(),
            typing: self.backend.typing.clone(),
            clock: self.hub.clock.clone(),
            config: self.config.rest.clone(),
            auth: self.config.auth.clone(),
            origins: self.config.endpoint.allowed_origins.clone(),
            tree: self.tree.clone(),
            counters: self.counters.clone(),
            development: self.development,
        })
    }

    /// Sends the clients elsewhere.
    pub(super) async fn drain(&self) {
        self.health.start_draining();
        let left = self.hub.connections.drain(&self.config.drain).await;
        if left > 0 {
            tracing::warn!(left, "sockets did not close in time");
        }
    }

    /// The other processes, which hear from now on where this one is.
    pub(super) fn nodes_that_hear_of(&self, bound: SocketAddr) -> Option<Nodes> {
        let nodes = self.nodes.clone()?;
        let endpoint = &self.config.endpoint;
        if endpoint.advertise.is_empty() && bound.ip().is_loopback() {
            tracing::warn!(
                %bound,
                "endpoint.advertise is not set: only nodes on this host pass long-poll requests on"
            );
        }
        match endpoint.advertised(bound) {
            Some(address) => {
                let speaker = nodes.clone();
                self.keep_running(ChildSpec::task("advertiser", "gossip", move |stop| {
                    speaker.clone().advertise(address.clone(), stop)
                }));
            }
            None => tracing::warn!(
                "endpoint.advertise is not set: long-poll requests must land on their own node"
            ),
        }
        Some(nodes)
    }

    /// Puts a task under supervision.
    pub(super) fn keep_running(&self, task: ChildSpec) {
        self.tree.launch(task);
    }

    /// Sets the gauges that nobody keeps current: what runs in the background, how far projections
    /// are behind, who is there, and who types.
    pub(super) fn observer(&self) -> impl Fn() + Send + Sync + 'static {
        let (tree, delivery) = (self.tree.clone(), self.backend.delivery.clone());
        let (people, typing) = (self.backend.people.clone(), self.backend.typing.clone());
        move || {
            tree.tree().record();
            delivery.record();
            metrics::gauge!("quikapp_online_users").set(people.count() as f64);
            metrics::gauge!("quikapp_typing").set(typing.count() as f64);
        }
    }

    /// Returns when the supervision tree has given up: the process had better begin anew.
    pub(super) async fn failed(&self) {
        self.tree.ended().await;
    }

    /// Writes down what is only in memory, and closes the store. Says how the tree ended.
    pub(super) async fn close(&self) -> Ending {
        self.conversations.stop().await;
        self.backend.delivery.stop().await;
        self.backend.people.flush().await;
        let ending = self.tree.stop().await;
        self.store.close().await;
        ending
    }
}

/// Who is there, and who types; of other nodes too, where nodes share it, which then hear broadcasts
/// as well.
fn present(
    tree: &Supervisor,
    config: &NodeConfig,
    store: &SharedStore,
    hub: &Hub,
    (node, shared): (ReplicaId, Option<&Shared>),
) -> (Presence, People, Typing) {
    let (fanout, clock) = (&hub.fanout, &hub.clock);
    let presence = Presence::new(fanout.clone(), node);
    presence.count_under(tree, COUNT_PERIOD);
    let people = People::start_under(
        tree,
        fanout.clone(),
        presence.clone(),
        store.clone(),
        clock.clone(),
    );
    let typing = Typing::start_under(tree, fanout.clone(), clock.clone(), &config.typing);
    if let Some(shared) = shared {
        presence.share_under(tree, shared);
        typing.share_under(tree, shared, node);
        spread::start_under(tree, fanout, shared, NodeId(node.0));
    }
    (presence, people, typing)
}

/// The name of this process, and the others, if there is a way to find them.
fn nodes(
    config: &NodeConfig,
    shared: Option<&Shared>,
) -> anyhow::Result<(ReplicaId, Option<Nodes>)> {
    let node = ReplicaId(uuid::Uuid::new_v4().as_u64_pair().0);
    let Some(shared) = shared else {
        return Ok((node, None));
    };
    let secrets = config.auth.secrets(&config.storage.data_dir)?;
    let secret = secrets.first().context("no secret")?;
    let addresses = Arc::clone(&shared.addresses);
    let idle = config.endpoint.header_timeout / 2;
    let nodes = Nodes::new(NodeId(node.0), addresses, secret, idle)?;
    Ok((node, Some(nodes)))
}

/// What is written to conversations, and what lies beside their logs.
async fn sequencing(
    tree: &Supervisor,
    config: &NodeConfig,
    store: &SharedStore,
    hub: &Hub,
) -> anyhow::Result<(Conversations, Registers)> {
    let (config, fanout, clock) = (&config.conversation, &hub.fanout, &hub.clock);
    let conversations = Conversations::start_under(
        tree,
        config.clone(),
        store.clone(),
        fanout.clone(),
        clock.clone(),
    );
    let conversations = conversations.await?;
    let registers = Registers::start_under(
        tree,
        config,
        store.clone(),
        fanout.clone(),
        clock.clone(),
        conversations.tails().changes().clone(),
    );
    Ok((conversations, registers))
}

async fn users(
    tree: &Supervisor,
    config: &NodeConfig,
    store: &SharedStore,
    people: &People,
    (conversations, documents): (&Conversations, &Documents),
    clock: &Arc<dyn Clock>,
) -> Result<Users, StartError> {
    let parts = users::Parts {
        delivery: config.delivery.clone(),
        store: store.clone(),
        documents: documents.clone(),
        people: people.clone(),
        changes: conversations.tails().changes().clone(),
        clock: clock.clone(),
    };
    Users::start_under(tree, &config.entities, parts).await
}

/// Projections of the log besides those of delivery: who may be notified, if anybody is to hear.
fn projections(
    config: &NodeConfig,
    store: &SharedStore,
    people: &People,
    hub: &Hub,
) -> Vec<Arc<dyn Projection>> {
    let sinks = config.notify.log.then(Sink::log).into_iter().collect();
    let (people, clock) = (people.clone(), hub.clock.clone());
    let notifier = Notifier::new(store.clone(), people, clock, sinks);
    let notifier = notifier.map(|notifier| notifier as Arc<dyn Projection>);
    notifier.into_iter().collect()
}

async fn authenticator(
    tree: &Supervisor,
    config: &NodeConfig,
    store: &SharedStore,
    hub: &Hub,
) -> anyhow::Result<Authenticator> {
    let secrets = config.auth.secrets(&config.storage.data_dir)?;
    let tokens = Tokens::new(&config.auth, &secrets, hub.clock.clone())?;
    tokens.follow(&config.auth, &config.storage.data_dir);
    let revocations = Revocations::start_under(
        tree,
        store.clone(),
        hub.clock.clone(),
        hub.fanout.clone(),
        config.auth.revocation_poll,
        config.auth.max_lifetime,
    )
    .await?;
    Ok(Authenticator {
        tokens,
        tickets: Tickets::new(store.clone(), hub.clock.clone(), config.auth.ticket_ttl),
        revocations,
        clock: hub.clock.clone(),
    })
}

fn health(
    config: &NodeConfig,
    hub: &Hub,
    dependencies: Vec<Dependency>,
    authenticator: &Authenticator,
) -> Health {
    let (connections, fanout) = (hub.connections.clone(), hub.fanout.clone());
    let revocations = authenticator.revocations.clone();
    let tokens = authenticator.tokens.clone();
    let or_problem = |problem: Option<String>| std::future::ready(problem.map_or(Ok(()), Err));
    let mut node = Health::of_node(&config.name, hub.clock.clone());
    for store in dependencies {
        let (name, is_optional) = (store.name.clone(), store.is_optional);
        let check = move || {
            let store = store.clone();
            async move { store.check().await }
        };
        node = match is_optional {
            true => node.optional_probe(name, check),
            false => node.probe(name, check),
        };
    }
    node.probe("revocations", move || or_problem(revocations.problem()))
        .probe("token_keys", move || or_problem(tokens.keys_problem()))
        .stat("connections", move || connections.count() as u64)
        .stat("topics", move || fanout.topics() as u64)
        .build()
}
