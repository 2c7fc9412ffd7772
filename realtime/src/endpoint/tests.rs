#![allow(clippy::unwrap_used)]

mod handshake;
mod limits;
mod logs;
mod proxy;
mod stop;
mod tls;
