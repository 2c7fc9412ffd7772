//! A Redis that wants TLS, a user and a password.

use std::{path::Path, time::Duration};

use quikapp_storage::{Config, Connected, Rate, ServerUrl, connect};
use tokio::time::Instant;

use crate::{certificates::make_certificates, redis_server::RedisServer, support::server};

const RATE: Rate = Rate {
    burst: 1,
    period: Duration::from_secs(60),
};

async fn secured(dir: &Path) -> RedisServer {
    make_certificates(dir, "localhost");
    let options = "--port 0 --tls-cert-file cert.pem --tls-key-file key.pem \
        --tls-ca-cert-file ca.pem --tls-auth-clients no \
        --user default off --user quik on >s3cret ~quikapp:* &quikapp:* +@all";
    let options: Vec<&str> = options.split_whitespace().collect();
    RedisServer::start(dir, "tls-port", &options).await
}

async fn node(dir: &Path, url: &str, roots: Option<&Path>) -> Connected {
    let config = Config {
        redis: Some(ServerUrl::parse(url).unwrap()),
        redis_roots: roots.map(Path::to_owned),
        ..Config::at(dir.join("data"))
    };
    connect(&config).await.unwrap()
}

async fn check(node: &Connected) -> Result<(), String> {
    node.dependencies.last().unwrap().check().await
}

/// A handshake may take longer than a request is waited for.
async fn comes_up(node: &Connected) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(problem) = check(node).await {
        assert!(Instant::now() < deadline, "{problem}");
        tokio::task::yield_now().await;
    }
}

/// The whole way: TLS by one's own authority, a user who may touch only our names, a database by
/// number. Two nodes share through it.
#[tokio::test(flavor = "multi_thread")]
async fn tls_a_user_and_a_database_number() {
    if server().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = secured(dir.path()).await;
    let roots = dir.path().join("ca.pem");
    let url = format!("rediss://quik:s3cret@localhost:{}/5", redis.port);
    let one = node(dir.path(), &url, Some(&roots)).await;
    let two = node(dir.path(), &url, Some(&roots)).await;
    for node in [&one, &two] {
        comes_up(node).await;
    }
    let [one, two] = [one, two].map(|node| node.shared.unwrap().counters);
    assert_eq!(one.admit("k", RATE).await, Some(Ok(())));
    assert!(matches!(two.admit("k", RATE).await, Some(Err(_))));
}

/// An unknown authority, a wrong password and no TLS are no connection, and no message tells the
/// password. The node goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_prove_itself_is_not_used() {
    if server().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = secured(dir.path()).await;
    let roots = dir.path().join("ca.pem");
    let port = redis.port;
    let wrong = [
        (format!("rediss://quik:s3cret@localhost:{port}/0"), None),
        (
            format!("rediss://quik:wr0ng@localhost:{port}/0"),
            Some(&*roots),
        ),
        (format!("redis://quik:s3cret@localhost:{port}/0"), None),
        // The certificate is for another name.
        (
            format!("rediss://quik:s3cret@127.0.0.1:{port}/0"),
            Some(&*roots),
        ),
    ];
    for (url, roots) in wrong {
        let node = node(dir.path(), &url, roots).await;
        let problem = check(&node).await.unwrap_err();
        assert!(
            !problem.contains("s3cret") && !problem.contains("wr0ng"),
            "{problem}"
        );
        let counters = node.shared.unwrap().counters;
        assert_eq!(counters.admit("k", RATE).await, None, "{url}");
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        redis: Some(ServerUrl::parse("rediss://:s3cret@localhost").unwrap()),
        redis_roots: Some(dir.path().join("nothing.pem")),
        ..Config::at(dir.path())
    };
    let error = connect(&config).await.err().unwrap().to_string();
    assert!(error.contains("nothing.pem"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}
