//! MySQL and MariaDB against the promises of every adapter, and what is their own: schema, time
//! zones, the server's failures. Each test has a database of its own on the server that
//! `TEST_MYSQL_URL` or `TEST_MARIADB_URL` names.
#![allow(clippy::unwrap_used)]

mod conformance;
mod counting;
mod faults;
mod giving_up;
mod schema;
mod support;
