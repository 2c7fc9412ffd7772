//! Redis beside the stores, against the server that `TEST_REDIS_URL` names: every promise is kept
//! with it, a ticket is taken once over two nodes, another node is told of a revocation at once,
//! rates count over nodes, what replicas show is kept for a while, and without it everything goes
//! on.
#![allow(clippy::unwrap_used)]

mod beside;
#[path = "../../../tests/support/certificates.rs"]
mod certificates;
#[allow(dead_code)] // Other suites stop and restart it.
#[path = "../../../tests/support/redis_server.rs"]
mod redis_server;
mod secured;
mod shared;
mod support;
