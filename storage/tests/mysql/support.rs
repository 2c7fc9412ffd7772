//! Servers, and databases that go when a test ends.

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use quikapp_storage::{Backend, Config, ConnectError, Connected, MongoLog, ServerUrl, connect};

/// The servers that are there, as `(name, url)`. Without a server a test is skipped, and says so;
/// where backends are required it fails.
pub(crate) fn servers() -> Vec<(&'static str, String)> {
    let known = [("mysql", "TEST_MYSQL_URL"), ("mariadb", "TEST_MARIADB_URL")];
    let found = known.map(|(name, variable)| Some((name, server(name, variable)?)));
    found.into_iter().flatten().collect()
}

fn server(name: &str, variable: &str) -> Option<String> {
    let url = variable_of(variable);
    if url.is_none() {
        let is_required = variable_of("TEST_REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!is_required, "no {name}: set {variable}");
        println!("skipped: no {name}");
    }
    url
}

#[expect(clippy::disallowed_methods, reason = "where the test's servers are")]
fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A database of a test's own.
pub(crate) struct Database {
    server: Opts,
    name: String,
    url: String,
}

impl Database {
    /// Makes one on a server.
    pub(crate) async fn on(server: &str) -> Self {
        let opts = Opts::from_url(server).unwrap();
        let opts: Opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .db_name(None::<String>)
            .into();
        let name = format!("quikapp_test_{}", uuid::Uuid::new_v4().simple());
        let mut conn = Conn::new(opts.clone()).await.unwrap();
        conn.query_drop(format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        conn.disconnect().await.unwrap();
        let user = opts.user().unwrap_or("root");
        let secret = opts
            .pass()
            .map(|pass| format!(":{pass}"))
            .unwrap_or_default();
        let (host, port) = (opts.ip_or_hostname(), opts.tcp_port());
        Self {
            url: format!("mysql://{user}{secret}@{host}:{port}/{name}"),
            server: opts,
            name,
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> ServerUrl {
        ServerUrl::parse(&self.url).unwrap()
    }

    /// A configuration that keeps every concern in it.
    pub(crate) fn config(&self, dir: &std::path::Path) -> Config {
        everything_in(Backend::Server(self.url()), dir)
    }

    /// Opens a store that keeps everything in it.
    pub(crate) async fn open(&self) -> Result<Connected, ConnectError> {
        // Nothing is embedded, so the directory is not used.
        connect(&self.config(std::path::Path::new("/nonexistent"))).await
    }

    /// A connection beside the store's.
    pub(crate) async fn conn(&self) -> Conn {
        let opts = OptsBuilder::from_opts(self.server.clone()).db_name(Some(&self.name));
        Conn::new(opts).await.unwrap()
    }

    /// Drops it.
    pub(crate) async fn drop(self) {
        let mut conn = Conn::new(self.server).await.unwrap();
        let gone = conn.query_drop(format!("DROP DATABASE {}", self.name));
        gone.await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

/// A database in MongoDB for the log of a test.
pub(crate) struct LogInMongo {
    url: ServerUrl,
}

impl LogInMongo {
    /// Names one, if there is a server.
    pub(crate) fn new() -> Option<Self> {
        let server = server("mongodb", "TEST_MONGODB_URL")?;
        let name = format!("quikapp_test_{}", uuid::Uuid::new_v4().simple());
        let (server, options) = server.split_once("/?").unwrap_or((&server, ""));
        let url = format!("{}/{name}?{options}", server.trim_end_matches('/'));
        Some(Self {
            url: ServerUrl::parse(&url).unwrap(),
        })
    }

    /// Where it is.
    pub(crate) fn backend(&self) -> Backend {
        Backend::Server(self.url.clone())
    }

    /// Drops it.
    pub(crate) async fn drop(&self) {
        let log = MongoLog::open(&self.url, &Config::default()).await.unwrap();
        log.drop_database().await.unwrap();
    }
}

/// A configuration with one store for every concern.
pub(crate) fn everything_in(backend: Backend, dir: &std::path::Path) -> Config {
    Config {
        log: backend.clone(),
        registers: backend.clone(),
        timers: backend.clone(),
        people: backend.clone(),
        security: backend,
        ..Config::at(dir)
    }
}
