//! The reference application of the recordings (`tests/conformance/recordings/README.md`), written
//! as channels of this server.

mod intercept;
mod mounts;
mod presence;
mod room;
mod user;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use quikapp_actors::SystemClock;
use quikapp_actors::fanout::Fanout;
use quikapp_actors::presence::{Presence, ReplicaId};
use quikapp_realtime::channel::Router;
use quikapp_realtime::endpoint::{Config, Endpoint, EndpointBuilder, Listener};
use quikapp_realtime::socket::{Hub, Mount};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use intercept::InterceptChannel;
use mounts::ReferenceMount;
use presence::PresenceChannel;
use room::RoomChannel;
use user::{User, UserSocket};

/// A running reference application.
pub struct ReferenceApp {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl ReferenceApp {
    pub async fn start(listen: SocketAddr) -> Result<Self> {
        let config = Config {
            // `check_origin: true` compares with the host of the application's URL.
            public_host: "localhost".to_owned(),
            ..Config::default()
        };
        let hub = Hub::new(Fanout::new(), Arc::new(SystemClock));
        let presence = Presence::new(hub.fanout.clone(), ReplicaId(0x100));
        let mounts = mounts::all()
            .into_iter()
            .map(|mount| mount.build(&presence, &hub));
        let endpoint = mounts
            .fold(Endpoint::builder(&config), EndpointBuilder::mount)
            .build()?;
        let listener = Listener::bind(listen, config.backlog)?;
        let address = listener.local_addr();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener.serve(endpoint, stop.clone()));
        Ok(Self {
            address,
            stop,
            serving,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.serving.await?)
    }
}

fn channels(presence: &Presence) -> Router<User> {
    let presence = presence.clone();
    Router::new()
        .channel("room:*", RoomChannel)
        .channel("exact", RoomChannel)
        .channel("assigned:*", RoomChannel)
        .channel("presence:*", PresenceChannel { presence })
        .channel("intercept:*", InterceptChannel)
}

impl ReferenceMount {
    fn build(self, presence: &Presence, hub: &Hub) -> Mount {
        let handler = UserSocket {
            maps_errors: self.maps_errors,
        };
        Mount::new(self.path, handler, channels(presence), hub, self.options)
    }
}
