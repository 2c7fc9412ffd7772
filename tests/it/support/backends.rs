//! Real servers that keep a node's data, each behind a proxy of the test's own, and what a test
//! needs to know about them. (`scripts/backends` starts them and says where they are.)

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use quikapp_storage::{Backend, Config, ServerUrl};
use uuid::Uuid;

use super::{Server, quikapp, said, within};
use crate::{disk::skipped, toxiproxy::Proxy};

/// The node has less patience than its clients.
const CONNECTIONS: usize = 16;
const TIMEOUT_MS: u64 = 3000;
/// The password of each site's own user, who keeps its tables in the SQL server.
pub(crate) const PASSWORD: &str = "n0t-t0-be-seen";

/// Where servers are, by the names of `scripts/backends`.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(BTreeMap<String, String>);

impl Addresses {
    /// The servers that the tests were given. Without them a test is skipped, and says so; where
    /// backends are required it fails.
    pub(crate) fn given(test: &str) -> Option<Self> {
        let given = Self::among(std::env::vars());
        if given.0.is_empty() {
            let is_required =
                |(name, value): (String, String)| name == "TEST_REQUIRE_BACKENDS" && value == "1";
            assert!(!std::env::vars().any(is_required), "no servers for {test}");
            skipped(test, "needs the servers of scripts/backends");
            return None;
        }
        Some(given)
    }

    fn among(variables: impl Iterator<Item = (String, String)>) -> Self {
        let named = |(name, url): (String, String)| {
            let name = name.strip_prefix("TEST_")?.strip_suffix("_URL")?;
            Some((name.to_lowercase(), url))
        };
        Self(variables.filter_map(named).collect())
    }

    fn of(&self, name: &str) -> &str {
        let url = self.0.get(name);
        url.unwrap_or_else(|| panic!("scripts/backends has not started {name}"))
    }
}

/// Servers of a test's own, which it may kill. They and their data go when this is dropped.
pub(crate) struct OwnServers {
    state: PathBuf,
}

impl OwnServers {
    /// Starts them.
    pub(crate) fn start(dir: &Path, names: &[&str]) -> Self {
        let own = Self {
            state: dir.join("backends"),
        };
        own.backends("up", names);
        own
    }

    pub(crate) fn addresses(&self) -> Addresses {
        let file = std::fs::read_to_string(self.state.join("env")).unwrap();
        let lines = file.lines().filter_map(|line| line.split_once('='));
        Addresses::among(lines.map(|(name, url)| (name.to_owned(), url.to_owned())))
    }

    /// `kill -9`; it stays away.
    pub(crate) fn kill(&self, name: &str) {
        let file = std::fs::read_to_string(self.state.join(name).join("pid")).unwrap();
        let pid = file.split(' ').next().unwrap();
        let killed = Command::new("kill").args(["-9", pid]).status();
        assert!(killed.unwrap().success());
    }

    /// Starts what was killed, on the same port and data.
    pub(crate) fn come_back(&self, name: &str) {
        self.backends("up", &[name]);
    }

    /// Ends one orderly, and starts it again.
    pub(crate) fn restart(&self, name: &str) {
        self.backends("restart", &[name]);
    }

    fn backends(&self, what: &str, names: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/backends");
        let mut command = Command::new(script);
        command.arg(what).args(names);
        command.env("BACKENDS_STATE", &self.state);
        let done = command.status().unwrap();
        assert!(done.success(), "scripts/backends {what} {names:?}");
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        self.backends("down", &[]);
    }
}

/// Which server keeps what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The log and registered devices in MongoDB, everything else in MySQL, Redis beside them.
    Mixed,
    /// Everything in this server, `mysql` or `mariadb`, and Redis beside it.
    Sql(&'static str),
}

impl Layout {
    fn sql(self) -> &'static str {
        match self {
            Self::Mixed => "mysql",
            Self::Sql(name) => name,
        }
    }

    /// The servers that it needs.
    pub(crate) fn servers(self) -> Vec<&'static str> {
        match self {
            Self::Mixed => vec!["mongodb", "mysql", "redis"],
            Self::Sql(name) => vec![name, "redis"],
        }
    }
}

/// One server as the node sees it.
pub(crate) struct Road {
    /// By the names of `scripts/backends`.
    pub(crate) name: &'static str,
    /// Under which name `/health/ready` shows it.
    pub(crate) dependency: &'static str,
    /// What it keeps, first of all.
    pub(crate) keeps: &'static str,
    /// Connections that the node may have to it.
    pub(crate) bound: usize,
    pub(crate) proxy: Proxy,
}

/// The databases of one test, and the roads to them.
pub(crate) struct Site {
    roads: Vec<Road>,
    settings: Vec<(&'static str, String)>,
    storage: Config,
    sql: Opts,
    sql_database: String,
    sql_user: String,
    mongo: Option<(String, String)>,
}

impl Site {
    async fn prepare(layout: Layout, addresses: &Addresses) -> Self {
        // As long as the name of a user may be.
        let sql_user = Uuid::new_v4().simple().to_string();
        let database = format!("quikapp_it_{sql_user}");
        let mut roads = Vec::new();
        let control = addresses.of("toxiproxy");
        for name in layout.servers() {
            let upstream = host_of(addresses.of(name));
            let proxy = Proxy::to(control, upstream).await;
            let (dependency, keeps, bound) = match name {
                // Besides those that work there are one that asks how the server is, and two with
                // which the driver watches it.
                "mongodb" => ("mongodb", "log", CONNECTIONS + 3),
                "redis" => ("redis", "tickets", 6),
                // One that asks how the server is, and one that the driver has given up making
                // and is still closing.
                _ if layout == Layout::Mixed => ("mysql", "registers", CONNECTIONS + 2),
                _ => ("mysql", "log", CONNECTIONS + 2),
            };
            roads.push(Road {
                name,
                dependency,
                keeps,
                bound,
                proxy,
            });
        }
        let through = |name: &str| {
            let road = roads.iter().find(|road| road.name == name).unwrap();
            let url = addresses.of(name);
            url.replacen(host_of(url), &road.proxy.address, 1)
        };
        let sql = layout.sql();
        let sql_url = with_user(&with_database(&through(sql), &database), &sql_user);
        let log_url = match layout {
            Layout::Mixed => with_database(&through("mongodb"), &database),
            Layout::Sql(_) => sql_url.clone(),
        };
        let mongo = (layout == Layout::Mixed)
            .then(|| (addresses.of("mongodb").to_owned(), database.clone()));
        let settings = settings(&log_url, &sql_url, &through("redis"));
        let opts = Opts::from_url(addresses.of(sql)).unwrap();
        let opts = OptsBuilder::from_opts(opts).prefer_socket(false);
        let site = Self {
            storage: storage(&log_url, &sql_url),
            settings,
            sql: opts.db_name(None::<String>).into(),
            sql_database: database,
            sql_user,
            mongo,
            roads,
        };
        site.made().await;
        site
    }

    async fn made(&self) {
        let (database, user) = (&self.sql_database, &self.sql_user);
        self.command(&format!("CREATE DATABASE {database}")).await;
        self.command(&format!(
            "CREATE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'"
        ))
        .await;
        self.command(&format!("GRANT ALL ON {database}.* TO '{user}'@'%'"))
            .await;
    }

    /// Starts a node on it.
    pub(crate) async fn serve(&self, dir: &Path) -> Server {
        self.serve_at(dir, "127.0.0.1:0").await
    }

    /// Starts a node on it that listens at an address: one of several.
    pub(crate) async fn serve_at(&self, dir: &Path, listen: &str) -> Server {
        self.serve_with(dir, listen, &[]).await
    }

    /// Starts a node on it with further settings.
    pub(crate) async fn serve_with(
        &self,
        dir: &Path,
        listen: &str,
        further: &[(&str, &str)],
    ) -> Server {
        let settings = self.settings.iter();
        let settings = settings.map(|(name, value)| (*name, value.as_str()));
        let settings = settings.chain(further.iter().copied());
        let settings: Vec<(&str, &OsStr)> = settings
            .map(|(name, value)| (name, OsStr::new(value)))
            .collect();
        let data = dir.join("data");
        let mut server = Server::start_as(dir, &data, listen, &[], &settings).await;
        server.storage = Config {
            data_dir: data,
            ..self.storage.clone()
        };
        server
    }

    /// Runs a command of the binary on it, which must succeed; what it wrote to standard output.
    pub(crate) async fn run(&self, dir: &Path, args: &[&str]) -> String {
        let mut command = quikapp();
        command.args(args).arg("--data-dir").arg(dir.join("data"));
        command.envs(self.settings.iter().map(|(name, value)| (*name, value)));
        let output = within("the command", command.output()).await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A connection to its SQL database, beside the nodes.
    pub(crate) async fn sql(&self) -> Conn {
        let opts = OptsBuilder::from_opts(self.sql.clone());
        Conn::new(opts.db_name(Some(&self.sql_database)))
            .await
            .unwrap()
    }

    /// Its database in MongoDB, if it has one.
    pub(crate) async fn mongo(&self) -> Option<mongodb::Database> {
        let (url, database) = self.mongo.as_ref()?;
        let client = mongodb::Client::with_uri_str(url).await.unwrap();
        Some(client.database(database))
    }

    /// The way to a server.
    pub(crate) fn road(&self, name: &str) -> &Road {
        self.roads.iter().find(|road| road.name == name).unwrap()
    }

    /// The ways to servers without which nothing is kept.
    pub(crate) fn needed(&self) -> impl Iterator<Item = &Road> {
        self.roads.iter().filter(|road| road.name != "redis")
    }

    pub(crate) fn roads(&self) -> &[Road] {
        &self.roads
    }

    async fn clear(&self) {
        let (database, user) = (&self.sql_database, &self.sql_user);
        self.command(&format!("DROP DATABASE {database}")).await;
        self.command(&format!("DROP USER '{user}'@'%'")).await;
        if let Some((url, database)) = &self.mongo {
            let client = mongodb::Client::with_uri_str(url).await.unwrap();
            client.database(database).drop().await.unwrap();
            client.shutdown().await;
        }
        for road in &self.roads {
            road.proxy.close().await;
        }
    }

    async fn command(&self, sql: &str) {
        let mut conn = Conn::new(self.sql.clone()).await.unwrap();
        conn.query_drop(sql).await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

/// Runs a test on databases of its own, which go however it ends.
pub(crate) async fn with_site<Fut>(
    layout: Layout,
    addresses: &Addresses,
    test: impl FnOnce(Arc<Site>) -> Fut,
) where
    Fut: Future<Output = ()> + Send + 'static,
{
    let site = Arc::new(Site::prepare(layout, addresses).await);
    let outcome = tokio::spawn(test(site.clone())).await;
    site.clear().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

fn settings(log: &str, sql: &str, redis: &str) -> Vec<(&'static str, String)> {
    vec![
        ("QUIKAPP_STORAGE__LOG", log.to_owned()),
        ("QUIKAPP_STORAGE__REGISTERS", sql.to_owned()),
        ("QUIKAPP_STORAGE__TIMERS", sql.to_owned()),
        ("QUIKAPP_STORAGE__PEOPLE", sql.to_owned()),
        ("QUIKAPP_STORAGE__DEVICES", log.to_owned()),
        ("QUIKAPP_STORAGE__SECURITY", sql.to_owned()),
        ("QUIKAPP_STORAGE__REDIS", redis.to_owned()),
        ("QUIKAPP_STORAGE__CONNECTIONS", CONNECTIONS.to_string()),
        ("QUIKAPP_STORAGE__SERVER_TIMEOUT_MS", TIMEOUT_MS.to_string()),
    ]
}

/// The same for this process, which does not say anything through Redis.
fn storage(log: &str, sql: &str) -> Config {
    let server = |url: &str| Backend::Server(ServerUrl::parse(url).unwrap());
    Config {
        log: server(log),
        registers: server(sql),
        timers: server(sql),
        people: server(sql),
        devices: Some(server(log)),
        security: server(sql),
        ..Config::default()
    }
}

/// `host:port` of an address.
fn host_of(url: &str) -> &str {
    let rest = url.split("//").nth(1).unwrap();
    let host = rest.split('/').next().unwrap();
    host.rsplit('@').next().unwrap()
}

fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("//").unwrap();
    let place = rest.rsplit('@').next().unwrap();
    format!("{scheme}//{user}:{PASSWORD}@{place}")
}

fn with_database(url: &str, database: &str) -> String {
    let (server, options) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = server.split_once("//").unwrap();
    let host = rest.split('/').next().unwrap();
    match options {
        "" => format!("{scheme}//{host}/{database}"),
        options => format!("{scheme}//{host}/{database}?{options}"),
    }
}
