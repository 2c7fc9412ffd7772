//! Redis beside the stores, against the server that `TEST_REDIS_URL` names: every promise is kept
//! with it, a ticket is taken once over two nodes, another node is told of a revocation at once,
//! and without it everything goes on.
#![allow(clippy::unwrap_used)]

mod beside;
mod support;
