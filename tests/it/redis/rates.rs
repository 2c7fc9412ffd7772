//! Limits are those of the product, not of each process.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::tempdir;
use tokio::time::Instant;

use super::{away::redis_becomes, server, two};
use crate::{
    redis_server::RedisServer,
    support::{Rest, Server},
};

/// How many of `asked` sign-ins a process takes.
async fn signs_in(server: &Server, asked: u32) -> u32 {
    let rest = Rest::of(server);
    let mut taken = 0;
    for _ in 0..asked {
        let body = Some(json!({ "name": "Guest" }));
        let request = rest.request(Method::POST, "/api/auth/guest", None, body);
        let (status, body) = request.await;
        match status {
            StatusCode::CREATED => taken += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}"),
        }
    }
    taken
}

/// A limit of six holds for both together. Without Redis each counts for itself, and a limit is
/// still a limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_of_an_address_count_over_processes_and_without_redis_on_each() {
    if server().is_none() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut redis = RedisServer::start(dir.path(), "port", &[]).await;
    let url = format!("redis://127.0.0.1:{}/", redis.port);
    let limit = [("QUIKAPP_REST__REQUESTS_PER_MINUTE", "6")];
    let [here, there] = two(dir.path(), &url, &limit).await;
    for server in [&here, &there] {
        redis_becomes(server, "up").await;
    }
    let began = Instant::now();
    let taken = signs_in(&here, 3).await + signs_in(&there, 8).await;
    let earned = began.elapsed().as_secs() as u32 / 10 + 1;
    assert!(
        (6..=6 + earned).contains(&taken),
        "{taken} of 6, {earned} earned"
    );
    assert_eq!(
        signs_in(&here, 1).await,
        0,
        "here, where three were counted"
    );

    redis.kill();
    assert!(signs_in(&here, 8).await >= 1, "counted here alone");
    assert_eq!(signs_in(&here, 3).await, 0, "a limit all the same");
}
