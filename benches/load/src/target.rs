//! Where the server is, and from where it is reached.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use reqwest::header::HeaderMap;

use crate::tls::{Security, Tls};

/// Sockets that connect from one address: fewer than servers allow, and than there are ports.
const SOCKETS_PER_ADDRESS: usize = 2000;

/// How long one of several addresses may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As in the Host header.
    pub(crate) authority: String,
    pub(crate) address: SocketAddr,
    /// Path and query of the WebSocket, with names in braces.
    pub(crate) path: String,
    /// What was given to be added to every request.
    pub(crate) headers: HeaderMap,
    /// How it is spoken with, if not in the clear.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Addresses to connect from, in turn; empty for the system's choice.
    sources: Vec<IpAddr>,
}

impl Target {
    pub(crate) fn parse(url: &str, path: &str, security: &Security) -> anyhow::Result<Self> {
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http" | "ws", rest)) => (false, rest),
            Some(("https" | "wss", rest)) => (true, rest),
            _ => bail!("{url}: it has to begin with http://, https://, ws:// or wss://"),
        };
        let authority = rest.trim_end_matches('/').to_owned();
        ensure!(
            !authority.contains('/'),
            "{url}: the path of the WebSocket is given by --socket-path"
        );
        let default_port = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority.as_str(), None),
        };
        // What follows the last colon of `[::1]` is no port.
        let (host, port) = match port {
            Some(port) => (host, port),
            None => (authority.as_str(), default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, port).to_socket_addrs().context(authority.clone())?;
        let addresses: Vec<_> = addresses.collect();
        let address =
            reachable(&addresses).with_context(|| format!("{authority} has no address"))?;
        ensure!(path.starts_with('/'), "{path}: a path begins with /");
        let tls = is_tls.then(|| security.with(host)).transpose()?;
        Ok(Self {
            tls: tls.map(Arc::new),
            authority,
            address,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            sources: Vec::new(),
        })
    }

    /// Adds headers to every request.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Connects from these addresses: so many of loopback, or those that are listed. Without a
    /// wish, from as many addresses of loopback as that many sockets need.
    pub(crate) fn with_sources(
        mut self,
        wish: Option<&str>,
        sockets: usize,
    ) -> anyhow::Result<Self> {
        let is_loopback = self.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.sources = match wish {
            None if is_loopback => loopback(sockets.div_ceil(SOCKETS_PER_ADDRESS))?,
            None => Vec::new(),
            Some(text) => match text.parse() {
                Ok(count) => {
                    ensure!(
                        is_loopback,
                        "--sources {count}: only loopback has addresses to spare; list yours"
                    );
                    loopback(count)?
                }
                Err(_) => {
                    let addresses = text.split(',').map(|address| address.trim().parse());
                    let addresses: Result<_, _> = addresses.collect();
                    addresses.with_context(|| format!("--sources {text}"))?
                }
            },
        };
        Ok(self)
    }

    /// The address from which the socket of this number connects.
    pub(crate) fn source(&self, number: usize) -> Option<IpAddr> {
        let count = self.sources.len();
        (count > 0).then(|| self.sources[number % count])
    }

    pub(crate) fn route(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

/// Of several addresses of one name, as `localhost` has, the first that answers; else the first.
fn reachable(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    match addresses {
        [] => None,
        [only] => Some(*only),
        [first, ..] => Some(*addresses.iter().find(answers).unwrap_or(first)),
    }
}

/// 127.0.0.2 and those that follow.
fn loopback(count: usize) -> anyhow::Result<Vec<IpAddr>> {
    let last = u8::try_from(count + 1).context("at most 254 addresses of loopback are used")?;
    Ok((2..=last)
        .map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn target(url: &str) -> anyhow::Result<Target> {
        let security = Security::new(None, false, 1)?;
        Target::parse(url, "/socket", &security)
    }

    #[test]
    fn of_several_addresses_the_one_that_answers() {
        let bound = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (open, closed) = (bound(), bound());
        let (there, gone) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
        drop(closed);
        assert_eq!(reachable(&[gone, there]), Some(there));
        assert_eq!(
            reachable(&[gone, gone]),
            Some(gone),
            "which says what is wrong"
        );
        assert_eq!(reachable(&[]), None);
    }

    #[test]
    fn urls() {
        let there = target("http://127.0.0.1:4000/").unwrap();
        assert_eq!(there.authority, "127.0.0.1:4000");
        assert_eq!(there.route("/api"), "http://127.0.0.1:4000/api");
        assert!(there.tls.is_none());
        let port = |url| target(url).unwrap().address.port();
        assert_eq!(port("ws://127.0.0.1"), 80);
        assert_eq!(port("ws://[::1]"), 80);
        assert_eq!(port("ws://[::1]:4000"), 4000);
        assert!(target("http://127.0.0.1/socket").is_err());
        for url in ["ftp://127.0.0.1", "127.0.0.1:4000", "https:127.0.0.1"] {
            let error = target(url).unwrap_err().to_string();
            assert!(error.contains("wss://"), "{error}");
        }
    }

    #[test]
    fn urls_of_tls() {
        for (url, port, route) in [
            ("https://127.0.0.1", 443, "https://127.0.0.1/api"),
            ("wss://localhost:4443/", 4443, "https://localhost:4443/api"),
            ("wss://[::1]:4443", 4443, "https://[::1]:4443/api"),
        ] {
            let there = target(url).unwrap();
            assert!(there.tls.is_some(), "{url}");
            assert_eq!(
                (there.address.port(), there.route("/api")),
                (port, route.to_owned())
            );
        }
        assert!(target("https://").is_err());
    }

    #[test]
    fn many_sockets_come_from_many_addresses() {
        let at = |url, wish, sockets| target(url).unwrap().with_sources(wish, sockets);
        let here = at("http://127.0.0.1:4000", None, 4001).unwrap();
        let sources: Vec<_> = (0..4)
            .map(|n| here.source(n).unwrap().to_string())
            .collect();
        assert_eq!(
            sources,
            ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"]
        );
        assert_eq!(
            at("http://127.0.0.1", Some("9"), 1).unwrap().sources.len(),
            9
        );
        let elsewhere = at("http://192.0.2.1", None, 4001).unwrap();
        assert_eq!(elsewhere.source(0), None);
        assert!(at("http://192.0.2.1", Some("9"), 1).is_err());
        let listed = at("http://192.0.2.1", Some("192.0.2.7, 192.0.2.8"), 1).unwrap();
        assert_eq!(listed.source(1).unwrap().to_string(), "192.0.2.8");
        assert!(at("http://192.0.2.1", Some("x"), 1).is_err());
    }
}
