//! The server, nodes that use it, and a way to take it from them.

use std::{net::SocketAddr, path::Path};

use quikapp_storage::{Config, Connected, ServerUrl, connect};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The server, if there is one. Without it a test is skipped, and says so; where backends are
/// required it fails.
pub(crate) fn server() -> Option<String> {
    let found = variable("TEST_REDIS_URL");
    if found.is_none() {
        let required = variable("TEST_REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!required, "no redis: set TEST_REDIS_URL");
        println!("skipped: no redis");
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "where the test's server is")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A node on an embedded store in a directory, with Redis at an address.
pub(crate) async fn node(dir: &Path, redis: &str) -> Connected {
    let config = Config {
        redis: Some(ServerUrl::parse(redis).unwrap()),
        ..Config::at(dir)
    };
    connect(&config).await.unwrap()
}

/// A port in front of the server that can be shut, and opened again.
pub(crate) struct Gate {
    server: String,
    address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Gate {
    pub(crate) async fn before(redis: &str) -> Self {
        let server = redis
            .trim_start_matches("redis://")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = Some(tokio::spawn(forward(listener, server.clone())));
        Self {
            server,
            address,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Cuts every connection, and refuses new ones.
    pub(crate) async fn shut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        // The listener is gone once the task is.
        assert!(task.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = Some(tokio::spawn(forward(listener, self.server.clone())));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn forward(listener: TcpListener, server: String) {
    let mut streams = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let server = server.clone();
        streams.spawn(async move {
            let mut upstream = TcpStream::connect(server).await.unwrap();
            // Either side may end it.
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
        });
    }
}
