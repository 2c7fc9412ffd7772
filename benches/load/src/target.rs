//! Where the server is, and from where it is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail, ensure};

/// Sockets that connect from one address: fewer than servers allow, and than there are ports.
const SOCKETS_PER_ADDRESS: usize = 2000;

/// A server that is reached without TLS.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As in the Host header.
    pub(crate) authority: String,
    pub(crate) address: SocketAddr,
    /// Path and query of the WebSocket, with names in braces.
    pub(crate) path: String,
    /// Addresses to connect from, in turn; empty for the system's choice.
    sources: Vec<IpAddr>,
}

impl Target {
    pub(crate) fn parse(url: &str, path: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").or(url.strip_prefix("ws://"));
        let Some(rest) = rest else {
            bail!("{url}: http:// or ws:// is needed; TLS would measure the generator's own cost");
        };
        let authority = rest.trim_end_matches('/').to_owned();
        ensure!(
            !authority.contains('/'),
            "{url}: the path of the WebSocket is given by --socket-path"
        );
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.clone(),
            _ => format!("{authority}:80"),
        };
        let mut addresses = with_port.to_socket_addrs().context(authority.clone())?;
        let address = addresses
            .next()
            .with_context(|| format!("{authority} has no address"))?;
        ensure!(path.starts_with('/'), "{path}: a path begins with /");
        Ok(Self {
            authority,
            address,
            path: path.to_owned(),
            sources: Vec::new(),
        })
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
        format!("http://{}{path}", self.authority)
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
        Target::parse(url, "/socket")
    }

    #[test]
    fn urls() {
        let there = target("http://127.0.0.1:4000/").unwrap();
        assert_eq!(there.authority, "127.0.0.1:4000");
        assert_eq!(there.route("/api"), "http://127.0.0.1:4000/api");
        assert_eq!(target("ws://127.0.0.1").unwrap().address.port(), 80);
        assert!(target("https://127.0.0.1").is_err());
        assert!(target("http://127.0.0.1/socket").is_err());
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
