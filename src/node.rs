//! The role `node`: the edge and the actors in one process.
//!
//! Start: configuration, logs, every listener bound, then the parts in the order of their
//! dependencies. Stop: readiness turns red, sockets are told to come back in batches, open
//! requests end, the store closes last.

mod parts;
mod routes;
mod signals;

use std::net::SocketAddr;

use anyhow::Context;
use quikapp_actors::supervision::{ChildSpec, Ending};
use quikapp_config::{Environment, Flags, Loaded, load};
use quikapp_realtime::{
    endpoint::{Endpoint, Listener},
    telemetry::{Metrics, logs},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use parts::Parts;

/// Runs a node until a signal ends it.
pub(crate) fn serve(flags: &Flags) -> anyhow::Result<()> {
    let loaded = load(flags, &Environment::of_process())?;
    logs::init(&loaded.config.logging.filter, loaded.config.logging.format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signals::cancel_at_signal(stop.clone()));
        Node::start(loaded).await?.run(stop).await
    })
}

/// A node that has everything it needs, and does not accept yet.
struct Node {
    parts: Parts,
    metrics: Metrics,
    listeners: Listeners,
}

/// Bound addresses.
struct Listeners {
    main: Listener,
    admin: Option<Listener>,
}

impl Node {
    async fn start(loaded: Loaded) -> anyhow::Result<Self> {
        let metrics = Metrics::install()?;
        let listeners = Listeners::bind(&loaded)?;
        let development = is_development(&loaded, listeners.main.local_addr());
        let parts = Parts::start(loaded.config, development).await?;
        Ok(Self {
            parts,
            metrics,
            listeners,
        })
    }

    async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            parts,
            metrics,
            listeners,
        } = self;
        let metrics = metrics.observing(parts.observer());
        let address = listeners.main.local_addr();
        let main = Endpoint::builder(&parts.config.endpoint)
            .routes(routes::main(&parts, &metrics))
            .nodes(parts.nodes_that_hear_of(address))
            .mount(parts.socket())
            .build()?;
        announce(&parts, address);
        let serving = TaskTracker::new();
        let no_more = CancellationToken::new();
        serving.spawn(listeners.main.serve(main, no_more.clone()));
        if let Some(listener) = listeners.admin {
            let admin = Endpoint::builder(&parts.config.endpoint)
                .routes(routes::admin(&parts, &metrics))
                .build()?;
            serving.spawn(listener.serve(admin, no_more.clone()));
        }
        serving.close();
        parts.keep_running(ChildSpec::task("metrics", "metrics", move |stop| {
            let metrics = metrics.clone();
            async move { metrics.upkeep(&stop).await }
        }));

        tokio::select! {
            () = stop.cancelled() => tracing::info!("stopping"),
            () = parts.failed() => tracing::error!("the supervision tree has failed: stopping"),
        }
        parts.drain().await;
        no_more.cancel();
        serving.wait().await;
        let ending = parts.close().await;
        tracing::info!("stopped");
        match ending {
            Ending::Stopped => Ok(()),
            Ending::Escalated => anyhow::bail!("parts of the node failed too often, see the log"),
        }
    }
}

impl Listeners {
    fn bind(loaded: &Loaded) -> anyhow::Result<Self> {
        let endpoint = &loaded.config.endpoint;
        let bind = |address: SocketAddr| {
            Listener::bind(address, endpoint.backlog)
                .with_context(|| format!("cannot listen on {address}"))
        };
        Ok(Self {
            main: bind(endpoint.listen)?,
            admin: endpoint.admin_listen.map(bind).transpose()?,
        })
    }
}

/// Guests may sign in only where nobody configured anything and nobody else can reach us.
fn is_development(loaded: &Loaded, address: SocketAddr) -> bool {
    loaded.file.is_none() && address.ip().is_loopback()
}

/// Says on standard output where the server is, once it takes connections. Scripts read the first
/// line.
fn announce(parts: &Parts, address: SocketAddr) {
    let scheme = match parts.config.endpoint.tls.files() {
        Some(_) => "https",
        None => "http",
    };
    println!("listening on {scheme}://{address}");
    if parts.development {
        println!("open {scheme}://{address}/ in two windows to chat");
    }
}
